// When a reactor looks at what the process holds, and which of its connections give memory back. It closes nothing itself.
#pragma once

#include <cstdint>
#include <vector>

#include "exchange/exchange.h"
#include "reactor/connection_table.h"

namespace mr {

class MemoryGuard {
 public:
  static constexpr uint64_t kStep = 1 << 20;       // how much more is buffered before the process's sum is looked at
  static constexpr size_t kMostShed = 64;          // connections closed in one turn for it
  static constexpr uint32_t kLookMs = 50;          // how soon again while memory is short
  static constexpr uint64_t kHeldBytes = 2 << 10;  // of heap, for each frame that waits in the thread: docs/memory.md

  explicit MemoryGuard(Exchange& exchange) : exchange_(exchange) {}

  // What a reactor has, in bytes.
  struct Holdings {
    uint64_t own;   // for its connections
    uint64_t read;  // received so far
    uint64_t mail;  // in its mailbox
  };
  // The end of a turn: how many connections should give back what they hold. Says shed() then.
  size_t look(const Holdings& now, uint64_t nowMs);
  // So many have been closed. None: what is too much is not here.
  void shed(size_t closed) { shedding_ = shedding_ && closed != 0; }
  // Of this thread's objects, those that keep a slab for a few bytes of it should copy them, before the next collection. Once for
  // each.
  bool asksToShrink();
  // JavaScript holds too much: a connection that sends more is closed.
  bool refusesInput(uint64_t nowMs) const { return refusing_ && exchange_.memoryState(nowMs) != MemoryState::kFine; }
  uint64_t nextLookMs() const { return lookAtMs_; }  // 0: when there is more

  // What a connection is about to hold, beside what it does.
  struct Claim {
    uint32_t slot = UINT32_MAX;
    size_t bytes = 0;
  };
  // Connections that hold most, at most so many: the first, and with it those that hold nearly as much, until they have held what
  // is too much. A turn may take in more than one of them gives back.
  std::vector<uint32_t> largest(const ConnectionTable& table, size_t atMost, Claim claim) const;

 private:
  static constexpr size_t kNearly = 2;  // each holds this part of the largest, at least

  bool mustLook(const Holdings& now, uint64_t nowMs);
  static size_t holds(const Connection& connection);

  Exchange& exchange_;
  bool shedding_ = false;
  bool refusing_ = false;
  uint64_t ownAtLook_ = 0, readAtLook_ = 0;  // when the process's sum was last looked at
  uint64_t lookAtMs_ = 0;
  uint64_t heldShedAtMs_ = 0;  // when the next one may be closed for what JavaScript holds
  uint32_t collections_ = 0;   // asked for when this thread's objects were last told to shrink
};

}  // namespace mr
