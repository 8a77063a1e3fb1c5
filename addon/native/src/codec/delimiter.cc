#include <algorithm>
#include <cstring>
#include <limits>

#include "codec/cut.h"

namespace mr {

namespace {

const uint8_t* find(const uint8_t* data, size_t size, const std::string& delimiter) {
  if (delimiter.size() == 1) return static_cast<const uint8_t*>(size == 0 ? nullptr : std::memchr(data, delimiter[0], size));
  if (size < delimiter.size()) return nullptr;  // there may be no bytes at all, and then no pointer
  return static_cast<const uint8_t*>(memmem(data, size, delimiter.data(), delimiter.size()));
}

uint64_t saturatingAdd(uint64_t a, uint64_t b) {
  const uint64_t most = std::numeric_limits<uint64_t>::max();
  return a > most - b ? most : a + b;
}

// How many of the last bytes may be the beginning of a delimiter: the longest such tail, because an earlier terminator wins.
size_t begunDelimiter(const uint8_t* data, size_t size, const std::string& delimiter) {
  for (size_t length = std::min(delimiter.size() - 1, size); length != 0; --length) {
    if (std::memcmp(data + size - length, delimiter.data(), length) == 0) return length;
  }
  return 0;
}

// The body as delivered, when the terminator stands at `end`.
size_t bodyLength(const FramingConfig& framing, const uint8_t* data, size_t end) {
  return framing.trimCarriageReturn && end != 0 && data[end - 1] == '\r' ? end - 1 : end;
}

FrameCut noDelimiter(const FramingConfig& framing, const uint8_t* data, size_t size) {
  const size_t scanned = size - begunDelimiter(data, size, framing.delimiter);
  if (bodyLength(framing, data, scanned) > framing.maxBytes) return brokenFrame(FrameError::kTooLarge);
  // News is the terminator, at the earliest when the one that has begun is whole, or that the limit has been passed.
  const uint64_t whole = saturatingAdd(scanned, framing.delimiter.size());
  const uint64_t passed = saturatingAdd(framing.maxBytes, 1);
  return partialFrame(std::max<uint64_t>(size + 1, std::min(whole, passed)), scanned);
}

}  // namespace

FrameCut nextDelimited(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint) {
  const size_t width = framing.delimiter.size();
  // A terminator behind this window is one too late, so nothing behind it is searched, however much lies there.
  const uint64_t most = saturatingAdd(framing.maxBytes, width + (framing.trimCarriageReturn ? 1 : 0));
  const size_t window = std::min<uint64_t>(size, most);
  const size_t from = std::min(hint, window);
  const uint8_t* end = find(data + from, window - from, framing.delimiter);
  if (!end) return window < size ? brokenFrame(FrameError::kTooLarge) : noDelimiter(framing, data, size);
  const auto body = static_cast<size_t>(end - data);
  const size_t length = bodyLength(framing, data, body);
  if (length > framing.maxBytes) return brokenFrame(FrameError::kTooLarge);
  return wholeFrame(0, length, body + width);
}

}  // namespace mr
