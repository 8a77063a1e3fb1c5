#include "codec/http1_chunks.h"

#include <algorithm>
#include <span>

#include "codec/http1_grammar.h"

namespace mr {

namespace {

constexpr size_t kMostDigits = 15;  // their value fits 60 bits

ChunkLine broken() { return {ChunkLine::Kind::kError}; }

int hexOf(uint8_t byte) {
  if (byte >= '0' && byte <= '9') return byte - '0';
  const uint8_t lower = byte | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

size_t skipBlanks(std::span<const uint8_t> text, size_t at) {
  while (at < text.size() && isBlank(text[at])) ++at;
  return at;
}

size_t skipToken(std::span<const uint8_t> text, size_t at) {
  while (at < text.size() && isTokenByte(text[at])) ++at;
  return at;
}

// `at`: behind the quote that opens it. Returns where it ends, behind its last quote, or 0.
size_t skipQuoted(std::span<const uint8_t> text, size_t at) {
  for (; at < text.size(); ++at) {
    if (text[at] == '"') return at + 1;
    if (text[at] == '\\') ++at;
  }
  return 0;
}

// RFC 9112, section 7.1.1. `text`: the bytes behind the digits, all of it bytes of a field.
bool isExtensions(std::span<const uint8_t> text) {
  size_t at = 0;
  while (at < text.size()) {
    at = skipBlanks(text, at);
    if (at == text.size() || text[at] != ';') return false;
    const size_t name = skipBlanks(text, at + 1);
    at = skipToken(text, name);
    if (at == name) return false;
    const size_t equals = skipBlanks(text, at);
    if (equals == text.size() || text[equals] != '=') continue;
    const size_t value = skipBlanks(text, equals + 1);
    const bool quoted = value < text.size() && text[value] == '"';
    at = quoted ? skipQuoted(text, value + 1) : skipToken(text, value);
    if (at <= value) return false;
  }
  return true;
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
  const size_t digits = at;
  while (at < most && isFieldByte(data[at])) ++at;
  if (at == most) return most == kMostChunkLine ? broken() : ChunkLine{};
  if (data[at] != '\r') return broken();
  if (at + 1 == kMostChunkLine) return broken();
  if (at + 1 == size) return {};
  if (data[at + 1] != '\n') return broken();
  // They mean nothing here, but another reader may end a malformed one elsewhere.
  if (!isExtensions({data + digits, at - digits})) return broken();
  line.kind = ChunkLine::Kind::kLine;
  line.bytes = at + 2;
  return line;
}

}  // namespace mr
