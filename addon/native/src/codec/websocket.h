// WebSocket frames as clients send them (RFC 6455, section 5.2). A frame is one frame of the protocol, delivered as its payload,
// which is still masked: FrameCut::mask holds the mask, and unmaskInto() takes it off.
//
// Between frames it is remembered whether a fragmented message is under way, whether it is compressed, and how much of it has
// come: maxBytes is of a whole message. One that is compressed may have more bytes on the wire, since deflate makes data that
// does not compress longer; its inflater enforces maxBytes.
#pragma once

#include "codec/framer.h"

namespace mr {

// FrameCut::info of a frame.
enum WebSocketInfo : uint32_t {
  kWebSocketOpcode = 15,
  kWebSocketFin = 1u << 4,
  kWebSocketAscii = 1u << 5,       // set while unmasking: no byte of the payload is above 0x7f
  kWebSocketCompressed = 1u << 6,  // RSV1, of the first frame of a message: permessage-deflate (RFC 7692)
  // Never set by nextHttp1(): tells frames behind an upgrade from requests before it.
  kWebSocketFrame = 1u << 30,
};

// Bytes on the wire that a compressed message may have at most.
uint64_t mostCompressed(uint64_t maxBytes);

FrameCut nextWebSocket(const FramingConfig& framing, const uint8_t* data, size_t size, uint64_t state);

// Copies a payload and takes its mask off, or puts it on again. To the same place, or to one that does not overlap. True: the
// copy is ASCII.
bool unmaskInto(uint8_t* to, const uint8_t* from, size_t size, uint32_t mask);

}  // namespace mr
