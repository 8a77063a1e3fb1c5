// The shared queue between reactors and pool: bounded, many to many, no locks. Push and pop are a compare-and-swap on a ring
// of cells, so that no reactor waits for a lock that a pool thread could hold. It has lanes, so that cheap tasks need not wait
// behind dear ones; the Exchange decides the order of lanes. It wakes no thread: the Exchange does.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "exchange/task.h"

namespace mr {

struct QueueLimits {
  uint32_t maxTasks = 16'384;           // the high water mark, of all lanes together; feeders stop here
  size_t maxBytes = size_t{256} << 20;  // of frames; a task of any size passes up to half of it
};

class TaskQueue {
 public:
  explicit TaskQueue(QueueLimits limits, uint32_t lanes = 1);
  ~TaskQueue();
  static constexpr uint32_t kMaxLanes = 3;

  // Any thread. False when full; the task then stays the caller's.
  bool push(Task* task, uint32_t lane = 0);
  // Any thread. Null when that lane is empty.
  TaskRef take(uint32_t lane = 0);

  uint32_t depth() const { return depth_.load(std::memory_order_seq_cst); }
  uint32_t depth(uint32_t lane) const { return lanes_[lane].depth.load(std::memory_order_seq_cst); }
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  uint32_t frames() const;
  uint32_t frames(uint32_t lane) const { return lanes_[lane].frames.load(std::memory_order_relaxed); }
  bool full() const;
  // Feeders that stopped may start again: well below the high mark, so that they do not stop at once.
  bool low() const { return depth() <= limits_.maxTasks / 2 && bytes() <= limits_.maxBytes / 2; }
  const QueueLimits& limits() const { return limits_; }

 private:
  struct Cell {
    std::atomic<uint64_t> turn;
    Task* task;
  };
  struct Lane {
    std::unique_ptr<Cell[]> cells;
    alignas(64) std::atomic<uint64_t> head{0};
    alignas(64) std::atomic<uint64_t> tail{0};
    alignas(64) std::atomic<uint32_t> depth{0};
    std::atomic<uint32_t> frames{0};
  };

  bool reserve(Lane& lane, const Task* task);
  void uncount(Lane& lane, const Task* task);

  const QueueLimits limits_;
  uint64_t mask_;
  const uint32_t laneCount_;
  std::array<Lane, kMaxLanes> lanes_;
  alignas(64) std::atomic<uint32_t> depth_{0};
  std::atomic<size_t> bytes_{0};
};

}  // namespace mr
