// Memory for received bytes that JS holds. Whole pages from the kernel, so that what the collector gives back is really given
// back, and does not stay behind in the allocator's arenas between small blocks. Some are kept for the next one who asks: a
// collector gives back all at once what was received since it last looked, and pages that come anew have to be cleared first.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "base/clock.h"

namespace mr {

// Any thread.
class SlabPool {
 public:
  static constexpr size_t kSlabBytes = 256 << 10;  // the size that is kept; others go back at once
  static constexpr size_t kMostKept = 128;
  static constexpr size_t kAlwaysKept = 32;    // what is beyond goes back when nobody has wanted it
  static constexpr size_t kFewKept = 8;        // while much memory is held
  static constexpr uint64_t kUnusedMs = 1000;  // for so long

  // Of the process. Never destroyed: a collector may still give back while the process runs its destructors.
  static SlabPool& instance();

  SlabPool() = default;
  ~SlabPool();
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  // Null when the kernel gives no more. Not zeroed when it was used before.
  void* take(size_t size, uint64_t nowMs = monotonicMs());
  void giveBack(void* memory, size_t size, uint64_t nowMs = monotonicMs());
  // What nobody has wanted for kUnusedMs, as take() does by the way.
  void letGo(uint64_t nowMs = monotonicMs());
  // Whether much memory is held: free slabs are resident, and no limit counts them.
  void keepFew(bool on);
  // Memory is short: free slabs are of more use elsewhere.
  void letAllGo();
  size_t kept() const;

 private:
  std::vector<void*> unused(uint64_t nowMs);

  mutable std::mutex mutex_;
  std::atomic<size_t> most_{kMostKept};
  std::vector<void*> kept_;
  size_t least_ = 0;  // of kept_, since then
  uint64_t sinceMs_ = 0;
};

}  // namespace mr
