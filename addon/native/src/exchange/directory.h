// Who owns a connection now: one atomic word for each slot of each home. Readable from any thread; written by the owner only.
// Does not own connections and does not keep them alive: the answer may be old by the time it is used, so the mailbox's
// owner compares the generation once more.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "exchange/connection_id.h"

namespace mr {

class Directory {
 public:
  Directory() = default;
  ~Directory();
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;

  // The owner's thread. `mailbox` is the index of the owner's mailbox in the Exchange.
  void publish(ConnectionId id, uint16_t mailbox);
  void retract(ConnectionId id);

  // Any thread. Nothing when the connection is gone, also when its slot has a new tenant.
  std::optional<uint16_t> owner(ConnectionId id) const;

 private:
  static constexpr uint32_t kChunkSlots = 1024;
  static constexpr uint32_t kChunks = ConnectionId::kMaxSlots / kChunkSlots;
  using Chunk = std::array<std::atomic<uint64_t>, kChunkSlots>;
  struct Home {
    std::array<std::atomic<Chunk*>, kChunks> chunks{};
  };

  std::atomic<uint64_t>* word(ConnectionId id) const;
  std::atomic<uint64_t>& wordForWriting(ConnectionId id);

  std::array<std::atomic<Home*>, ConnectionId::kMaxHomes> homes_{};
};

}  // namespace mr
