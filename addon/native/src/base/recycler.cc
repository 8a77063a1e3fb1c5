#include "base/recycler.h"

#include <cstdlib>
#include <new>

#include "base/keeping.h"

namespace mr {

// In front of each block given out.
struct alignas(std::max_align_t) Recycler::Header {
  Recycler* home;  // null: from the allocator, and back to it
  Header* next;    // while it is kept
  size_t size;
};

namespace {

constexpr uint32_t kAddressBits = 48;  // of user space, unless one asks for more

constexpr uint64_t countIn(uint64_t list) { return list >> kAddressBits; }
constexpr uint64_t addressIn(uint64_t list) { return list & ((uint64_t{1} << kAddressBits) - 1); }

}  // namespace

constexpr uint32_t Recycler::shelfOf(size_t size) {
  if (size <= kSmallest) return 0;
  return size > kLargest ? kShelves : static_cast<uint32_t>(std::bit_width(size - 1) - std::bit_width(kSmallest - 1));
}

static_assert(static_cast<uint64_t>(Recycler::kKeptBytes / Recycler::kSmallest) < 1u << (64 - kAddressBits));

Recycler::~Recycler() {
  for (uint32_t shelf = 0; shelf < kShelves; ++shelf) {
    while (Header* block = fromShelf(shelf)) std::free(block);
  }
}

Recycler::Block Recycler::take(Recycler* home, size_t atLeast) {
  const uint32_t shelf = home ? shelfOf(atLeast) : kShelves;
  const bool isKept = shelf < kShelves;
  Header* block = isKept ? home->fromShelf(shelf) : nullptr;
  if (!block) {
    const size_t size = isKept ? kSmallest << shelf : atLeast;
    void* memory = std::malloc(sizeof(Header) + size);
    if (!memory) throw std::bad_alloc();
    block = new (memory) Header{isKept ? home : nullptr, nullptr, size};
  }
  return {block + 1, block->size};
}

size_t Recycler::sizeOf(const void* memory) { return (static_cast<const Header*>(memory) - 1)->size; }

Recycler::Header* Recycler::fromShelf(uint32_t shelf) {
  Header*& own = own_[shelf];
  if (!own) {
    std::atomic<uint64_t>& returned = returned_[shelf].list;
    if (returned.load(std::memory_order_relaxed) == 0) return nullptr;
    own = reinterpret_cast<Header*>(addressIn(returned.exchange(0, std::memory_order_acquire)));
  }
  Header* block = own;
  own = block->next;
  return block;
}

void Recycler::give(void* memory) noexcept {
  Header* block = static_cast<Header*>(memory) - 1;
  if (!block->home || !block->home->keep(block)) std::free(block);
}

bool Recycler::keep(Header* block) noexcept {
  const auto address = reinterpret_cast<uint64_t>(block);
  if (!kKeepsMemory || address >> kAddressBits != 0) return false;
  const uint64_t most = kKeptBytes / block->size;
  std::atomic<uint64_t>& returned = returned_[shelfOf(block->size)].list;
  uint64_t list = returned.load(std::memory_order_relaxed);
  do {
    if (countIn(list) >= most) return false;
    block->next = reinterpret_cast<Header*>(addressIn(list));
  } while (!returned.compare_exchange_weak(list, address | (countIn(list) + 1) << kAddressBits, std::memory_order_release,
                                           std::memory_order_relaxed));
  return true;
}

}  // namespace mr
