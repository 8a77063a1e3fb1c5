// Memory for received bytes that JS holds. Whole pages from the kernel, so that what the collector gives back is really given
// back, and does not stay behind in the allocator's arenas between small blocks. A few are kept for the next one who asks.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

namespace mr {

class SlabPool {
 public:
  static constexpr size_t kSlabBytes = 256 << 10;  // the size that is kept; others go back at once
  static constexpr size_t kMostKept = 32;

  // Any thread. Null when the kernel gives no more. Not zeroed when it was used before.
  static void* take(size_t size);
  static void giveBack(void* memory, size_t size);

 private:
  static SlabPool& instance();
  std::mutex mutex_;
  std::vector<void*> kept_;
};

}  // namespace mr
