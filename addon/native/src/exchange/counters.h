// Counters that one thread writes and any thread reads. They never reset. Relaxed: a reader wants recent numbers, not an order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "exchange/close_reason.h"

namespace mr {

// Owned by one writer, so an addition is a plain load and store.
class Counter {
 public:
  void add(uint64_t n) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void sub(uint64_t n) { value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed); }
  void raise(uint64_t n) {
    if (n > value_.load(std::memory_order_relaxed)) value_.store(n, std::memory_order_relaxed);
  }
  uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// The names of all counters, in the order in which they cross to JS: `reactorCounterNames` and `workerCounterNames` in
// addon/src/wire.ts, which a test compares with these. One list makes the fields and the rows, so that they cannot differ.
// clang-format off
#define MR_REACTOR_COUNTERS(X) \
  X(open) X(accepted) X(handedOver) X(acceptErrors) X(bytesRead) X(bytesWritten) X(framesRead) X(framesSubmitted) \
  X(repliesWritten) X(repliesLate) X(repliesHeld) X(sends) X(pausesByQueue) X(pausesByPeer) X(turns) X(moved) X(framesShed) \
  X(acceptsDelayed) X(buffered) X(framesInline) X(inlineOverruns) X(subscriptions) X(publications) X(publicationsDropped) \
  X(connecting) X(connected) X(connectFailures) X(piped) X(callsAfterClose) X(turnsBounded) X(framesSetAside) \
  X(framesCancelled) X(turnBytesMost) X(turnCpuNsMost) X(messagesDropped)

#define MR_WORKER_COUNTERS(X) \
  X(framesStarted) X(framesSettled) X(framesFailed) X(framesStolen) X(framesCancelled) X(framesLost) X(framesRetried) \
  X(busyNs) X(framesShed)
// clang-format on

#define MR_COUNTER_FIELD(name) Counter name;

struct ReactorCounters {
  MR_REACTOR_COUNTERS(MR_COUNTER_FIELD)
  std::array<Counter, kCloseReasons> closed;
};

struct WorkerCounters {
  MR_WORKER_COUNTERS(MR_COUNTER_FIELD)
};

#undef MR_COUNTER_FIELD

}  // namespace mr
