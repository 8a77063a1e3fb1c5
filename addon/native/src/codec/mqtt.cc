// MQTT control packets (3.1, 3.1.1 and 5): a type with its flags, a remaining length of one to four bytes, and so many bytes. A
// frame is one whole packet, delivered as it came; its reader interprets the content.
#include "codec/cut.h"

namespace mr {

namespace {

enum Type : uint8_t { kPublish = 3, kPubrel = 6, kSubscribe = 8, kUnsubscribe = 10, kPingreq = 12, kPingresp = 13 };

// The legal lower half of the first byte. Only a publication's flags mean something; the others are fixed.
bool flagsAreLegal(uint8_t type, uint8_t flags) {
  switch (type) {
    case kPublish: {
      const uint8_t quality = flags >> 1 & 3;
      const bool repeated = (flags & 8) != 0;
      return quality != 3 && !(repeated && quality == 0);
    }
    case kPubrel:
    case kSubscribe:
    case kUnsubscribe:
      return flags == 2;
    default:
      return flags == 0;
  }
}

}  // namespace

FrameCut nextMqtt(const FramingConfig& framing, const uint8_t* data, size_t size) {
  constexpr size_t kMostLengthBytes = 4;
  if (size == 0) return partialFrame(1);
  const uint8_t type = data[0] >> 4;
  const bool known = type != 0 && (framing.mqttTypes >> type & 1) != 0;
  if (!known || !flagsAreLegal(type, data[0] & 15)) return brokenFrame(FrameError::kMalformed);
  uint64_t rest = 0;
  size_t header = 1;
  for (size_t i = 0;; ++i) {
    if (header >= framing.maxBytes) return brokenFrame(FrameError::kTooLarge);
    if (header == size) return partialFrame(size + 1);
    const uint8_t byte = data[header++];
    rest |= uint64_t{byte & 127u} << (7 * i);
    if (byte < 128) {
      // The same number with fewer bytes: the rules want the shortest form.
      if (byte == 0 && i != 0) return brokenFrame(FrameError::kMalformed);
      break;
    }
    if (i + 1 == kMostLengthBytes) return brokenFrame(FrameError::kMalformed);
  }
  if ((type == kPingreq || type == kPingresp) && rest != 0) return brokenFrame(FrameError::kMalformed);
  const uint64_t total = header + rest;
  if (total > framing.maxBytes) return brokenFrame(FrameError::kTooLarge);
  if (size < total) return partialFrame(total);
  return wholeFrame(0, total, total);
}

}  // namespace mr
