// The name of a connection as other threads know it. A value: no descriptor, no pointer, nothing to dereference.
#pragma once

#include <cstdint>

namespace mr {

// home: the table the connection was born in, never renumbered and not its present owner (the Directory knows that).
// slot: its place in that table. generation: which tenant of the slot.
struct ConnectionId {
  static constexpr unsigned kHomeBits = 12;
  static constexpr unsigned kSlotBits = 20;
  static constexpr uint32_t kMaxHomes = 1u << kHomeBits;
  static constexpr uint32_t kMaxSlots = 1u << kSlotBits;

  uint64_t value = 0;

  static ConnectionId of(uint32_t home, uint32_t slot, uint32_t generation) {
    return {uint64_t{home} << (kSlotBits + 32) | uint64_t{slot} << 32 | generation};
  }
  uint32_t home() const { return static_cast<uint32_t>(value >> (kSlotBits + 32)); }
  uint32_t slot() const { return static_cast<uint32_t>(value >> 32) & (kMaxSlots - 1); }
  uint32_t generation() const { return static_cast<uint32_t>(value); }
  bool operator==(const ConnectionId&) const = default;
};

}  // namespace mr
