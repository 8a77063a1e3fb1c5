// Which task a worker takes next. Light tasks go first, so that none waits behind a dear one; dear ones that wait get their share
// of the time all the same; and one worker is kept free of long ones as long as there is light work about. Any thread, no lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "exchange/task_queue.h"

namespace mr {

class Lanes {
 public:
  enum Lane : uint32_t { kLight, kHeavy, kLong };
  static constexpr uint32_t kLanes = 3;
  static_assert(kLanes <= TaskQueue::kMaxLanes);
  static constexpr uint64_t kHeavyNs = 200'000;             // predicted, of a whole task
  static constexpr uint64_t kLongNs = 5'000'000;            // too long to wait for the rest of
  static constexpr uint64_t kShare = 3;                     // so much more time than it needs itself is a task passed over for
  static constexpr uint64_t kLightAboutNs = 1'000'000'000;  // so long after the last light task one worker is still kept free

  Lanes(TaskQueue& queue, uint32_t maxWorkers);

  static Lane laneOf(uint64_t costNs) {
    // A frame of unknown cost does not go before known light ones.
    return costNs == 0 ? kHeavy : costNs < kHeavyNs ? kLight : costNs < kLongNs ? kHeavy : kLong;
  }

  // A feeder has pushed it.
  void pushed(Lane lane, uint64_t nowNs);
  // Whether one more worker, beside those that run long tasks now, would find something.
  bool hasWork(uint32_t workers, uint64_t nowNs) const;
  // The next task for this worker, and its lane; null when there is none for it.
  TaskRef take(uint32_t worker, uint32_t workers, uint64_t nowNs, Lane* lane);
  // One more of the same lane, for the same batch.
  TaskRef takeMore(Lane lane);
  // The worker has finished its tasks.
  void done(uint32_t worker);
  uint32_t frames(Lane lane) const { return queue_.frames(lane); }

 private:
  static constexpr uint64_t kUnknownNs = 1'000'000;  // the assumed cost of an unknown task

  bool keepsOneFree(uint32_t workers, uint64_t nowNs) const;
  bool mayRunLong(uint32_t workers, uint64_t nowNs) const;
  TaskRef takeFrom(Lane lane, uint32_t worker, uint32_t workers, uint64_t nowNs);
  void account(Lane lane, uint64_t costNs);

  TaskQueue& queue_;
  struct alignas(64) Account {
    std::atomic<uint64_t> passedOverNs{0};  // work taken before the tasks that wait here
    std::atomic<uint64_t> costNs{0};        // of the last one
  };
  std::array<Account, kLanes> accounts_;
  alignas(64) std::atomic<uint64_t> lightAtNs_{0};
  alignas(64) std::atomic<uint32_t> longRunning_{0};
  std::unique_ptr<std::atomic<bool>[]> runsLong_;  // by worker
};

}  // namespace mr
