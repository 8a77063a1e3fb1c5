#include "base/slab_pool.h"

#include <sys/mman.h>

#include <algorithm>

namespace mr {

namespace {

void unmap(const std::vector<void*>& slabs) {
  for (void* slab : slabs) ::munmap(slab, SlabPool::kSlabBytes);
}

}  // namespace

SlabPool& SlabPool::instance() {
  static auto* pool = new SlabPool();
  return *pool;
}

SlabPool::~SlabPool() { unmap(kept_); }

void* SlabPool::take(size_t size, uint64_t nowMs) {
  if (size == kSlabBytes) {
    std::vector<void*> surplus;
    void* memory = nullptr;
    {
      std::lock_guard lock(mutex_);
      surplus = unused(nowMs);
      if (!kept_.empty()) {
        memory = kept_.back();
        kept_.pop_back();
      }
      least_ = std::min(least_, kept_.size());
    }
    unmap(surplus);
    if (memory) return memory;
  }
  // All pages of a slab will be written: one call for them is cheaper than a fault for each.
  const int populate = size == kSlabBytes ? MAP_POPULATE : 0;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | populate, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void SlabPool::giveBack(void* memory, size_t size, uint64_t nowMs) {
  if (size != kSlabBytes) {
    ::munmap(memory, size);
    return;
  }
  std::vector<void*> surplus;
  {
    std::lock_guard lock(mutex_);
    surplus = unused(nowMs);
    (kept_.size() < most_.load(std::memory_order_relaxed) ? kept_ : surplus).push_back(memory);
  }
  unmap(surplus);
}

void SlabPool::letGo(uint64_t nowMs) {
  std::vector<void*> surplus;
  {
    std::lock_guard lock(mutex_);
    surplus = unused(nowMs);
  }
  unmap(surplus);
}

void SlabPool::keepFew(bool on) {
  const size_t most = on ? kFewKept : kMostKept;
  if (most_.load(std::memory_order_relaxed) == most || most_.exchange(most, std::memory_order_relaxed) == most || !on) return;
  std::vector<void*> surplus;
  {
    std::lock_guard lock(mutex_);
    if (kept_.size() <= kFewKept) return;
    surplus.assign(kept_.begin() + kFewKept, kept_.end());
    kept_.resize(kFewKept);
    least_ = std::min(least_, kept_.size());
  }
  unmap(surplus);
}

void SlabPool::letAllGo() {
  std::vector<void*> all;
  {
    std::lock_guard lock(mutex_);
    all.swap(kept_);
    least_ = 0;
  }
  unmap(all);
}

size_t SlabPool::kept() const {
  std::lock_guard lock(mutex_);
  return kept_.size();
}

// Those that have lain here all the time since it was last asked; at most once in kUnusedMs.
std::vector<void*> SlabPool::unused(uint64_t nowMs) {
  std::vector<void*> found;
  if (nowMs < sinceMs_ + kUnusedMs) return found;
  const size_t beyond = kept_.size() > kAlwaysKept ? kept_.size() - kAlwaysKept : 0;
  // The ones at the front have lain longest.
  const auto end = kept_.begin() + static_cast<std::ptrdiff_t>(std::min(least_, beyond));
  found.assign(kept_.begin(), end);
  kept_.erase(kept_.begin(), end);
  least_ = kept_.size();
  sinceMs_ = nowMs;
  return found;
}

}  // namespace mr
