// What a reactor's connections hold, and what it does when the process holds more than it may.
#include "reactor/reactor.h"

namespace mr {

// Messages that it has taken and not dealt with yet are in nobody's mailbox.
uint64_t Reactor::messagesInHand() const {
  uint64_t bytes = unfinished_ ? unfinished_->bytes() : 0;
  for (const auto& early : early_) bytes += early.second->bytes();
  return bytes;
}

// Promises, calls and requests that wait in the thread are a heap that nobody measures: each counts with a fixed sum.
uint64_t Reactor::heldBytes() const { return (heldTotal_ - heldByThemselves_) * MemoryGuard::kHeldBytes; }

uint64_t Reactor::ownBytes() const { return counters_.buffered.get() + messagesInHand() + heldBytes(); }

void Reactor::shedMemory() {
  if (memory_.asksToShrink() && heldTotal_ != 0) emit(Event::kShrink, 0);
  const uint64_t own = ownBytes();
  exchange_->publishBuffered(index_, own);
  const size_t most = memory_.look({own, counters_.bytesRead.get(), mailbox_.bytes()}, nowMs_);
  if (most == 0) return;
  const size_t closed = closeLargest(most, {});
  memory_.shed(closed);
  if (closed == 0) return;
  exchange_->publishBuffered(index_, ownBytes());
  requestAnotherTurn();
}

// How many it has closed.
size_t Reactor::closeLargest(size_t atMost, MemoryGuard::Claim claim) {
  const std::vector<uint32_t> slots = memory_.largest(table_, atMost, claim);
  for (const uint32_t slot : slots) closeNow(slot, CloseReason::kMemoryLimit);
  return slots.size();
}

}  // namespace mr
