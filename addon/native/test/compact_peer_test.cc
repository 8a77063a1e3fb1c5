// The peer of a connection in one word, and back.
#include "reactor/compact_peer.h"
#include "harness.h"

using namespace mr;

namespace {

Peer peer(Peer::Family family, uint16_t port, std::array<uint8_t, 16> bytes) {
  Peer made;
  made.family = family;
  made.port = port;
  made.bytes = bytes;
  return made;
}

const Peer kInet4 = peer(Peer::Family::kInet4, 65'535, {203, 0, 113, 255});
const Peer kMapped = peer(Peer::Family::kInet6, 1, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 2, 3});
const Peer kInet6 = peer(Peer::Family::kInet6, 443, {0x20, 1, 0xd, 0xb8, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16});
const Peer kLoopback6 = peer(Peer::Family::kInet6, 7, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1});
const Peer kUnnamed = {};

bool same(const Peer& a, const Peer& b) {
  return a.family == b.family && a.port == b.port && a.bytes == b.bytes && addressKey(a) == addressKey(b);
}

}  // namespace

TEST("every kind of peer comes out of its word as it went in") {
  for (const Peer& given : {kInet4, kMapped, kInet6, kLoopback6, kUnnamed}) {
    const CompactPeer compact(given);
    CHECK(same(compact, given));
    CHECK_EQ(compact.isNamed(), given.family != Peer::Family::kUnnamed);
  }
  CHECK_EQ(sizeof(CompactPeer), size_t{8});
}

TEST("a peer that has moved leaves nobody behind, and one that is replaced leaks nothing") {
  CompactPeer first(kInet6);
  CompactPeer second(std::move(first));
  CHECK(same(second, kInet6));
  CHECK(!first.isNamed());
  second = kLoopback6;
  CHECK(same(second, kLoopback6));
  second = kInet4;
  CHECK(same(second, kInet4));
  second = CompactPeer(kInet6);
  CHECK(same(second, kInet6));
}
