#include "exchange/room.h"

#include <algorithm>

namespace mr {

namespace {

bool isOf(uint64_t word, ConnectionId id) { return word >> 32 == id.generation(); }

}  // namespace

ConnectionWords::Word& Room::make(ConnectionId id) {
  if (!isUsed()) used_.store(true, std::memory_order_relaxed);
  return words_.make(id);
}

void Room::setFull(ConnectionId id, bool full) {
  ConnectionWords::Word* word = full ? &make(id) : words_.find(id);
  if (!word) return;
  uint64_t now = word->load(std::memory_order_relaxed), next;
  do {
    const uint64_t units = isOf(now, id) ? now & kUnits : 0;
    next = uint64_t{id.generation()} << 32 | (full ? kFull : 0) | units;
  } while (!word->compare_exchange_weak(now, next, std::memory_order_acq_rel, std::memory_order_relaxed));
}

void Room::sent(ConnectionId id, uint32_t bytes) {
  if (bytes < kCounted) return;
  ConnectionWords::Word& word = make(id);
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
  ConnectionWords::Word* word = bytes < kCounted ? nullptr : words_.find(id);
  if (!word) return;
  uint64_t now = word->load(std::memory_order_relaxed);
  while (isOf(now, id)) {
    const uint64_t next = now - std::min<uint64_t>(now & kUnits, bytes >> 10);
    if (word->compare_exchange_weak(now, next, std::memory_order_acq_rel, std::memory_order_relaxed)) return;
  }
}

bool Room::isFull(ConnectionId id, uint32_t mostKib) const {
  const ConnectionWords::Word* word = words_.find(id);
  if (!word) return false;
  const uint64_t now = word->load(std::memory_order_acquire);
  return isOf(now, id) && ((now & kFull) != 0 || (now & kUnits) >= mostKib);
}

uint64_t Room::onTheWay(ConnectionId id) const {
  const ConnectionWords::Word* word = words_.find(id);
  const uint64_t now = word ? word->load(std::memory_order_acquire) : 0;
  return isOf(now, id) ? (now & kUnits) << 10 : 0;
}

}  // namespace mr
