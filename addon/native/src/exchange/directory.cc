#include "exchange/directory.h"

#include "base/fatal.h"

namespace mr {

namespace {

// generation in the high half, mailbox + 1 in the low half: 0: no owner.
uint64_t pack(uint32_t generation, uint16_t mailbox) { return uint64_t{generation} << 32 | (uint32_t{mailbox} + 1); }

}  // namespace

void Directory::publish(ConnectionId id, uint16_t mailbox) {
  words_.make(id).store(pack(id.generation(), mailbox), std::memory_order_release);
}

void Directory::retract(ConnectionId id) {
  auto* entry = words_.find(id);
  MR_CHECK(entry && entry->load(std::memory_order_relaxed) >> 32 == id.generation(), "retract of a connection not published");
  entry->store(0, std::memory_order_release);
}

}  // namespace mr
