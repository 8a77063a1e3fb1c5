#include "exchange/lanes.h"

#include <algorithm>

namespace mr {

Lanes::Lanes(TaskQueue& queue, uint32_t maxWorkers)
    : queue_(queue), runsLong_(new std::atomic<bool>[std::max(maxWorkers, 1u)]()) {}

void Lanes::pushed(Lane lane, uint64_t nowNs) {
  if (lane != kLight) return;
  // Every feeder writes here: to the hundredth of the time is good enough.
  const uint64_t known = lightAtNs_.load(std::memory_order_relaxed);
  if (nowNs > known + kLightAboutNs / 100) lightAtNs_.store(nowNs, std::memory_order_relaxed);
}

bool Lanes::keepsOneFree(uint32_t workers, uint64_t nowNs) const {
  const uint64_t light = lightAtNs_.load(std::memory_order_relaxed);
  return workers > 1 && light != 0 && nowNs < light + kLightAboutNs;
}

bool Lanes::mayRunLong(uint32_t workers, uint64_t nowNs) const {
  return !keepsOneFree(workers, nowNs) || longRunning_.load(std::memory_order_seq_cst) + 1 < workers;
}

bool Lanes::hasWork(uint32_t workers, uint64_t nowNs) const {
  if (queue_.depth() == 0) return false;
  return queue_.depth(kLight) != 0 || queue_.depth(kHeavy) != 0 || mayRunLong(workers, nowNs);
}

TaskRef Lanes::takeFrom(Lane lane, uint32_t worker, uint32_t workers, uint64_t nowNs) {
  if (queue_.depth(lane) == 0) return {};
  if (lane != kLong) return queue_.take(lane);
  // Counted first: two workers must not both take the last place.
  const uint32_t others = longRunning_.fetch_add(1, std::memory_order_seq_cst);
  TaskRef task;
  if (!keepsOneFree(workers, nowNs) || others + 1 < workers) task = queue_.take(lane);
  if (task) {
    runsLong_[worker].store(true, std::memory_order_relaxed);
  } else {
    longRunning_.fetch_sub(1, std::memory_order_seq_cst);
  }
  return task;
}

TaskRef Lanes::take(uint32_t worker, uint32_t workers, uint64_t nowNs, Lane* lane) {
  const auto from = [&](Lane which) {
    TaskRef task = takeFrom(which, worker, workers, nowNs);
    if (task) *lane = which, account(which, task->costNs);
    return task;
  };
  // A lane passed over for too long comes first, the longest tasks before the others: they have waited for all.
  for (const Lane which : {kLong, kHeavy}) {
    const Account& account = accounts_[which];
    const uint64_t cost = account.costNs.load(std::memory_order_relaxed);
    if (queue_.depth(which) == 0 || account.passedOverNs.load(std::memory_order_relaxed) < kShare * std::max(cost, kHeavyNs))
      continue;
    if (TaskRef task = from(which)) return task;
  }
  for (const Lane which : {kLight, kHeavy, kLong}) {
    if (TaskRef task = from(which)) return task;
  }
  return {};
}

TaskRef Lanes::takeMore(Lane lane) {
  TaskRef task = queue_.take(lane);
  if (task) account(lane, task->costNs);
  return task;
}

// Counts of several workers may be lost against each other, and only make a share less exact.
void Lanes::account(Lane lane, uint64_t costNs) {
  const uint64_t cost = costNs == 0 ? kUnknownNs : costNs;
  accounts_[lane].costNs.store(cost, std::memory_order_relaxed);
  accounts_[lane].passedOverNs.store(0, std::memory_order_relaxed);
  for (uint32_t other = lane + 1; other < kLanes; ++other) {
    if (queue_.depth(other) == 0) continue;
    std::atomic<uint64_t>& passed = accounts_[other].passedOverNs;
    passed.store(passed.load(std::memory_order_relaxed) + cost, std::memory_order_relaxed);
  }
}

void Lanes::done(uint32_t worker) {
  if (!runsLong_[worker].load(std::memory_order_relaxed)) return;
  if (runsLong_[worker].exchange(false, std::memory_order_relaxed)) longRunning_.fetch_sub(1, std::memory_order_seq_cst);
}

}  // namespace mr
