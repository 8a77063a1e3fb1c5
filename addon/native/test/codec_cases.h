// Shared by the tests of framers: cutting once, checking an answer, and random bytes.
#pragma once

#include <cstdlib>
#include <functional>
#include <random>
#include <string_view>
#include <vector>

#include "codec_compare.h"
#include "harness.h"

namespace mr::test {

using Bytes = std::vector<uint8_t>;

inline Bytes bytesOf(std::string_view text) { return Bytes(text.begin(), text.end()); }

// Exactly the given bytes on the heap, so that reading behind them is seen.
inline FrameCut cutOf(const FramingConfig& config, const Bytes& bytes, size_t hint = 0) {
  const Bytes exact(bytes.begin(), bytes.end());
  return nextFrame(config, exact.data(), exact.size(), hint);
}
inline FrameCut cutOf(const FramingConfig& config, std::string_view text) { return cutOf(config, bytesOf(text)); }

inline void checkError(const FrameCut& cut, FrameError error) {
  CHECK_EQ(cut.kind, FrameCut::Kind::kError);
  CHECK_EQ(cut.error, error);
}

inline void checkFrame(const FrameCut& cut, size_t offset, size_t length, size_t consumed) {
  CHECK_EQ(cut.kind, FrameCut::Kind::kFrame);
  CHECK_EQ(cut.offset, offset);
  CHECK_EQ(cut.length, length);
  CHECK_EQ(cut.consumed, consumed);
}

inline void checkPartial(const FrameCut& cut, size_t needed) {
  CHECK_EQ(cut.kind, FrameCut::Kind::kPartial);
  CHECK_EQ(cut.needed, needed);
}

inline void checkEverySplit(const FramingConfig& config, const Bytes& stream) {
  if (const auto wrong = compareAtEverySplit(config, stream)) {
    Note framing([&] { return describe(config); });
    Note bytes([&] { return describe(std::span(stream)); });
    fail(__FILE__, __LINE__, *wrong);
  }
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  uint64_t below(uint64_t bound) { return engine_() % bound; }
  bool oneIn(uint64_t n) { return below(n) == 0; }
  template <typename T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }
  Bytes bytes(size_t size, std::string_view alphabet = {}) {
    Bytes result(size);
    for (uint8_t& byte : result) byte = static_cast<uint8_t>(alphabet.empty() ? below(256) : alphabet[below(alphabet.size())]);
    return result;
  }

 private:
  std::mt19937_64 engine_;
};

// Another one in every run; TEST_SEED repeats the round that failed as the first one.
inline uint64_t firstSeed() {
  const char* given = std::getenv("TEST_SEED");
  return given ? std::strtoull(given, nullptr, 10) : std::random_device{}();
}

inline void rounds(int count, const std::function<void(Random&)>& round) {
  const uint64_t first = firstSeed();
  for (int i = 0; i < count; ++i) {
    const uint64_t seed = first + static_cast<uint64_t>(i);
    Note note([=] { return "TEST_SEED=" + std::to_string(seed); });
    Random random(seed);
    round(random);
  }
}

}  // namespace mr::test
