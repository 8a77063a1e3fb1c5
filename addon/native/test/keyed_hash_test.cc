// The hash of names that peers choose, and the tables that rest on it: as fast with names that collide under the library's own
// hash.
#include "base/keyed_hash.h"

#include <string>
#include <unordered_map>
#include <vector>

#include "exchange/admission.h"
#include "reactor/framings.h"
#include "reactor/topics.h"
#include "steps.h"

using namespace mr;
using namespace mr::test;

namespace {

// std::hash of libstdc++ on 64 bits is MurmurHash64A with a public seed; each of its steps can be undone.
constexpr uint64_t kMurmur = 0xc6a4a7935bd1e995;

constexpr uint64_t inverse(uint64_t odd) {
  uint64_t found = odd;
  for (int i = 0; i < 6; ++i) found *= 2 - odd * found;
  return found;
}
static_assert(inverse(kMurmur) * kMurmur == 1);

uint64_t mixed(uint64_t word) { return (word * kMurmur ^ (word * kMurmur) >> 47) * kMurmur; }
uint64_t unmixed(uint64_t word) {
  word *= inverse(kMurmur);
  return (word ^ word >> 47) * inverse(kMurmur);
}

// Of 16 bytes each: the second word leads the state behind the first one to the same end.
std::vector<std::string> collidingNames(size_t count) {
  std::vector<std::string> names;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t state = (0xc70f6907 ^ 16 * kMurmur ^ mixed(i)) * kMurmur;
    const uint64_t words[2] = {i, unmixed(state ^ 4711)};
    names.emplace_back(reinterpret_cast<const char*>(words), sizeof(words));
  }
  return names;
}

Peer peerOf(uint64_t key) {
  Peer peer;
  peer.family = Peer::Family::kInet6;
  std::memcpy(peer.bytes.data(), &key, sizeof(key));
  CHECK_EQ(addressKey(peer), key);
  return peer;
}

// Of /64 networks, such that they share a shard and a bucket at both sizes when a key is its own hash.
std::vector<Peer> collidingPeers(size_t count, size_t size) {
  std::unordered_map<uint64_t, uint32_t> table;
  uint64_t buckets[2] = {};
  for (uint64_t i = 0; i < 2 * size; ++i) {
    table[i];
    if (i + 1 == size) buckets[0] = table.bucket_count();
  }
  buckets[1] = table.bucket_count();
  std::vector<Peer> peers;
  for (uint64_t key = 0; peers.size() < count; key += buckets[0] * buckets[1]) {
    if ((key * 0x9e3779b97f4a7c15) >> 58 == 0) peers.push_back(peerOf(key));
  }
  return peers;
}

// Alike under a sum of multiplications with a public factor.
std::vector<FramingConfig> collidingFramings(size_t count) {
  std::vector<FramingConfig> framings;
  for (uint64_t i = 0; i < count; ++i) {
    FramingConfig framing;
    framing.kind = FramingKind::kFixed;
    size_t sum = std::hash<std::string_view>()(framing.delimiter);
    const auto add = [&sum](uint64_t value) { sum = (sum ^ value) * 0x9e3779b97f4a7c15u, sum ^= sum >> 32; };
    add(static_cast<uint64_t>(framing.kind));
    add(framing.maxBytes = i);
    framing.fixedBytes = sum ^ 4711;
    framings.push_back(framing);
  }
  return framings;
}

}  // namespace

TEST("the keyed hash is SipHash-1-3") {
  // As Rust's library tests it: key 00..0f.
  const HashKey key = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
  CHECK_EQ(KeyedHasher(key).sumBehind(""), 0xabac0158050fc4dcu);
  CHECK_EQ(KeyedHasher(key).sumBehind(std::string_view("\0", 1)), 0xc9f49bf37d57ca93u);
  // And as Python hashes bytes when PYTHONHASHSEED is 0.
  std::string bytes;
  const auto python = [&](size_t length) {
    while (bytes.size() < length) bytes.push_back(static_cast<char>(bytes.size()));
    return KeyedHasher({0, 0}).sumBehind(bytes);
  };
  CHECK_EQ(python(1), 0x68a914128e01e473u);
  CHECK_EQ(python(7), 0x2f098ab0c751325au);
  CHECK_EQ(python(8), 0xead411e67ebe2eeau);
  CHECK_EQ(python(15), 0xf30eb725bb91c9eau);
  CHECK_EQ(python(64), 0x75e05fd5bbc870c6u);
  KeyedHasher words(key);
  words.add(0x0706050403020100);
  CHECK_EQ(words.sum(), KeyedHasher(key).sumBehind(std::string_view("\0\1\2\3\4\5\6\7", 8)));
}

TEST("the key of the process is drawn, and stays") {
  CHECK(processHashKey().a != 0 && processHashKey().b != 0);
  CHECK_EQ(&processHashKey(), &processHashKey());
  CHECK_EQ(KeyedHash()("name"), KeyedHash()(std::string("name")));
  CHECK(KeyedHash()("name") != KeyedHash()("names"));
}

TEST("topics whose names collide under std::hash take no more steps than others") {
  const std::vector<std::string> names = collidingNames(4000);
  CHECK_EQ(std::hash<std::string>()(names[0]), std::hash<std::string>()(names[3999]));
  CHECK_GROWTH(2000, [&](size_t n) {
    Topics topics;
    const Steps steps;
    for (size_t i = 0; i < n; ++i) topics.open(names[i]);
    for (size_t i = 0; i < n; ++i) CHECK(topics.find(names[i]));
    return steps.taken();
  });
}

TEST("addresses that collide under std::hash take no more steps than others") {
  const std::vector<Peer> peers = collidingPeers(4000, 2000);
  CHECK_GROWTH(2000, [&](size_t n) {
    Admission admission({});
    const Steps steps;
    for (size_t i = 0; i < n; ++i) CHECK(admission.enterAddress(peers[i]));
    for (size_t i = 0; i < n; ++i) admission.leaveAddress(peers[i]);
    return steps.taken();
  });
}

TEST("framings that collide under a hash without a key take no more steps than others") {
  const std::vector<FramingConfig> all = collidingFramings(4000);
  CHECK_GROWTH(2000, [&](size_t n) {
    Framings framings;
    const auto allAreUsed = [&](Framings::Used& used) {
      for (size_t number = 0; number < n; ++number) used.mark(static_cast<uint16_t>(number));
    };
    const Steps steps;
    for (size_t i = 0; i < n; ++i) CHECK(framings.add(all[i], n, allAreUsed) != Framings::kNone);
    return steps.taken();
  });
}
