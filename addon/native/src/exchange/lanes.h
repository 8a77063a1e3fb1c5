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
  static constexpr uint64_t kLongNs = 5'000'000;            // nobody should have to wait for the rest of such a one
  static constexpr uint64_t kShare = 3;                     // so much more time than it needs itself is a task passed over for
  static constexpr uint64_t kLightAboutNs = 1'000'000'000;  // so long after the last light task one worker is still kept free

  Lanes(TaskQueue& queue, uint32_t maxWorkers);

  static Lane laneOf(uint64_t costNs) {
    // What has never run may be anything: it does not go before what is known to be light.
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
  // The worker is through with what it had.
  void done(uint32_t worker);
  uint32_t frames(Lane lane) const { return queue_.frames(lane); }

 private:
  static constexpr uint64_t kUnknownNs = 1'000'000;  // what a task of unknown cost counts

  bool keepsOneFree(uint32_t workers, uint64_t nowNs) const;
  bool mayRunLong(uint32_t workers, uint64_t nowNs) const;
  TaskRef takeFrom(Lane lane, uint32_t worker, uint32_t workers, uint64_t nowNs);
  void account(Lane lane, uint64_t costNs);

  TaskQueue& queue_;
  struct alignas(64) Account {
    std::atomic<uint64_t> passedOverNs{0};  // work that was taken before what waits here
    std::atomic<uint64_t> costNs{0};        // of the last one
  };
  std::array<Account, kLanes> accounts_;
  alignas(64) std::atomic<uint64_t> lightAtNs_{0};
  alignas(64) std::atomic<uint32_t> longRunning_{0};
  std::unique_ptr<std::atomic<bool>[]> runsLong_;  // by worker
};

}  // namespace mr
