// RESP values, as a server answers: every type of RESP2 and RESP3 but the streamed ones, whose length is not known at their
// beginning. A frame is one whole value, delivered as it came.
#include <array>

#include "codec/resp_scan.h"

namespace mr {

namespace {

using namespace resp;

constexpr uint64_t kLeastValue = 3;  // "_\r\n"

// How many values are still missing, on each level.
class Missing {
 public:
  uint64_t all() const { return all_; }
  bool none() const { return all_ == 0; }
  // One value is there, and with it those that it was the last of.
  void settle() {
    --all_;
    while (depth_ != 0 && --left_[depth_ - 1] == 0) --depth_;
  }
  // False when that is one level too many.
  bool open(uint64_t values, uint32_t most) {
    if (depth_ >= std::min(most, RespLimits::kMostDepth)) return false;
    left_[depth_++] = values;
    all_ += values - 1;  // its own header is there
    return true;
  }
  // An attribute stands before a value and is none itself.
  void addAttribute() {
    ++all_;
    if (depth_ != 0) ++left_[depth_ - 1];
  }

 private:
  uint64_t all_ = 1;
  uint32_t depth_ = 0;
  std::array<uint64_t, RespLimits::kMostDepth> left_{};
};

// A simple value's line, from its type byte on.
Read readLine(const Scan& scan, uint64_t maxLineBytes, uint64_t* end) {
  const uint64_t from = scan.at + 1;
  const uint64_t most = std::min<uint64_t>(scan.size, from + maxLineBytes + 1);  // of its bytes and the '\r'
  if (from >= scan.size) return Read::kPartial;
  const void* found = std::memchr(scan.data + from, '\r', most - from);
  const void* stray = std::memchr(scan.data + from, '\n', most - from);
  if (stray && (!found || stray < found)) return Read::kMalformed;
  if (!found) return most < scan.size || most == from + maxLineBytes + 1 ? Read::kTooLarge : Read::kPartial;
  *end = static_cast<uint64_t>(static_cast<const uint8_t*>(found) - scan.data) + 2;
  return expect(scan, *end - 1, '\n');
}

// How many values an aggregate of this type has for each that its number counts; 0: it is none.
uint64_t valuesOf(uint8_t type) {
  switch (type) {
    case '*':
    case '~':
    case '>':
      return 1;
    case '%':
    case '|':
      return 2;
    default:
      return 0;
  }
}

bool isSimple(uint8_t type) { return type != 0 && std::strchr("+-:,#_(", type) != nullptr; }
bool isBulk(uint8_t type) { return type == '$' || type == '!' || type == '='; }

}  // namespace

FrameCut nextRespValue(const FramingConfig& framing, const uint8_t* data, size_t size) {
  if (size == 0) return partialFrame(1);
  const RespLimits& limits = framing.resp;
  const uint64_t maxBytes = std::max<uint64_t>(framing.maxBytes, 1);
  Scan scan{data, static_cast<size_t>(std::min<uint64_t>(size, maxBytes)), maxBytes};
  Missing missing;
  while (!missing.none()) {
    const uint64_t least = scan.at + missing.all() * kLeastValue;
    if (least > maxBytes) return brokenFrame(FrameError::kTooLarge);
    if (scan.at >= scan.size) return more(scan, least);
    const uint8_t type = data[scan.at];
    if (isSimple(type)) {
      uint64_t end = 0;
      const Read read = readLine(scan, limits.maxLineBytes, &end);
      if (read == Read::kPartial) return more(scan, least);
      if (read != Read::kWhole) return broken(read);
      scan.at = end;
      missing.settle();
      continue;
    }
    const uint64_t values = valuesOf(type);
    if (values == 0 && !isBulk(type)) return brokenFrame(FrameError::kMalformed);
    const bool allowNull = type == '$' || type == '*';
    const Number number = readNumber(scan, scan.at + 1, values == 0 ? limits.maxBulkBytes : limits.maxElements, allowNull);
    if (number.read == Read::kPartial) return more(scan, least);
    if (number.read != Read::kWhole) return broken(number.read);
    scan.at = number.end;
    if (values == 0 && !number.isNull) {
      scan.at = number.end + number.value + 2;
      const uint64_t whole = scan.at + (missing.all() - 1) * kLeastValue;
      if (whole > maxBytes) return brokenFrame(FrameError::kTooLarge);
      const Read bulk = readBulk(scan, scan.at);
      if (bulk == Read::kPartial) return more(scan, whole);
      if (bulk != Read::kWhole) return broken(bulk);
    }
    if (values == 0 || number.isNull) {
      missing.settle();
      continue;
    }
    const uint64_t inside = number.value * values;
    if (type == '|') missing.addAttribute();
    if (inside == 0) {
      missing.settle();
      continue;
    }
    if (!missing.open(inside, limits.maxDepth)) return brokenFrame(FrameError::kTooLarge);
  }
  return wholeFrame(0, scan.at, scan.at);
}

}  // namespace mr
