#include "codec/websocket.h"

#include <cstring>

#include "codec/cut.h"

namespace mr {

namespace {

constexpr uint16_t kProtocolError = 1002, kMessageTooBig = 1009;
constexpr uint8_t kFinBit = 0x80, kReservedBits = 0x70, kCompressedBit = 0x40, kMaskBit = 0x80;
constexpr uint8_t kContinuation = 0, kText = 1, kBinary = 2, kControl = 8, kPong = 10;
constexpr uint64_t kMostControl = 125;
constexpr size_t kMaskBytes = 4;

FrameCut brokenProtocol() { return brokenFrame(FrameError::kMalformed, kProtocolError); }

// ---- the state: 0 between messages, otherwise a mark, whether the message is compressed, and how much of it has come

uint64_t inMessage(uint64_t received, bool compressed) { return received << 2 | (compressed ? 2u : 0u) | 1; }
bool isInMessage(uint64_t state) { return (state & 1) != 0; }
bool isCompressed(uint64_t state) { return (state & 2) != 0; }
uint64_t receivedOf(uint64_t state) { return state >> 2; }

// RSV1 is of a message, and stands on its first frame alone (RFC 7692, section 6).
bool mayCome(uint8_t first, uint64_t state, bool deflates) {
  const uint8_t opcode = first & kWebSocketOpcode;
  const uint8_t reserved = first & kReservedBits;
  const bool mayBeCompressed = deflates && (opcode == kText || opcode == kBinary);
  if (reserved != 0 && !(mayBeCompressed && reserved == kCompressedBit)) return false;
  if (opcode >= kControl) return opcode <= kPong && (first & kFinBit) != 0;
  return isInMessage(state) ? opcode == kContinuation : opcode == kText || opcode == kBinary;
}

struct PayloadLength {
  enum class Kind : uint8_t { kPartial, kLength, kError } kind = Kind::kPartial;
  uint64_t bytes = 0;
  size_t behind = 0;  // where the mask begins
};

// The shortest form that holds it, and no other; of eight bytes the first bit is 0.
PayloadLength readPayloadLength(const uint8_t* data, size_t size) {
  constexpr uint8_t kTwoBytes = 126, kEightBytes = 127;
  PayloadLength length;
  const uint8_t form = data[1] & 0x7f;
  const size_t extra = form == kTwoBytes ? 2 : form == kEightBytes ? 8 : 0;
  length.behind = 2 + extra;
  if (size < length.behind) return length;
  for (size_t i = 0; i < extra; ++i) length.bytes = length.bytes << 8 | data[2 + i];
  if (extra == 0) length.bytes = form;
  const bool longer = (extra == 2 && length.bytes < kTwoBytes) || (extra == 8 && length.bytes <= UINT16_MAX);
  length.kind = longer || length.bytes >> 63 != 0 ? PayloadLength::Kind::kError : PayloadLength::Kind::kLength;
  return length;
}

}  // namespace

// An eighth covers the growth by zlib at any of its settings; 64, the header of a block.
uint64_t mostCompressed(uint64_t maxBytes) {
  const uint64_t most = maxBytes + maxBytes / 8 + 64;
  return most < maxBytes ? UINT64_MAX : most;
}

FrameCut nextWebSocket(const FramingConfig& framing, const uint8_t* data, size_t size, uint64_t state) {
  if (size == 0) return partialFrame(1);
  if (!mayCome(data[0], state, framing.windowBits != 0)) return brokenProtocol();
  if (size == 1) return partialFrame(2);
  const bool isControl = (data[0] & kControl) != 0;
  if ((data[1] & kMaskBit) == 0) return brokenProtocol();
  if (isControl && (data[1] & 0x7f) > kMostControl) return brokenProtocol();
  const PayloadLength length = readPayloadLength(data, size);
  if (length.kind == PayloadLength::Kind::kPartial) return partialFrame(size + 1);
  if (length.kind == PayloadLength::Kind::kError) return brokenProtocol();
  const uint64_t before = isControl ? 0 : receivedOf(state);
  const bool compressed = !isControl && (isInMessage(state) ? isCompressed(state) : (data[0] & kCompressedBit) != 0);
  const uint64_t most = compressed ? mostCompressed(framing.maxBytes) : framing.maxBytes;
  // Control frames are no part of a message, and 125 bytes are no burden.
  if (!isControl && (length.bytes > most || before > most - length.bytes)) {
    return brokenFrame(FrameError::kTooLarge, kMessageTooBig);
  }
  const size_t body = length.behind + kMaskBytes;
  const auto total = static_cast<size_t>(body + length.bytes);
  if (size < total) return partialFrame(total);
  FrameCut cut = wholeFrame(body, static_cast<size_t>(length.bytes), total);
  const bool fin = (data[0] & kFinBit) != 0;
  cut.info = kWebSocketFrame | (data[0] & kWebSocketOpcode) | (fin ? uint32_t{kWebSocketFin} : 0);
  if ((data[0] & kCompressedBit) != 0) cut.info |= kWebSocketCompressed;
  cut.state = isControl ? state : fin ? 0 : inMessage(before + length.bytes, compressed);
  std::memcpy(&cut.mask, data + length.behind, kMaskBytes);
  return cut;
}

bool unmaskInto(uint8_t* to, const uint8_t* from, size_t size, uint32_t mask) {
  constexpr size_t kStep = 4;  // words at a time, which the compiler makes one or two registers of
  constexpr uint64_t kHigh = 0x8080'8080'8080'8080;
  const uint64_t wide = uint64_t{mask} << 32 | mask;
  uint64_t seen = 0;
  size_t at = 0;
  for (; at + kStep * sizeof(uint64_t) <= size; at += kStep * sizeof(uint64_t)) {
    uint64_t words[kStep];
    std::memcpy(words, from + at, sizeof(words));
    for (uint64_t& word : words) {
      word ^= wide;
      seen |= word;
    }
    std::memcpy(to + at, words, sizeof(words));
  }
  for (; at + sizeof(uint64_t) <= size; at += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, from + at, sizeof(word));
    word ^= wide;
    seen |= word;
    std::memcpy(to + at, &word, sizeof(word));
  }
  uint8_t key[sizeof(mask)];
  std::memcpy(key, &mask, sizeof(mask));
  for (; at < size; ++at) {
    to[at] = static_cast<uint8_t>(from[at] ^ key[at % sizeof(mask)]);
    seen |= to[at];
  }
  return (seen & kHigh) == 0;
}

}  // namespace mr
