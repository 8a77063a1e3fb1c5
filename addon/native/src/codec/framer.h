// Framers cut a byte stream into frames. The contract of all of them, in one place:
//
//   FrameCut next(framer, data, size)
//
// looks at the `size` unread bytes at `data`, which always start at a frame's first byte, and answers one of
//   kFrame    a whole frame: its body is data[offset, offset + length); `consumed` bytes (body, header, terminator) belong to it
//   kPartial  no whole frame yet: call again with the same start and more bytes. `needed` is the least total size worth a
//             new call (> size), because no frame can be whole before; `scanned` may be handed back as `hint` so that a
//             search does not begin anew. `prompt`, if there is one, is the text that the peer waits for before it sends the rest
//   kError    the peer broke the rules: `error` says how, `code` in the protocol's own words. Nothing may be read after it
//
// A framer is pure: the same bytes give the same answer however they arrived. The memory of a protocol between two frames
// is one number, `state`: it comes with a frame and is handed in for the next one, 0 at the beginning. A framer allocates
// nothing, for any length that a header claims.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "codec/resp_limits.h"

namespace mr {

// Every framing: its name, which is also its name in `framingKind` of addon/src/wire.ts, its number there, and the call that
// cuts. One line makes a framing known to the dispatcher, to the bindings and to the test of the wire.
// clang-format off
#define MR_FRAMINGS(X) \
  X(Raw, raw, 0, nextRaw(framing, size)) \
  X(Delimiter, delimiter, 1, nextDelimited(framing, data, size, hint)) \
  X(Fixed, fixed, 2, nextFixed(framing, data, size)) \
  X(LengthPrefixed, lengthPrefixed, 3, nextLengthPrefixed(framing, data, size)) \
  X(Custom, custom, 4, nextCustom()) \
  X(RespCommand, respCommand, 10, nextRespCommand(framing, data, size, hint)) \
  X(RespValue, respValue, 11, nextRespValue(framing, data, size)) \
  X(Mqtt, mqtt, 12, nextMqtt(framing, data, size)) \
  X(Http1, http1, 13, nextHttp1(framing, data, size, hint, state)) \
  X(WebSocket, webSocket, 14, nextWebSocket(framing, data, size, state))
// clang-format on

enum class FramingKind : uint8_t {
#define MR_FRAMING_KIND(Name, name, number, call) k##Name = number,
  MR_FRAMINGS(MR_FRAMING_KIND)
#undef MR_FRAMING_KIND
};
// Whether its state is ever anything but 0.
inline constexpr bool remembers(FramingKind kind) { return kind == FramingKind::kHttp1 || kind == FramingKind::kWebSocket; }
// Whether a frame is a request that need not begin where nobody can be answered.
inline constexpr bool asksForAnswers(FramingKind kind) { return kind == FramingKind::kHttp1; }

enum class LengthType : uint8_t { kU8 = 0, kU16Be = 1, kU16Le = 2, kU32Be = 3, kU32Le = 4, kU64Be = 5, kVarint = 6 };
enum class FrameError : uint8_t { kNone = 0, kTooLarge = 1, kMalformed = 2 };

// A framing as the user describes it. Validated before it gets here.
struct FramingConfig {
  FramingKind kind = FramingKind::kRaw;
  uint64_t maxBytes = 1 << 20;      // of the frame's body as delivered. A frame of exactly maxBytes passes
  std::string delimiter = "\n";     // kDelimiter: 1 to 255 bytes
  bool trimCarriageReturn = false;  // kDelimiter: lines() drops a '\r' before the '\n'
  uint64_t fixedBytes = 0;          // kFixed: 1 ..
  LengthType lengthType = LengthType::kU32Be;
  uint32_t lengthOffset = 0;          // bytes before the length field
  int32_t lengthAdjustment = 0;       // added to the length field's value to get the bytes after the field
  bool lengthIncludesHeader = false;  // the value counts lengthOffset and the field itself too
  uint32_t strip = 0;                 // bytes dropped from the front of the delivered frame, the header being the first of them
  static constexpr uint32_t kStripHeader = UINT32_MAX;  // as many as the header has; a varint's is known only when it is read
  // kHttp1, where maxBytes is of the decoded body; see http1.h
  uint32_t maxHeadBytes = 16 << 10;  // request line and fields; of a chunked body's trailer too. Below 2^20
  uint32_t maxHeaders = 100;
  uint64_t wholeBytes = 0;   // a body of a declared length up to this is delivered with its head
  bool streamsBody = false;  // any other body follows its head in pieces; without this it is whole, chunks and all

  RespLimits resp;              // kRespCommand, kRespValue
  uint16_t mqttTypes = 0xffff;  // kMqtt: one bit for each packet type that may come

  uint32_t frameMs = 0;  // kWebSocket: the time for one frame, in place of its listener's. 0: any
  // kWebSocket: messages may be compressed; the peer inflates with a window of so many bits, 8 to 15. 0: permessage-deflate was
  // not agreed on
  uint8_t windowBits = 0;

  bool operator==(const FramingConfig&) const = default;
};

struct FrameCut {
  enum class Kind : uint8_t { kFrame, kPartial, kError } kind = Kind::kPartial;
  FrameError error = FrameError::kNone;
  uint16_t code = 0;   // of an error: an HTTP status, a WebSocket close code. 0: the protocol has no words for it
  uint32_t info = 0;   // of a frame: facts that its framing has found out
  uint64_t state = 0;  // of a frame: for the next call
  uint32_t mask = 0;   // kWebSocket, of a frame: its four bytes, in their order, are XORed with the body again and again
  size_t offset = 0;
  size_t length = 0;
  size_t consumed = 0;
  size_t needed = 0;
  size_t scanned = 0;
  std::string_view prompt;  // of constant memory
};

// kRaw: everything there is, as one frame of at most maxBytes (never an error); kPartial with needed 1 on empty input.
// kCustom is not cut here: the caller asks the user's function.
FrameCut nextFrame(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint, uint64_t state = 0);

FrameCut nextDelimited(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint);
FrameCut nextFixed(const FramingConfig& framing, const uint8_t* data, size_t size);
FrameCut nextLengthPrefixed(const FramingConfig& framing, const uint8_t* data, size_t size);
FrameCut nextRespCommand(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint);
FrameCut nextRespValue(const FramingConfig& framing, const uint8_t* data, size_t size);
FrameCut nextMqtt(const FramingConfig& framing, const uint8_t* data, size_t size);

}  // namespace mr
