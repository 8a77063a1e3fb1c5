// Memory for received bytes that JS holds. Whole pages from the kernel, so that collected memory is really given
// back, and does not stay behind in the allocator's arenas between small blocks. Some are kept for the next one who asks: a
// collector gives back the memory of all reads since its last run at once, and new pages have to be cleared first,
// which costs more than filling them.
#pragma once

#include <array>
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
  static constexpr size_t kSlabBytes = 256 << 10;     // the buffer of a reactor's reads
  static constexpr size_t kLargest = 4 << 20;         // a larger block goes back at once
  static constexpr size_t kMostKeptBytes = 32 << 20;  // of slabs, and as much of all other blocks
  static constexpr size_t kAlwaysKept = 32;           // slabs; those above go back when they stay unused
  static constexpr size_t kFewKept = 8;               // slabs, and no other block, while much memory is held
  static constexpr uint64_t kUnusedMs = 1000;         // for so long

  // Of the process. Never destroyed: a collector may still give back while the process runs its destructors.
  static SlabPool& instance();

  SlabPool() = default;
  ~SlabPool();
  SlabPool(const SlabPool&) = delete;
  SlabPool& operator=(const SlabPool&) = delete;

  // Null when the kernel gives no more. Not zeroed when it was used before. `size` is that of take().
  void* take(size_t size, uint64_t nowMs = monotonicMs());
  void giveBack(void* memory, size_t size, uint64_t nowMs = monotonicMs());
  // Gives back slabs unused for kUnusedMs, as take() does by the way.
  void letGo(uint64_t nowMs = monotonicMs());
  // Whether much memory is held: free blocks are resident, and no limit counts them.
  void keepFew(bool on);
  // Memory is short: free blocks are of more use elsewhere.
  void letAllGo();
  size_t keptBytes() const;

  // The room of a block of that size: four sizes for each doubling, so that a block fits the next request for about as much.
  static size_t roomFor(size_t size);

 private:
  // Blocks of one size.
  struct Shelf {
    std::vector<void*> blocks;
    size_t least = 0;  // of blocks, since sinceMs_
  };
  struct Block {
    void* memory;
    size_t room;
  };
  static constexpr size_t kShelves = 36;

  size_t& bytesOf(size_t room) { return room == kSlabBytes ? slabBytes_ : otherBytes_; }
  static size_t shelfOf(size_t room);
  static size_t roomOf(size_t shelf);
  static void unmap(const std::vector<Block>& blocks);
  void takeOff(size_t shelf, size_t count, std::vector<Block>* found);
  std::vector<Block> unused(uint64_t nowMs);

  mutable std::mutex mutex_;
  std::atomic<bool> few_{false};
  std::array<Shelf, kShelves> shelves_;
  size_t slabBytes_ = 0, otherBytes_ = 0;  // of blocks that lie here
  uint64_t sinceMs_ = 0;
};

}  // namespace mr
