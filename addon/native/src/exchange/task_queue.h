// The shared queue between reactors and pool: bounded, many to many, no locks. Push and pop are a compare-and-swap on a ring
// of cells, so that no reactor waits for a lock that a pool thread could hold. Wakes nobody: the Exchange does.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "exchange/task.h"

namespace mr {

struct QueueLimits {
  uint32_t maxTasks = 16'384;           // the high water mark; feeders stop here
  size_t maxBytes = size_t{256} << 20;  // of frames; one task passes an empty queue whatever its size
};

class TaskQueue {
 public:
  explicit TaskQueue(QueueLimits limits);
  ~TaskQueue();

  // Any thread. False when full; the task then stays the caller's.
  bool push(Task* task);
  // Any thread. Null when empty.
  TaskRef take();

  uint32_t depth() const { return depth_.load(std::memory_order_seq_cst); }
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  uint32_t frames() const { return frames_.load(std::memory_order_relaxed); }
  bool full() const;
  // Feeders that stopped may start again: well below the high mark, so that they do not stop at once.
  bool low() const { return depth() <= limits_.maxTasks / 2 && bytes() <= limits_.maxBytes / 2; }
  const QueueLimits& limits() const { return limits_; }

 private:
  struct Cell {
    std::atomic<uint64_t> turn;
    Task* task;
  };

  bool reserve(const Task* task);
  void uncount(const Task* task);

  const QueueLimits limits_;
  uint64_t mask_;
  std::unique_ptr<Cell[]> cells_;
  alignas(64) std::atomic<uint64_t> head_{0};
  alignas(64) std::atomic<uint64_t> tail_{0};
  alignas(64) std::atomic<uint32_t> depth_{0};
  std::atomic<uint32_t> frames_{0};
  std::atomic<size_t> bytes_{0};
};

}  // namespace mr
