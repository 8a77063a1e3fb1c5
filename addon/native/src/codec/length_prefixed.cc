#include <limits>

#include "codec/cut.h"

namespace mr {

namespace {

struct Length {
  enum class State : uint8_t { kRead, kPartial, kMalformed } state;
  uint64_t value = 0;
  size_t width = 0;   // of the field
  size_t needed = 0;  // bytes of the field, as far as it is known
};

size_t widthOf(LengthType type) {
  switch (type) {
    case LengthType::kU8:
      return 1;
    case LengthType::kU16Be:
    case LengthType::kU16Le:
      return 2;
    case LengthType::kU32Be:
    case LengthType::kU32Le:
      return 4;
    default:
      return 8;
  }
}

Length readVarint(const uint8_t* data, size_t size) {
  constexpr size_t kMostBytes = 10;  // 64 bits in groups of seven
  uint64_t value = 0;
  for (size_t i = 0; i < kMostBytes; ++i) {
    if (i == size) return {Length::State::kPartial, 0, 0, size + 1};
    const uint64_t group = data[i] & 0x7f;
    if (i == kMostBytes - 1 && data[i] > 1) return {Length::State::kMalformed};
    value |= group << (7 * i);
    if ((data[i] & 0x80) == 0) return {Length::State::kRead, value, i + 1, 0};
  }
  return {Length::State::kMalformed};
}

Length readLength(LengthType type, const uint8_t* data, size_t size) {
  if (type == LengthType::kVarint) return readVarint(data, size);
  const size_t width = widthOf(type);
  if (size < width) return {Length::State::kPartial, 0, 0, width};
  const bool littleEndian = type == LengthType::kU16Le || type == LengthType::kU32Le;
  uint64_t value = 0;
  for (size_t i = 0; i < width; ++i) value = value << 8 | data[littleEndian ? width - 1 - i : i];
  return {Length::State::kRead, value, width, 0};
}

// The size of the whole frame. Less than its header is a lie of the peer; more than 64 bits hold is too large for any limit.
FrameError totalOf(const FramingConfig& framing, uint64_t header, uint64_t value, uint64_t* total) {
  const __int128 sum = __int128{value} + framing.lengthAdjustment + (framing.lengthIncludesHeader ? 0 : header);
  if (sum < __int128{header}) return FrameError::kMalformed;
  if (sum > __int128{std::numeric_limits<uint64_t>::max()}) return FrameError::kTooLarge;
  *total = static_cast<uint64_t>(sum);
  return FrameError::kNone;
}

}  // namespace

FrameCut nextLengthPrefixed(const FramingConfig& framing, const uint8_t* data, size_t size) {
  const size_t offset = framing.lengthOffset;
  // No byte of the length yet: ask for the whole of it, as far as its size is known.
  const Length length =
      size <= offset ? readLength(framing.lengthType, nullptr, 0) : readLength(framing.lengthType, data + offset, size - offset);
  if (length.state == Length::State::kMalformed) return brokenFrame(FrameError::kMalformed);
  if (length.state == Length::State::kPartial) return partialFrame(offset + length.needed);
  const uint64_t header = offset + length.width;
  uint64_t total = 0;
  const FrameError error = totalOf(framing, header, length.value, &total);
  if (error != FrameError::kNone) return brokenFrame(error);
  const uint64_t strip = framing.strip == FramingConfig::kStripHeader ? header : framing.strip;
  if (strip > total) return brokenFrame(FrameError::kMalformed);
  if (total - strip > framing.maxBytes) return brokenFrame(FrameError::kTooLarge);
  if (size < total) return partialFrame(total);
  return wholeFrame(strip, total - strip, total);
}

}  // namespace mr
