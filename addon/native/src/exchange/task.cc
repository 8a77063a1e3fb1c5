#include "exchange/task.h"

#include <new>

namespace mr {

Task* Task::create(const Header& header, uint32_t frames, size_t bytes, Recycler* home) {
  void* memory = Recycler::take(home, sizeof(Task) + frames * sizeof(uint64_t) + bytes).memory;
  return new (memory) Task(header, frames, bytes);
}

void Task::countIn(MemoryShares* memory) {
  if (counted_) return;
  counted_ = memory;
  memory->add(static_cast<int64_t>(footprint()));
}

void Task::release() {
  if (references_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (counted_) counted_->add(-static_cast<int64_t>(footprint()));
  this->~Task();
  Recycler::give(this);
}

}  // namespace mr
