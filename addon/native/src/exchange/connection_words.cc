#include "exchange/connection_words.h"

namespace mr {

namespace {

// Two threads may make the same one: the loser's must not leak.
template <typename T>
T& madeOnce(std::atomic<T*>& place) {
  T* known = place.load(std::memory_order_acquire);
  if (known) return *known;
  T* fresh = new T();
  if (place.compare_exchange_strong(known, fresh, std::memory_order_acq_rel)) return *fresh;
  delete fresh;
  return *known;
}

}  // namespace

ConnectionWords::~ConnectionWords() {
  for (auto& place : homes_) {
    Home* home = place.load(std::memory_order_relaxed);
    if (!home) continue;
    for (auto& chunk : home->chunks) delete chunk.load(std::memory_order_relaxed);
    delete home;
  }
}

ConnectionWords::Word& ConnectionWords::make(ConnectionId id) {
  Home& home = madeOnce(homes_[id.home()]);
  Chunk& chunk = madeOnce(home.chunks[id.slot() / kChunkSlots]);
  return chunk[id.slot() % kChunkSlots];
}

}  // namespace mr
