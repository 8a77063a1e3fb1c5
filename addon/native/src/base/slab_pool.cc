#include "base/slab_pool.h"

#include <sys/mman.h>

namespace mr {

SlabPool& SlabPool::instance() {
  // Never destroyed: a collector may still give back while the process runs its destructors.
  static auto* pool = new SlabPool();
  return *pool;
}

void* SlabPool::take(size_t size) {
  if (size == kSlabBytes) {
    SlabPool& pool = instance();
    std::lock_guard lock(pool.mutex_);
    if (!pool.kept_.empty()) {
      void* memory = pool.kept_.back();
      pool.kept_.pop_back();
      return memory;
    }
  }
  // All pages of a slab will be written: one call for them is cheaper than a fault for each.
  const int populate = size == kSlabBytes ? MAP_POPULATE : 0;
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | populate, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void SlabPool::giveBack(void* memory, size_t size) {
  if (size == kSlabBytes) {
    SlabPool& pool = instance();
    std::lock_guard lock(pool.mutex_);
    if (pool.kept_.size() < kMostKept) return pool.kept_.push_back(memory);
  }
  ::munmap(memory, size);
}

}  // namespace mr
