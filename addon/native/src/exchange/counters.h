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

// In the order in which they cross to JS: see `reactorCounterNames` in addon/src.
struct ReactorCounters {
  Counter open, accepted, handedOver, acceptErrors, bytesRead, bytesWritten, framesRead, framesSubmitted, repliesWritten,
      repliesLate, repliesHeld, sends, pausesByQueue, pausesByPeer, turns, moved, framesShed, acceptsDelayed, buffered,
      framesInline, inlineOverruns, subscriptions, publications, publicationsDropped, connecting, connected, connectFailures,
      piped, callsAfterClose, turnsBounded, framesSetAside, framesCancelled, turnBytesMost, turnCpuNsMost, messagesDropped;
  std::array<Counter, kCloseReasons> closed;
};

struct WorkerCounters {
  Counter framesStarted, framesSettled, framesFailed, framesStolen, framesCancelled, framesLost, framesRetried, busyNs,
      framesShed;
};

}  // namespace mr
