// The hash of everything that a peer can choose: topics, addresses, framings. SipHash-1-3 under a secret key of this
// process, so that no peer can send names that all fall into one bucket.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace mr {

struct HashKey {
  uint64_t a, b;
};

// Drawn from the kernel once. Ends the process when the kernel has none to give.
const HashKey& processHashKey();

// For values of several parts. Two sequences of parts that differ in a length or a value differ in the hash.
class KeyedHasher {
 public:
  explicit KeyedHasher(const HashKey& key = processHashKey())
      : v0_(key.a ^ 0x736f6d6570736575),
        v1_(key.b ^ 0x646f72616e646f6d),
        v2_(key.a ^ 0x6c7967656e657261),
        v3_(key.b ^ 0x7465646279746573) {}

  void add(uint64_t word) {
    v3_ ^= word;
    round();
    v0_ ^= word;
    bytes_ += sizeof(word);
  }
  // The last bytes, if any, are a word of their own with the length at its top, so nothing may follow but sum().
  uint64_t sumBehind(std::string_view bytes) {
    size_t at = 0;
    for (; at + sizeof(uint64_t) <= bytes.size(); at += sizeof(uint64_t)) {
      uint64_t word;
      std::memcpy(&word, bytes.data() + at, sizeof(word));
      add(word);
    }
    uint64_t last = 0;
    std::memcpy(&last, bytes.data() + at, bytes.size() - at);
    return finish(last, bytes_ + bytes.size() - at);
  }
  uint64_t sum() { return finish(0, bytes_); }

 private:
  void round() {
    v0_ += v1_, v1_ = std::rotl(v1_, 13), v1_ ^= v0_, v0_ = std::rotl(v0_, 32);
    v2_ += v3_, v3_ = std::rotl(v3_, 16), v3_ ^= v2_;
    v0_ += v3_, v3_ = std::rotl(v3_, 21), v3_ ^= v0_;
    v2_ += v1_, v1_ = std::rotl(v1_, 17), v1_ ^= v2_, v2_ = std::rotl(v2_, 32);
  }
  uint64_t finish(uint64_t last, size_t length) {
    add(last | uint64_t{length} << 56);
    v2_ ^= 0xff;
    round(), round(), round();
    return v0_ ^ v1_ ^ v2_ ^ v3_;
  }

  uint64_t v0_, v1_, v2_, v3_;
  size_t bytes_ = 0;
};

// For containers of the standard library. Transparent: a std::string_view finds a std::string without a copy.
struct KeyedHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return KeyedHasher().sumBehind(text); }
  size_t operator()(uint64_t word) const {
    KeyedHasher hasher;
    hasher.add(word);
    return hasher.sum();
  }
};

}  // namespace mr
