// HTTP/1.1 requests (RFC 9112): cut, and checked where two readers of the same bytes could come to different ends. Input that is
// not exactly the grammar is an error: nothing is repaired.
//
// A frame is a request's head with its whole body behind it, or, where the framing streams bodies, the head alone and then the
// body's pieces, decoded, the last of them marked. A whole chunked body keeps its chunks: the frame has the bytes as they
// came, checked.
#pragma once

#include "codec/framer.h"

namespace mr {

// FrameCut::info of a frame. The low bits are the size of the head, and so where the body begins; 0 in a piece of a body.
enum Http1Info : uint32_t {
  kHttp1HeadMask = (1u << 20) - 1,
  kHttp1Close = 1u << 20,           // no request follows this one: it says so, or is HTTP/1.0 and does not say keep-alive
  kHttp10 = 1u << 21,               // HTTP/1.0
  kHttp1Head = 1u << 22,            // HEAD
  kHttp1Chunked = 1u << 23,         // the body is, or will be, chunked
  kHttp1ContentFollows = 1u << 24,  // the content follows, in frames of its own
  kHttp1Expects = 1u << 25,         // with kHttp1ContentFollows: the peer waits for 100 Continue
  kHttp1Upgrade = 1u << 26,         // asks for another protocol
  kHttp1Content = 1u << 28,         // not a head: content of the last one
  kHttp1LastContent = 1u << 29      // the last of it, which may be empty
};

FrameCut nextHttp1(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint, uint64_t state);

}  // namespace mr
