#include "reactor/connection_table.h"

#include "base/fatal.h"

namespace mr {

uint32_t ConnectionTable::open() {
  uint32_t slot;
  if (!free_.empty()) {
    slot = free_.back();
    free_.pop_back();
  } else {
    if (highest_ == ConnectionId::kMaxSlots) return kFull;
    slot = highest_++;
    if (slot % kChunk == 0) chunks_.push_back(std::make_unique<Chunk>());
  }
  Connection& connection = at(slot);
  if (nextGeneration_ == 0) ++nextGeneration_;  // the reactor's own descriptors have the generation 0
  connection.generation = nextGeneration_++;
  connection.flags = Connection::kOpen;
  ++size_;
  return slot;
}

void ConnectionTable::close(uint32_t slot) {
  MR_CHECK(at(slot).has(Connection::kOpen), "a slot is closed twice");
  at(slot) = Connection{};
  free_.push_back(slot);
  --size_;
}

}  // namespace mr
