#include "codec/http1_chunks.h"

#include <algorithm>

#include "codec/http1_grammar.h"

namespace mr {

namespace {

constexpr size_t kMostDigits = 15;  // what they say fits 60 bits

ChunkLine broken() { return {ChunkLine::Kind::kError}; }

int hexOf(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  const uint8_t lower = byte | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

ChunkLine readChunkLine(const uint8_t* data, size_t size) {
  ChunkLine line;
  const size_t most = std::min(size, kMostChunkLine);
  size_t at = 0;
  for (; at < most; ++at) {
    const int digit = hexOf(data[at]);
    if (digit < 0) break;
    if (at == kMostDigits) return broken();
    line.length = line.length << 4 | static_cast<uint64_t>(digit);
  }
  if (at == most) return {};
  if (at == 0) return broken();
  // Extensions mean nothing to anybody, but what they may consist of is known, and a line end is not among it.
  const size_t digits = at;
  while (at < most && isBlank(data[at])) ++at;
  if (at < most && data[at] != ';' && (data[at] != '\r' || at != digits)) return broken();
  while (at < most && isFieldByte(data[at])) ++at;
  if (at == most) return most == kMostChunkLine ? broken() : ChunkLine{};
  if (data[at] != '\r') return broken();
  if (at + 1 == kMostChunkLine) return broken();
  if (at + 1 == size) return {};
  if (data[at + 1] != '\n') return broken();
  line.kind = ChunkLine::Kind::kLine;
  line.bytes = at + 2;
  return line;
}

}  // namespace mr
