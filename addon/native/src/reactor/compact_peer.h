// The address of a peer in one word, as an idle connection keeps it. IPv4 with its port fits in, and so does IPv4 mapped into
// IPv6; any other IPv6 address lies in memory of its own.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>

#include "exchange/peer.h"

namespace mr {

class CompactPeer {
 public:
  CompactPeer() = default;
  CompactPeer(const Peer& peer) : word_(pack(peer)) {}
  CompactPeer(CompactPeer&& other) noexcept : word_(std::exchange(other.word_, uint64_t{kUnnamed})) {}
  CompactPeer& operator=(CompactPeer&& other) noexcept {
    std::swap(word_, other.word_);
    return *this;
  }
  CompactPeer(const CompactPeer&) = delete;
  CompactPeer& operator=(const CompactPeer&) = delete;
  ~CompactPeer() {
    if (kind() == kElsewhere) delete elsewhere();
  }

  operator Peer() const {
    if (kind() == kElsewhere) return *elsewhere();
    Peer peer;
    if (kind() == kUnnamed) return peer;
    peer.family = kind() == kInet4 ? Peer::Family::kInet4 : Peer::Family::kInet6;
    peer.port = static_cast<uint16_t>(word_ >> 16);
    const uint32_t address = static_cast<uint32_t>(word_ >> 32);
    uint8_t* at = peer.bytes.data();
    if (kind() == kMapped) at = std::copy(std::begin(kMappedPrefix), std::end(kMappedPrefix), at);
    std::memcpy(at, &address, sizeof(address));
    return peer;
  }
  bool isNamed() const { return kind() != kUnnamed; }

 private:
  // In the lowest bits of the word, which are 0 in an address of memory.
  enum Kind : uint64_t { kElsewhere = 0, kUnnamed = 1, kInet4 = 2, kMapped = 3 };
  static constexpr uint64_t kKindMask = 3;
  static constexpr uint8_t kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

  uint64_t kind() const { return word_ & kKindMask; }
  Peer* elsewhere() const { return reinterpret_cast<Peer*>(static_cast<uintptr_t>(word_)); }

  static uint64_t pack(const Peer& peer) {
    if (peer.family == Peer::Family::kUnnamed) return kUnnamed;
    const bool isMapped = std::memcmp(peer.bytes.data(), kMappedPrefix, sizeof(kMappedPrefix)) == 0;
    if (peer.family == Peer::Family::kInet6 && !isMapped) {
      static_assert(__STDCPP_DEFAULT_NEW_ALIGNMENT__ > kKindMask);
      return reinterpret_cast<uintptr_t>(new Peer(peer));
    }
    uint32_t address;
    const bool isInet4 = peer.family == Peer::Family::kInet4;
    std::memcpy(&address, peer.bytes.data() + (isInet4 ? 0 : sizeof(kMappedPrefix)), sizeof(address));
    return uint64_t{address} << 32 | uint64_t{peer.port} << 16 | (isInet4 ? kInet4 : kMapped);
  }

  uint64_t word_ = kUnnamed;
};

}  // namespace mr
