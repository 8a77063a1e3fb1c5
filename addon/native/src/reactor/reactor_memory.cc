// What a reactor's connections hold, and what it does when the process holds more than it may.
#include <algorithm>

#include "reactor/reactor.h"

namespace mr {

void Reactor::recount(uint32_t slot) {
  Connection& connection = table_.at(slot);
  size_t now = 0;
  if (connection.fd.valid()) {
    if (!connection.out.empty() || connection.extras) now = connection.waitingBytes() - connection.sharedBytes();
    if (connection.in) now += connection.in->capacity();
    if (connection.subscriptions()) now += connection.subscriptions()->heldBytes;
  }
  if (now == connection.accounted) return;
  if (now > connection.accounted) {
    counters_.buffered.add(now - connection.accounted);
  } else {
    counters_.buffered.sub(connection.accounted - now);
  }
  connection.accounted = now;
}

// Messages that it has taken and not dealt with yet are in nobody's mailbox.
uint64_t Reactor::messagesInHand() const {
  uint64_t bytes = unfinished_ ? unfinished_->bytes() : 0;
  for (const auto& early : early_) bytes += early.second->bytes();
  return bytes;
}

// Everything that fills memory has come in by a connection of some reactor, or waits to leave by one. Who finds that there is
// little left makes the others look, too: what holds most may be theirs.
bool Reactor::looksAtMemory(uint64_t own, uint64_t read, uint64_t mail) {
  const bool grown = own >= memoryCheckedAt_ + kMemoryStep || read >= readCheckedAt_ + kMemoryStep || mail >= kMemoryStep;
  // Also when somebody else has found that it is short no more: what was begun for it ends.
  const bool due = (memoryLookAtMs_ != 0 || exchange_->memoryIsShort()) && nowMs_ >= memoryLookAtMs_;
  if (!grown && !due && !sheddingMemory_) {
    memoryCheckedAt_ = std::min(memoryCheckedAt_, own);
    return false;
  }
  memoryCheckedAt_ = own;
  readCheckedAt_ = read;
  return true;
}

// Promises, calls and requests that wait in the thread are a heap that nobody measures: each counts with a fixed sum.
uint64_t Reactor::heldBytes() const { return (heldTotal_ - heldByThemselves_) * kHeldBytes; }

uint64_t Reactor::ownBytes() const { return counters_.buffered.get() + messagesInHand() + heldBytes(); }

size_t Reactor::holds(const Connection& connection) {
  return connection.accounted + connection.inFlightBytes + connection.heldForFrames() * kHeldBytes;
}

// Objects of this thread that keep a slab for a few bytes of it copy them, before the next collection.
void Reactor::shrinkIfShort() {
  const uint32_t asked = exchange_->collectionsAsked();
  if (asked == collectionsSeen_) return;
  collectionsSeen_ = asked;
  if (heldTotal_ != 0) emit(Event::kShrink, 0);
}

// Over the budget of the process, the connection that holds most goes first, and with it those that hold nearly as much, until
// they have held what is too much: a turn may take in more than one of them gives back.
void Reactor::shedMemory() {
  shrinkIfShort();
  const uint64_t own = ownBytes();
  exchange_->publishBuffered(index_, own);
  if (!looksAtMemory(own, counters_.bytesRead.get(), mailbox_.bytes())) return;
  const MemoryState state = exchange_->memoryState(nowMs_);
  // Whether the collectors have helped is seen in a moment, whatever else happens here.
  memoryLookAtMs_ = exchange_->memoryIsShort() ? nowMs_ + kMemoryLookMs : 0;
  sheddingMemory_ = state != MemoryState::kFine;
  refusingInput_ = false;
  if (!sheddingMemory_) return;
  // What goes with a connection of what JS holds is seen when the collectors have been there, and not in the next turn.
  if (state == MemoryState::kHeld) {
    refusingInput_ = true;
    if (nowMs_ < heldShedAtMs_) {
      sheddingMemory_ = false;
      return;
    }
    heldShedAtMs_ = nowMs_ + Exchange::kCollectMs;
  }
  if (closeLargest(state == MemoryState::kHeld ? 1 : kMostShed, {}) != 0) {
    exchange_->publishBuffered(index_, ownBytes());
    return requestAnotherTurn();
  }
  sheddingMemory_ = false;  // what is too much is not here
  // Nobody can be made to give back what hooks and parse keep, but nobody has to feed them: refusingInput_.
}

// How many it has closed.
size_t Reactor::closeLargest(size_t atMost, Claim claim) {
  std::vector<std::pair<size_t, uint32_t>> largest;  // a heap, the least of them first
  const auto less = [](const auto& one, const auto& other) { return one.first > other.first; };
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid()) continue;
    const size_t its = holds(connection) + (slot == claim.slot ? claim.bytes : 0);
    if (its == 0 || (largest.size() == kMostShed && its <= largest.front().first)) continue;
    if (largest.size() == kMostShed) {
      std::pop_heap(largest.begin(), largest.end(), less);
      largest.pop_back();
    }
    largest.emplace_back(its, slot);
    std::push_heap(largest.begin(), largest.end(), less);
  }
  std::sort_heap(largest.begin(), largest.end(), less);
  const uint64_t sum = exchange_->memoryUse().sum() + claim.bytes, most = exchange_->options().maxMemoryBytes;
  const uint64_t excess = sum > most ? sum - most : 0;
  uint64_t freed = 0;
  size_t closed = 0;
  for (const auto& [its, slot] : largest) {
    if (closed != 0 && (closed == atMost || freed >= excess || its < largest.front().first / kNearly)) break;
    closeNow(slot, CloseReason::kMemoryLimit);
    freed += its;
    ++closed;
  }
  return closed;
}

}  // namespace mr
