#include "exchange/task_queue.h"

#include <bit>

#include "base/fatal.h"

namespace mr {

TaskQueue::TaskQueue(QueueLimits limits, uint32_t lanes) : limits_(limits), laneCount_(lanes) {
  MR_CHECK(lanes >= 1 && lanes <= kMaxLanes, "no such number of lanes");
  // Twice the limit, so that a taker that is descheduled between two instructions is not in a pusher's way. Each lane may get
  // all.
  const uint64_t capacity = std::bit_ceil(uint64_t{limits.maxTasks} * 2);
  mask_ = capacity - 1;
  for (uint32_t i = 0; i < lanes; ++i) {
    lanes_[i].cells = std::make_unique<Cell[]>(capacity);
    for (uint64_t c = 0; c < capacity; ++c) lanes_[i].cells[c].turn.store(c, std::memory_order_relaxed);
  }
}

TaskQueue::~TaskQueue() {
  for (uint32_t i = 0; i < laneCount_; ++i) {
    while (take(i)) {
    }
  }
}

uint32_t TaskQueue::frames() const {
  uint32_t sum = 0;
  for (uint32_t i = 0; i < laneCount_; ++i) sum += frames(i);
  return sum;
}

bool TaskQueue::full() const { return depth() >= limits_.maxTasks || bytes() >= limits_.maxBytes; }

// The marks are counted before the ring is touched: a reservation that passed always finds a cell.
bool TaskQueue::reserve(Lane& lane, const Task* task) {
  if (depth_.fetch_add(1, std::memory_order_seq_cst) >= limits_.maxTasks) {
    depth_.fetch_sub(1, std::memory_order_seq_cst);
    return false;
  }
  const size_t before = bytes_.fetch_add(task->bytes(), std::memory_order_relaxed);
  // Where low() says that there is room, there is: a thread that waits for that would be woken in vain, again and again, and one
  // with a large task would wait until no other thread brought any.
  if (before > limits_.maxBytes / 2 && before + task->bytes() > limits_.maxBytes) {
    bytes_.fetch_sub(task->bytes(), std::memory_order_relaxed);
    depth_.fetch_sub(1, std::memory_order_seq_cst);
    return false;
  }
  lane.frames.fetch_add(task->frames(), std::memory_order_relaxed);
  lane.depth.fetch_add(1, std::memory_order_seq_cst);
  return true;
}

void TaskQueue::uncount(Lane& lane, const Task* task) {
  lane.frames.fetch_sub(task->frames(), std::memory_order_relaxed);
  lane.depth.fetch_sub(1, std::memory_order_seq_cst);
  bytes_.fetch_sub(task->bytes(), std::memory_order_relaxed);
  depth_.fetch_sub(1, std::memory_order_seq_cst);
}

bool TaskQueue::push(Task* task, uint32_t number) {
  Lane& lane = lanes_[number];
  if (!reserve(lane, task)) return false;
  uint64_t position = lane.tail.load(std::memory_order_relaxed);
  for (;;) {
    Cell& cell = lane.cells[position & mask_];
    const auto lead = static_cast<int64_t>(cell.turn.load(std::memory_order_acquire) - position);
    if (lead == 0) {
      if (lane.tail.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        cell.task = task;
        cell.turn.store(position + 1, std::memory_order_release);
        return true;
      }
    } else if (lead < 0) {
      uncount(lane, task);  // its taker has not let go of the cell yet: as good as full, and no thread waits here
      return false;
    } else {
      position = lane.tail.load(std::memory_order_relaxed);
    }
  }
}

TaskRef TaskQueue::take(uint32_t number) {
  Lane& lane = lanes_[number];
  uint64_t position = lane.head.load(std::memory_order_relaxed);
  for (;;) {
    Cell& cell = lane.cells[position & mask_];
    const auto lead = static_cast<int64_t>(cell.turn.load(std::memory_order_acquire) - (position + 1));
    if (lead < 0) return {};
    if (lead > 0) {
      position = lane.head.load(std::memory_order_relaxed);
      continue;
    }
    if (!lane.head.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) continue;
    Task* task = cell.task;
    cell.turn.store(position + mask_ + 1, std::memory_order_release);
    uncount(lane, task);
    return TaskRef(task);
  }
}

}  // namespace mr
