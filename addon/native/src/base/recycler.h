// Blocks of memory that one thread takes and any thread gives back. A task is made by a reactor and ends with a worker, a batch
// of replies the other way round: from an allocator, each thread would free blocks of another one. A few blocks of each size
// are kept for the next taker; larger or further ones come from the allocator and go back to it.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace mr {

class Recycler {
 public:
  static constexpr size_t kSmallest = 256, kLargest = 16 << 10;  // of kept blocks, in bytes: powers of two between them
  static constexpr size_t kKeptBytes = 64 << 10;                 // of each size, in each of its two lists

  Recycler() = default;
  ~Recycler();  // every block of it has been given back
  Recycler(const Recycler&) = delete;
  Recycler& operator=(const Recycler&) = delete;

  struct Block {
    void* memory;
    size_t size;  // as much as was asked for, or more
  };
  // At least so many bytes, aligned for anything. The thread that `home` belongs to; any thread without one.
  static Block take(Recycler* home, size_t atLeast);
  // Any thread.
  static void give(void* memory) noexcept;
  // Of a block that is out.
  static size_t sizeOf(const void* memory);

 private:
  struct Header;
  static constexpr uint32_t kShelves = std::bit_width(kLargest) - std::bit_width(kSmallest) + 1;
  static constexpr uint32_t shelfOf(size_t size);  // the first whose blocks are as large; kShelves: none

  Header* fromShelf(uint32_t shelf);
  bool keep(Header* block) noexcept;

  std::array<Header*, kShelves> own_{};  // newest first; the owner's
  // Blocks that others gave back, newest first: its address in the lower 48 bits, and how many there are above it. They are taken
  // all at once, so that a block that may be out again is never read.
  struct alignas(64) Returned {
    std::atomic<uint64_t> list{0};
  };
  std::array<Returned, kShelves> returned_;
};

}  // namespace mr
