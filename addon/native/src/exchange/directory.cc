#include "exchange/directory.h"

#include "base/fatal.h"

namespace mr {

namespace {

// generation in the high half, mailbox + 1 in the low half: 0 is "nobody".
uint64_t pack(uint32_t generation, uint16_t mailbox) { return uint64_t{generation} << 32 | (uint32_t{mailbox} + 1); }

// Homes and chunks are made by the one thread that owns the home, but a lost race must not leak either.
template <typename T>
T* publishOnce(std::atomic<T*>& place) {
  T* fresh = new T();
  T* expected = nullptr;
  if (place.compare_exchange_strong(expected, fresh, std::memory_order_acq_rel)) return fresh;
  delete fresh;
  return expected;
}

}  // namespace

Directory::~Directory() {
  for (auto& homePlace : homes_) {
    Home* home = homePlace.load(std::memory_order_relaxed);
    if (!home) continue;
    for (auto& chunk : home->chunks) delete chunk.load(std::memory_order_relaxed);
    delete home;
  }
}

std::atomic<uint64_t>* Directory::word(ConnectionId id) const {
  const Home* home = homes_[id.home()].load(std::memory_order_acquire);
  if (!home) return nullptr;
  Chunk* chunk = home->chunks[id.slot() / kChunkSlots].load(std::memory_order_acquire);
  return chunk ? &(*chunk)[id.slot() % kChunkSlots] : nullptr;
}

std::atomic<uint64_t>& Directory::wordForWriting(ConnectionId id) {
  Home* home = homes_[id.home()].load(std::memory_order_acquire);
  if (!home) home = publishOnce(homes_[id.home()]);
  auto& place = home->chunks[id.slot() / kChunkSlots];
  Chunk* chunk = place.load(std::memory_order_acquire);
  if (!chunk) chunk = publishOnce(place);
  return (*chunk)[id.slot() % kChunkSlots];
}

void Directory::publish(ConnectionId id, uint16_t mailbox) {
  wordForWriting(id).store(pack(id.generation(), mailbox), std::memory_order_release);
}

void Directory::retract(ConnectionId id) {
  auto* entry = word(id);
  MR_CHECK(entry && entry->load(std::memory_order_relaxed) >> 32 == id.generation(), "retract of a connection not published");
  entry->store(0, std::memory_order_release);
}

std::optional<uint16_t> Directory::owner(ConnectionId id) const {
  const auto* entry = word(id);
  if (!entry) return std::nullopt;
  const uint64_t packed = entry->load(std::memory_order_acquire);
  const auto mailbox = static_cast<uint32_t>(packed);
  if (mailbox == 0 || packed >> 32 != id.generation()) return std::nullopt;
  return static_cast<uint16_t>(mailbox - 1);
}

}  // namespace mr
