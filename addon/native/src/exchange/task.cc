#include "exchange/task.h"

#include <new>

#include "base/fatal.h"

namespace mr {

Task* Task::create(const Header& header, uint32_t frames, size_t bytes, Recycler* home) {
  void* memory = Recycler::take(home, sizeof(Task) + frames * sizeof(uint64_t) + bytes).memory;
  return new (memory) Task(header, frames, bytes);
}

void Task::append(std::span<const uint8_t> frame) {
  const uint64_t start = appended_ == 0 ? 0 : ends()[appended_ - 1];
  MR_CHECK(appended_ < frames_ && start + frame.size() <= bytes_, "more frames than the task was made for");
  if (!frame.empty()) std::memcpy(data() + start, frame.data(), frame.size());
  ends()[appended_++] = start + frame.size();
}

std::span<const uint8_t> Task::frame(uint32_t index) const {
  const uint64_t start = index == 0 ? 0 : ends()[index - 1];
  return {data() + start, static_cast<size_t>(ends()[index] - start)};
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
