// A fuzzer's input: first the framing, then how the stream is cut into parts, then the stream.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <iterator>

#include "../codec_compare.h"

namespace mr::test {

class FuzzInput {
 public:
  FuzzInput(const uint8_t* data, size_t size) : rest_(data, size) {}

  uint8_t byte() {
    if (rest_.empty()) return 0;
    const uint8_t first = rest_[0];
    rest_ = rest_.subspan(1);
    return first;
  }

  // Small most of the time, because that is where frames come out; sometimes around a power of two, because sums break there.
  uint64_t number() {
    const uint8_t form = byte();
    if (form < 224) return form % 64;
    const uint64_t power = uint64_t{1} << (byte() % 64);
    return power + (form % 3) - 1;
  }

  std::string text(size_t size) {
    std::string bytes;
    while (bytes.size() < size) bytes.push_back(static_cast<char>(byte()));
    return bytes;
  }

  // Part sizes that repeat until the stream is used up.
  std::vector<size_t> parts() {
    std::vector<size_t> sizes(byte() % 6 + 1);
    for (size_t& size : sizes) size = byte() % 32 + 1;
    std::vector<size_t> ends;
    for (size_t end = 0, i = 0; end < rest_.size(); ++i)
      ends.push_back(end = std::min(end + sizes[i % sizes.size()], rest_.size()));
    return ends;
  }

  std::span<const uint8_t> rest() const { return rest_; }

 private:
  std::span<const uint8_t> rest_;
};

// The framing's own bytes have been taken from the input.
inline int fuzz(const FramingConfig& config, FuzzInput& input) {
  const std::vector<size_t> ends = input.parts();
  const auto wrong = compareInParts(config, input.rest(), expect(config, input.rest()), ends);
  if (!wrong) return 0;
  std::fprintf(stderr, "%s\n%s\n%s\n", wrong->c_str(), describe(config).c_str(), describe(input.rest()).c_str());
  std::abort();
}

}  // namespace mr::test
