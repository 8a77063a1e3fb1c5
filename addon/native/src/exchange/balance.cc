#include "exchange/balance.h"

#include <algorithm>

#include "base/fatal.h"

namespace mr {

namespace {

// Each reactor's claim on an address, as good as random. The mixing of splitmix64.
uint64_t claim(uint64_t key, uint32_t reactor) {
  uint64_t mixed = key + (uint64_t{reactor} + 1) * 0x9e3779b97f4a7c15ull;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ull;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebull;
  return mixed ^ (mixed >> 31);
}

}  // namespace

Balance::Balance(uint32_t reactors) : size_(reactors), seats_(new Seat[std::max(reactors, 1u)]) {}

void Balance::setTaking(uint32_t reactor, bool on) {
  MR_CHECK(reactor < size_, "no such reactor");
  seats_[reactor].takes.store(on, std::memory_order_seq_cst);
  if (!on) return;
  uint32_t end = end_.load(std::memory_order_relaxed);
  while (end <= reactor && !end_.compare_exchange_weak(end, reactor + 1, std::memory_order_acq_rel)) {
  }
}

bool Balance::takes(uint32_t reactor) const { return reactor < size_ && seats_[reactor].takes.load(std::memory_order_seq_cst); }

void Balance::enter(uint32_t reactor) { seats_[reactor].connections.fetch_add(1, std::memory_order_seq_cst); }

void Balance::leave(uint32_t reactor) {
  const uint32_t before = seats_[reactor].connections.fetch_sub(1, std::memory_order_seq_cst);
  MR_CHECK(before != 0, "a connection leaves a reactor that it never entered");
}

bool Balance::tryEnter(uint32_t reactor) {
  if (!takes(reactor)) return false;
  enter(reactor);
  // Asked again: it may have stopped, and checked for entries, before we entered.
  if (takes(reactor)) return true;
  leave(reactor);
  return false;
}

uint32_t Balance::enterLeast(uint32_t first) {
  for (;;) {
    const uint32_t end = this->end();
    uint32_t best = kNobody, least = UINT32_MAX;
    for (uint32_t i = 0; i < end; ++i) {
      const uint32_t reactor = (first + i) % end;
      if (!takes(reactor)) continue;
      const uint32_t has = of(reactor);
      if (has < least) best = reactor, least = has;
    }
    if (best == kNobody) return kNobody;
    // The others may have grown since they were looked at, and this one has not: it is still the emptiest.
    if (!seats_[best].connections.compare_exchange_strong(least, least + 1, std::memory_order_seq_cst)) continue;
    if (takes(best)) return best;
    leave(best);
  }
}

uint32_t Balance::ownerOf(uint64_t key) const {
  uint32_t owner = kNobody;
  uint64_t highest = 0;
  for (uint32_t reactor = 0; reactor < end(); ++reactor) {
    if (!takes(reactor)) continue;
    const uint64_t its = claim(key, reactor);
    if (owner == kNobody || its > highest) owner = reactor, highest = its;
  }
  return owner;
}

}  // namespace mr
