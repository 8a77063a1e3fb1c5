#include "codec/framer.h"

#include <algorithm>

#include "base/fatal.h"
#include "codec/http1.h"
#include "codec/websocket.h"

namespace mr {

FrameCut nextFrame(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint, uint64_t state) {
  switch (framing.kind) {
    case FramingKind::kRaw: {
      FrameCut cut;
      if (size == 0) {
        cut.needed = 1;
        return cut;
      }
      cut.kind = FrameCut::Kind::kFrame;
      // At least one byte: a caller that got a frame of nothing would ask for ever.
      cut.length = cut.consumed = std::min<uint64_t>(size, std::max<uint64_t>(framing.maxBytes, 1));
      return cut;
    }
    case FramingKind::kDelimiter:
      return nextDelimited(framing, data, size, hint);
    case FramingKind::kFixed:
      return nextFixed(framing, data, size);
    case FramingKind::kLengthPrefixed:
      return nextLengthPrefixed(framing, data, size);
    case FramingKind::kRespCommand:
      return nextRespCommand(framing, data, size, hint);
    case FramingKind::kRespValue:
      return nextRespValue(framing, data, size);
    case FramingKind::kMqtt:
      return nextMqtt(framing, data, size);
    case FramingKind::kHttp1:
      return nextHttp1(framing, data, size, hint, state);
    case FramingKind::kWebSocket:
      return nextWebSocket(framing, data, size, state);
    case FramingKind::kCustom:
      break;
  }
  fatal(__func__, "this framing is not cut natively");
}

}  // namespace mr
