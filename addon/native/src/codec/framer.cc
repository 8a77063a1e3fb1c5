#include "codec/framer.h"

#include <algorithm>

#include "base/fatal.h"
#include "codec/http1.h"
#include "codec/websocket.h"

namespace mr {

namespace {

FrameCut nextRaw(const FramingConfig& framing, size_t size) {
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

[[noreturn]] FrameCut nextCustom() { fatal("nextFrame", "this framing is not cut natively"); }

}  // namespace

FrameCut nextFrame(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint, uint64_t state) {
  switch (framing.kind) {
#define MR_CUT(Name, name, number, call) \
  case FramingKind::k##Name:             \
    return call;
    MR_FRAMINGS(MR_CUT)
#undef MR_CUT
  }
  fatal(__func__, "not a framing");
}

}  // namespace mr
