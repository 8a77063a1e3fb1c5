// A word for each connection id that any thread reads and writes without a lock: one for each slot of each home, for any
// tenant. Words begin as 0, and are made in chunks when one of them is first written; a chunk neither moves nor ends
// before this does.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "exchange/connection_id.h"

namespace mr {

class ConnectionWords {
 public:
  using Word = std::atomic<uint64_t>;

  ConnectionWords() = default;
  ~ConnectionWords();
  ConnectionWords(const ConnectionWords&) = delete;
  ConnectionWords& operator=(const ConnectionWords&) = delete;

  // Any thread. Null: its chunk has not been made, so the word is 0. Asked for every reply.
  Word* find(ConnectionId id) const {
    const Home* home = homes_[id.home()].load(std::memory_order_acquire);
    if (!home) return nullptr;
    Chunk* chunk = home->chunks[id.slot() / kChunkSlots].load(std::memory_order_acquire);
    return chunk ? &(*chunk)[id.slot() % kChunkSlots] : nullptr;
  }
  // Any thread.
  Word& make(ConnectionId id);

 private:
  static constexpr uint32_t kChunkSlots = 1024;
  static constexpr uint32_t kChunks = ConnectionId::kMaxSlots / kChunkSlots;
  using Chunk = std::array<Word, kChunkSlots>;
  struct Home {
    std::array<std::atomic<Chunk*>, kChunks> chunks{};
  };

  std::array<std::atomic<Home*>, ConnectionId::kMaxHomes> homes_{};
};

}  // namespace mr
