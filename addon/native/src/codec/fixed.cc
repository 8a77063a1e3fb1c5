#include "codec/cut.h"

namespace mr {

FrameCut nextFixed(const FramingConfig& framing, const uint8_t*, size_t size) {
  const auto length = static_cast<size_t>(framing.fixedBytes);
  return size < length ? partialFrame(length) : wholeFrame(0, length, length);
}

}  // namespace mr
