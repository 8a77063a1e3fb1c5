#include "reactor/memory_guard.h"

#include <algorithm>
#include <utility>

namespace mr {

// Everything that fills memory has come in by a connection of some reactor, or waits to leave by one. A reactor that finds little
// left makes the others look, too: what holds most may be theirs.
bool MemoryGuard::mustLook(const Holdings& now, uint64_t nowMs) {
  const bool grown = now.own >= ownAtLook_ + kStep || now.read >= readAtLook_ + kStep || now.mail >= kStep;
  // Also when another reactor has found that it is short no more: what was begun for it ends.
  const bool due = (lookAtMs_ != 0 || exchange_.memoryIsShort()) && nowMs >= lookAtMs_;
  if (!grown && !due && !shedding_) {
    ownAtLook_ = std::min(ownAtLook_, now.own);
    return false;
  }
  ownAtLook_ = now.own;
  readAtLook_ = now.read;
  return true;
}

size_t MemoryGuard::look(const Holdings& now, uint64_t nowMs) {
  if (!mustLook(now, nowMs)) return 0;
  const MemoryState state = exchange_.memoryState(nowMs);
  // Whether the collectors have helped is seen in a moment, whatever else happens here.
  lookAtMs_ = exchange_.memoryIsShort() ? nowMs + kLookMs : 0;
  shedding_ = state != MemoryState::kFine;
  // JavaScript cannot be made to give back what hooks and parse keep, but it need not be fed.
  refusing_ = state == MemoryState::kHeld;
  if (!shedding_) return 0;
  if (!refusing_) return kMostShed;
  // What JavaScript holds of a connection that closes is seen when the collectors have been there, and not in the next turn.
  if (nowMs < heldShedAtMs_) {
    shedding_ = false;
    return 0;
  }
  heldShedAtMs_ = nowMs + Exchange::kCollectMs;
  return 1;
}

bool MemoryGuard::asksToShrink() {
  const uint32_t asked = exchange_.collectionsAsked();
  return std::exchange(collections_, asked) != asked;
}

size_t MemoryGuard::holds(const Connection& connection) {
  return connection.accounted + connection.inFlightBytes + connection.heldForFrames() * kHeldBytes;
}

std::vector<uint32_t> MemoryGuard::largest(const ConnectionTable& table, size_t atMost, Claim claim) const {
  std::vector<std::pair<size_t, uint32_t>> largest;  // a heap, the least of them first
  const auto less = [](const auto& one, const auto& other) { return one.first > other.first; };
  for (uint32_t slot = 0; slot < table.highest(); ++slot) {
    const Connection& connection = table.at(slot);
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
  const uint64_t sum = exchange_.memoryUse().sum() + claim.bytes, most = exchange_.options().maxMemoryBytes;
  const uint64_t excess = sum > most ? sum - most : 0;
  uint64_t freed = 0;
  std::vector<uint32_t> slots;
  for (const auto& [its, slot] : largest) {
    if (!slots.empty() && (slots.size() == atMost || freed >= excess || its < largest.front().first / kNearly)) break;
    slots.push_back(slot);
    freed += its;
  }
  return slots;
}

}  // namespace mr
