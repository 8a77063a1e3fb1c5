#include "exchange/task_queue.h"

#include <bit>

#include "base/fatal.h"

namespace mr {

TaskQueue::TaskQueue(QueueLimits limits) : limits_(limits) {
  // Twice the limit, so that a taker that is descheduled between two instructions is not in a pusher's way.
  const uint64_t capacity = std::bit_ceil(uint64_t{limits.maxTasks} * 2);
  mask_ = capacity - 1;
  cells_ = std::make_unique<Cell[]>(capacity);
  for (uint64_t i = 0; i < capacity; ++i) cells_[i].turn.store(i, std::memory_order_relaxed);
}

TaskQueue::~TaskQueue() {
  while (take()) {
  }
}

bool TaskQueue::full() const { return depth() >= limits_.maxTasks || bytes() >= limits_.maxBytes; }

// The marks are counted before the ring is touched: a reservation that passed always finds a cell.
bool TaskQueue::reserve(const Task* task) {
  if (depth_.fetch_add(1, std::memory_order_seq_cst) >= limits_.maxTasks) {
    depth_.fetch_sub(1, std::memory_order_seq_cst);
    return false;
  }
  const size_t before = bytes_.fetch_add(task->bytes(), std::memory_order_relaxed);
  if (before != 0 && before + task->bytes() > limits_.maxBytes) {
    bytes_.fetch_sub(task->bytes(), std::memory_order_relaxed);
    depth_.fetch_sub(1, std::memory_order_seq_cst);
    return false;
  }
  frames_.fetch_add(task->frames(), std::memory_order_relaxed);
  return true;
}

void TaskQueue::uncount(const Task* task) {
  frames_.fetch_sub(task->frames(), std::memory_order_relaxed);
  bytes_.fetch_sub(task->bytes(), std::memory_order_relaxed);
  depth_.fetch_sub(1, std::memory_order_seq_cst);
}

bool TaskQueue::push(Task* task) {
  if (!reserve(task)) return false;
  uint64_t position = tail_.load(std::memory_order_relaxed);
  for (;;) {
    Cell& cell = cells_[position & mask_];
    const auto lead = static_cast<int64_t>(cell.turn.load(std::memory_order_acquire) - position);
    if (lead == 0) {
      if (tail_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        cell.task = task;
        cell.turn.store(position + 1, std::memory_order_release);
        return true;
      }
    } else if (lead < 0) {
      uncount(task);  // its taker has not let go of the cell yet: as good as full, and nobody waits here
      return false;
    } else {
      position = tail_.load(std::memory_order_relaxed);
    }
  }
}

TaskRef TaskQueue::take() {
  uint64_t position = head_.load(std::memory_order_relaxed);
  for (;;) {
    Cell& cell = cells_[position & mask_];
    const auto lead = static_cast<int64_t>(cell.turn.load(std::memory_order_acquire) - (position + 1));
    if (lead < 0) return {};
    if (lead > 0) {
      position = head_.load(std::memory_order_relaxed);
      continue;
    }
    if (!head_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) continue;
    Task* task = cell.task;
    cell.turn.store(position + mask_ + 1, std::memory_order_release);
    uncount(task);
    return TaskRef(task);
  }
}

}  // namespace mr
