// The connections of one reactor by slot. A slot's memory never moves; each new tenant has a new generation, so a name of the
// old one finds nothing. Opens and closes no sockets.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "reactor/connection.h"

namespace mr {

class ConnectionTable {
 public:
  explicit ConnectionTable(uint32_t firstGeneration) : nextGeneration_(firstGeneration) {}

  // The new tenant's slot, or kFull.
  static constexpr uint32_t kFull = UINT32_MAX;
  uint32_t open();
  void close(uint32_t slot);  // the slot may be given out again

  Connection& at(uint32_t slot) { return (*chunks_[slot / kChunk])[slot % kChunk]; }
  const Connection& at(uint32_t slot) const { return (*chunks_[slot / kChunk])[slot % kChunk]; }
  // Null when that tenant is gone.
  Connection* find(uint32_t slot, uint32_t generation) {
    if (slot >= highest_) return nullptr;
    Connection& connection = at(slot);
    return connection.has(Connection::kOpen) && connection.generation == generation ? &connection : nullptr;
  }
  uint32_t size() const { return size_; }
  uint32_t highest() const { return highest_; }  // slots ever used

 private:
  static constexpr uint32_t kChunk = 64;
  using Chunk = std::array<Connection, kChunk>;

  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<uint32_t> free_;
  uint32_t highest_ = 0;
  uint32_t size_ = 0;
  uint32_t nextGeneration_;
};

}  // namespace mr
