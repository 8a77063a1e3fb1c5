#include "base/slab_pool.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>

namespace mr {

namespace {

constexpr size_t kPage = 4 << 10;
constexpr size_t kEvenly = 4;  // so many sizes are a page apart; those above are a quarter of a doubling apart

}  // namespace

SlabPool& SlabPool::instance() {
  static auto* pool = new SlabPool();
  return *pool;
}

SlabPool::~SlabPool() { letAllGo(); }

size_t SlabPool::roomFor(size_t size) {
  if (size <= kPage) return kPage;
  const size_t step = std::max(std::bit_floor(size - 1) / kEvenly, kPage);
  return (size + step - 1) / step * step;
}

size_t SlabPool::shelfOf(size_t room) {
  if (room <= kEvenly * kPage) return room / kPage - 1;
  const size_t below = std::bit_floor(room - 1), doublings = static_cast<size_t>(std::countr_zero(below / (kEvenly * kPage)));
  return kEvenly * (1 + doublings) + (room - below) / (below / kEvenly) - 1;
}

size_t SlabPool::roomOf(size_t shelf) {
  if (shelf < kEvenly) return (shelf + 1) * kPage;
  const size_t below = kEvenly * kPage << (shelf / kEvenly - 1);
  return below + (shelf % kEvenly + 1) * (below / kEvenly);
}

void SlabPool::unmap(const std::vector<Block>& blocks) {
  for (const Block& block : blocks) ::munmap(block.memory, block.room);
}

void* SlabPool::take(size_t size, uint64_t nowMs) {
  const size_t room = roomFor(size);
  if (room <= kLargest) {
    std::vector<Block> surplus;
    void* memory = nullptr;
    {
      std::lock_guard lock(mutex_);
      surplus = unused(nowMs);
      Shelf& shelf = shelves_[shelfOf(room)];
      if (!shelf.blocks.empty()) {
        memory = shelf.blocks.back();
        shelf.blocks.pop_back();
        bytesOf(room) -= room;
      }
      shelf.least = std::min(shelf.least, shelf.blocks.size());
    }
    unmap(surplus);
    if (memory) return memory;
  }
  // All pages of a slab will be written: one call for them is cheaper than a fault for each.
  const int populate = room == kSlabBytes ? MAP_POPULATE : 0;
  void* memory = ::mmap(nullptr, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | populate, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void SlabPool::giveBack(void* memory, size_t size, uint64_t nowMs) {
  const size_t room = roomFor(size);
  std::vector<Block> surplus;
  {
    std::lock_guard lock(mutex_);
    surplus = unused(nowMs);
    const bool few = few_.load(std::memory_order_relaxed);
    const bool isSlab = room == kSlabBytes;
    if (room > kLargest || (few && !isSlab) || bytesOf(room) + room > (few ? kFewKept * kSlabBytes : kMostKeptBytes)) {
      surplus.push_back({memory, room});
    } else {
      shelves_[shelfOf(room)].blocks.push_back(memory);
      bytesOf(room) += room;
    }
  }
  unmap(surplus);
}

void SlabPool::letGo(uint64_t nowMs) {
  std::vector<Block> surplus;
  {
    std::lock_guard lock(mutex_);
    surplus = unused(nowMs);
  }
  unmap(surplus);
}

void SlabPool::keepFew(bool on) {
  if (few_.load(std::memory_order_relaxed) == on || few_.exchange(on, std::memory_order_relaxed) == on || !on) return;
  std::vector<Block> surplus;
  {
    std::lock_guard lock(mutex_);
    for (size_t at = 0; at < kShelves; ++at) {
      const size_t kept = shelves_[at].blocks.size(), most = at == shelfOf(kSlabBytes) ? kFewKept : 0;
      if (kept > most) takeOff(at, kept - most, &surplus);
    }
  }
  unmap(surplus);
}

void SlabPool::letAllGo() {
  std::vector<Block> all;
  {
    std::lock_guard lock(mutex_);
    for (size_t at = 0; at < kShelves; ++at) takeOff(at, shelves_[at].blocks.size(), &all);
  }
  unmap(all);
}

size_t SlabPool::keptBytes() const {
  std::lock_guard lock(mutex_);
  return slabBytes_ + otherBytes_;
}

// Those that have lain longest.
void SlabPool::takeOff(size_t at, size_t count, std::vector<Block>* found) {
  Shelf& shelf = shelves_[at];
  const auto begin = shelf.blocks.begin(), end = begin + static_cast<std::ptrdiff_t>(count);
  const size_t room = roomOf(at);
  for (auto block = begin; block != end; ++block) found->push_back({*block, room});
  shelf.blocks.erase(begin, end);
  shelf.least = std::min(shelf.least, shelf.blocks.size());
  bytesOf(room) -= count * room;
}

// Those that have lain here all the time since it was last asked; at most once in kUnusedMs.
std::vector<SlabPool::Block> SlabPool::unused(uint64_t nowMs) {
  std::vector<Block> found;
  if (nowMs < sinceMs_ + kUnusedMs) return found;
  for (size_t at = 0; at < kShelves; ++at) {
    Shelf& shelf = shelves_[at];
    const size_t always = at == shelfOf(kSlabBytes) ? kAlwaysKept : 0;
    const size_t beyond = shelf.blocks.size() > always ? shelf.blocks.size() - always : 0;
    takeOff(at, std::min(shelf.least, beyond), &found);
    shelf.least = shelf.blocks.size();
  }
  sinceMs_ = nowMs;
  return found;
}

}  // namespace mr
