#include "exchange/room.h"

#include <algorithm>

namespace mr {

namespace {

template <typename T>
T* publishOnce(std::atomic<T*>& place) {
  T* fresh = new T();
  T* expected = nullptr;
  if (place.compare_exchange_strong(expected, fresh, std::memory_order_acq_rel)) return fresh;
  delete fresh;
  return expected;
}

bool isOf(uint64_t word, ConnectionId id) { return word >> 32 == id.generation(); }

}  // namespace

Room::~Room() {
  for (auto& place : homes_) {
    Home* home = place.load(std::memory_order_relaxed);
    if (!home) continue;
    for (auto& chunk : home->chunks) delete chunk.load(std::memory_order_relaxed);
    delete home;
  }
}

const std::atomic<uint64_t>* Room::find(ConnectionId id) const {
  const Home* home = homes_[id.home()].load(std::memory_order_acquire);
  if (!home) return nullptr;
  const Chunk* chunk = home->chunks[id.slot() / kChunkSlots].load(std::memory_order_acquire);
  return chunk ? &(*chunk)[id.slot() % kChunkSlots] : nullptr;
}

std::atomic<uint64_t>& Room::make(ConnectionId id) {
  Home* home = homes_[id.home()].load(std::memory_order_acquire);
  if (!home) home = publishOnce(homes_[id.home()]);
  auto& place = home->chunks[id.slot() / kChunkSlots];
  Chunk* chunk = place.load(std::memory_order_acquire);
  if (!chunk) chunk = publishOnce(place);
  if (!isUsed()) used_.store(true, std::memory_order_relaxed);
  return (*chunk)[id.slot() % kChunkSlots];
}

void Room::setFull(ConnectionId id, bool full) {
  if (!full && !find(id)) return;
  std::atomic<uint64_t>& word = make(id);
  uint64_t now = word.load(std::memory_order_relaxed), next;
  do {
    const uint64_t units = isOf(now, id) ? now & kUnits : 0;
    next = uint64_t{id.generation()} << 32 | (full ? kFull : 0) | units;
  } while (!word.compare_exchange_weak(now, next, std::memory_order_acq_rel, std::memory_order_relaxed));
}

void Room::sent(ConnectionId id, uint32_t bytes) {
  if (bytes < kCounted) return;
  std::atomic<uint64_t>& word = make(id);
  uint64_t now = word.load(std::memory_order_relaxed), next;
  do {
    // The word is another tenant's: an older one's, unless this connection has closed meanwhile.
    if (!isOf(now, id) && !directory_.owner(id)) return;
    const uint64_t before = isOf(now, id) ? now : uint64_t{id.generation()} << 32;
    if ((before & kUnits) + (bytes >> 10) > kUnits) return;
    next = before + (bytes >> 10);
  } while (!word.compare_exchange_weak(now, next, std::memory_order_acq_rel, std::memory_order_relaxed));
}

void Room::arrived(ConnectionId id, uint32_t bytes) {
  if (bytes < kCounted || !find(id)) return;
  std::atomic<uint64_t>& word = make(id);
  uint64_t now = word.load(std::memory_order_relaxed);
  while (isOf(now, id)) {
    const uint64_t next = now - std::min<uint64_t>(now & kUnits, bytes >> 10);
    if (word.compare_exchange_weak(now, next, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
  }
}

bool Room::isFull(ConnectionId id, uint32_t mostKib) const {
  const std::atomic<uint64_t>* word = find(id);
  if (!word) return false;
  const uint64_t now = word->load(std::memory_order_acquire);
  return isOf(now, id) && ((now & kFull) != 0 || (now & kUnits) >= mostKib);
}

uint64_t Room::onTheWay(ConnectionId id) const {
  const std::atomic<uint64_t>* word = find(id);
  const uint64_t now = word ? word->load(std::memory_order_acquire) : 0;
  return isOf(now, id) ? (now & kUnits) << 10 : 0;
}

}  // namespace mr
