// A peer's address in 20 bytes, so that it can travel in a task and lie in a connection without costing a sockaddr_storage.
#pragma once

#include <array>
#include <cstdint>

namespace mr {

struct Peer {
  enum class Family : uint8_t { kUnnamed = 0, kInet4 = 4, kInet6 = 6 };  // Unix peers are unnamed
  Family family = Family::kUnnamed;
  uint8_t reserved = 0;
  uint16_t port = 0;
  std::array<uint8_t, 16> bytes{};
};

// The key of one address: an IPv4 address, mapped into IPv6 or not, or a /64 of IPv6, the share of one customer.
uint64_t addressKey(const Peer& peer);

}  // namespace mr
