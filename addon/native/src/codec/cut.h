// The three answers of a framer, for the framers themselves.
#pragma once

#include "codec/framer.h"

namespace mr {

inline FrameCut wholeFrame(size_t offset, size_t length, size_t consumed) {
  FrameCut cut;
  cut.kind = FrameCut::Kind::kFrame;
  cut.offset = offset;
  cut.length = length;
  cut.consumed = consumed;
  return cut;
}

inline FrameCut partialFrame(size_t needed, size_t scanned = 0) {
  FrameCut cut;
  cut.needed = needed;
  cut.scanned = scanned;
  return cut;
}

inline FrameCut brokenFrame(FrameError error, uint16_t code = 0) {
  FrameCut cut;
  cut.kind = FrameCut::Kind::kError;
  cut.error = error;
  cut.code = code;
  return cut;
}

}  // namespace mr
