#include "exchange/peer.h"

#include <cstring>

namespace mr {

uint64_t addressKey(const Peer& peer) {
  constexpr uint64_t kInet4 = uint64_t{1} << 40;  // no /64 of IPv6 looks like this
  uint64_t key = 0;
  if (peer.family == Peer::Family::kInet4) {
    std::memcpy(&key, peer.bytes.data(), 4);
    return key | kInet4;
  }
  // An IPv4 client of a dual-stack listener is still one address.
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  if (std::memcmp(peer.bytes.data(), kMapped, sizeof(kMapped)) == 0) {
    std::memcpy(&key, peer.bytes.data() + sizeof(kMapped), 4);
    return key | kInet4;
  }
  std::memcpy(&key, peer.bytes.data(), 8);
  return key;
}

}  // namespace mr
