// From the address that the kernel names to the one that a connection keeps.
#pragma once

#include <netinet/in.h>

#include <cstring>

#include "exchange/peer.h"
#include "net/address.h"

namespace mr {

inline Peer peerOf(const Address& address) {
  Peer peer;
  if (address.family() == AF_INET) {
    const auto& in = reinterpret_cast<const sockaddr_in&>(address.storage);
    peer.family = Peer::Family::kInet4;
    peer.port = ntohs(in.sin_port);
    std::memcpy(peer.bytes.data(), &in.sin_addr, sizeof(in.sin_addr));
  } else if (address.family() == AF_INET6) {
    const auto& in = reinterpret_cast<const sockaddr_in6&>(address.storage);
    peer.family = Peer::Family::kInet6;
    peer.port = ntohs(in.sin6_port);
    std::memcpy(peer.bytes.data(), &in.sin6_addr, sizeof(in.sin6_addr));
  }
  return peer;
}

}  // namespace mr
