// The present owner of each connection: one atomic word for each slot of each home. Readable from any thread; written by the
// owner only. Does not own connections and does not keep them alive: the answer may be old by the time it is used, so the
// mailbox's owner compares the generation once more.
#pragma once

#include <cstdint>
#include <optional>

#include "exchange/connection_id.h"
#include "exchange/connection_words.h"

namespace mr {

class Directory {
 public:
  // The owner's thread. `mailbox` is the index of the owner's mailbox in the Exchange.
  void publish(ConnectionId id, uint16_t mailbox);
  void retract(ConnectionId id);

  // Any thread. Nothing when the connection is gone, also when its slot has a new tenant.
  std::optional<uint16_t> owner(ConnectionId id) const {
    const ConnectionWords::Word* word = words_.find(id);
    if (!word) return std::nullopt;
    const uint64_t packed = word->load(std::memory_order_acquire);
    const auto mailbox = static_cast<uint32_t>(packed);
    if (mailbox == 0 || packed >> 32 != id.generation()) return std::nullopt;
    return static_cast<uint16_t>(mailbox - 1);
  }

 private:
  ConnectionWords words_;
};

}  // namespace mr
