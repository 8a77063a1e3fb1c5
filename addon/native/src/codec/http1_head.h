// A request's head: its line and its fields, for http1.cc.
#pragma once

#include "codec/framer.h"

namespace mr {

// The status of an error that has none of its own.
inline constexpr uint16_t kBadRequest = 400;

struct Http1Head {
  enum class Kind : uint8_t { kPartial, kHead, kError } kind = Kind::kPartial;
  FrameError error = FrameError::kNone;
  uint16_t code = 0;    // of an error: the HTTP status
  size_t start = 0;     // of the request line: empty lines may come before it
  size_t end = 0;       // behind the empty line
  size_t scanned = 0;   // of a partial one, for the next call: how far it has been checked
  uint32_t info = 0;    // Http1Info
  uint64_t length = 0;  // Content-Length
};

Http1Head readHttp1Head(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint);

// The fields behind a chunked body. `end` is behind the empty line; nothing in them may say how the message is framed.
Http1Head readHttp1Trailer(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint);

}  // namespace mr
