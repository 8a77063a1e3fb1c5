// Whether a connection has room for one more reply, as any thread can see it: a word for each slot of each home, made when a
// connection first needs one. It holds the owner's flag (full) and the bytes of replies that are on their way to the owner.
#pragma once

#include <atomic>
#include <cstdint>

#include "exchange/connection_id.h"
#include "exchange/connection_words.h"
#include "exchange/directory.h"

namespace mr {

class Room {
 public:
  // Smaller replies are not counted on their way: maxInFlight bounds them well enough.
  static constexpr uint32_t kCounted = 1 << 10;

  explicit Room(const Directory& directory) : directory_(directory) {}

  // The owner of the connection.
  void setFull(ConnectionId id, bool full);
  // Any thread. A reply has been sent to the owner; the owner has it, and counts it among the connection's bytes.
  void sent(ConnectionId id, uint32_t bytes);
  void arrived(ConnectionId id, uint32_t bytes);
  // Any thread. Its owner says so, or this much is on its way.
  bool isFull(ConnectionId id, uint32_t mostKib) const;
  uint64_t onTheWay(ConnectionId id) const;
  // Any thread. False: no connection has ever needed a word.
  bool isUsed() const { return used_.load(std::memory_order_relaxed); }

 private:
  // The generation in the high half: a word of an older tenant is ignored. Below it the flag, and units of 1 KiB.
  static constexpr uint64_t kFull = uint64_t{1} << 31;
  static constexpr uint64_t kUnits = kFull - 1;

  ConnectionWords::Word& make(ConnectionId id);

  const Directory& directory_;
  std::atomic<bool> used_{false};
  ConnectionWords words_;
};

}  // namespace mr
