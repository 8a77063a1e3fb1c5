// RESP commands: arrays of bulk strings, or one line of words (inline). A frame is delivered as it came, from its first byte to
// its last: its reader needs the lengths that stand in it.
#include "codec/resp_scan.h"

namespace mr {

namespace {

using namespace resp;

constexpr uint64_t kLeastBulk = 6;            // "$0\r\n\r\n"
constexpr uint32_t kMaxBatchCommands = 1024;  // of one frame, as many as frames of one connection in a turn

FrameCut nextInline(const RespLimits& limits, const Scan& scan, size_t hint) {
  if (limits.maxLineBytes == 0) return brokenFrame(FrameError::kMalformed);
  FramingConfig line;
  line.maxBytes = std::min(limits.maxLineBytes, scan.maxBytes - 1);
  line.trimCarriageReturn = true;
  const FrameCut cut = nextDelimited(line, scan.data, scan.size, hint);
  if (cut.kind == FrameCut::Kind::kFrame) return wholeFrame(0, cut.consumed, cut.consumed);
  if (cut.kind == FrameCut::Kind::kPartial && scan.size >= scan.maxBytes) return brokenFrame(FrameError::kTooLarge);
  return cut;
}

// An element needs a few bytes at least, so that a peer who dribbles is not asked again and again: what is looked at in all
// grows with n log n at most.
uint64_t leastOf(uint64_t at, uint64_t elements) { return at + elements * kLeastBulk; }

FrameCut nextCommand(const RespLimits& limits, Scan scan, size_t hint) {
  if (scan.size == 0) return more(scan, 1);
  if (scan.data[0] != '*') return nextInline(limits, scan, hint);
  const Number count = readNumber(scan, 1, limits.maxElements, true);
  if (count.read == Read::kPartial) return more(scan, 0);
  if (count.read != Read::kWhole) return broken(count.read);
  scan.at = count.end;
  for (uint64_t left = count.value; left != 0; --left) {
    if (leastOf(scan.at, left) > scan.maxBytes) return brokenFrame(FrameError::kTooLarge);
    const Read type = expect(scan, scan.at, '$');
    if (type == Read::kPartial) return more(scan, leastOf(scan.at, left));
    if (type != Read::kWhole) return broken(type);
    const Number length = readNumber(scan, scan.at + 1, limits.maxBulkBytes, false);
    if (length.read == Read::kPartial) return more(scan, leastOf(scan.at, left));
    if (length.read != Read::kWhole) return broken(length.read);
    const uint64_t end = length.end + length.value + 2;
    if (leastOf(end, left - 1) > scan.maxBytes) return brokenFrame(FrameError::kTooLarge);
    const Read bulk = readBulk(scan, end);
    if (bulk == Read::kPartial) return more(scan, leastOf(end, left - 1));
    if (bulk != Read::kWhole) return broken(bulk);
    scan.at = end;
  }
  return wholeFrame(0, scan.at, scan.at);
}

Scan scanOf(const FramingConfig& framing, const uint8_t* data, size_t size) {
  const uint64_t maxBytes = std::max<uint64_t>(framing.maxBytes, 1);
  return {data, static_cast<size_t>(std::min<uint64_t>(size, maxBytes)), maxBytes};
}

}  // namespace

FrameCut nextRespCommand(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint) {
  FrameCut cut = nextCommand(framing.resp, scanOf(framing, data, size), hint);
  if (!framing.resp.batch || cut.kind != FrameCut::Kind::kFrame) return cut;
  size_t used = cut.consumed;
  for (uint32_t commands = 1; commands < kMaxBatchCommands && used < framing.maxBytes; ++commands) {
    Scan scan = scanOf(framing, data + used, size - used);
    scan.size = static_cast<size_t>(std::min<uint64_t>(scan.size, framing.maxBytes - used));  // the batch is one frame
    cut = nextCommand(framing.resp, scan, 0);
    if (cut.kind != FrameCut::Kind::kFrame) break;  // found again as the first of the next frame
    used += cut.consumed;
  }
  return wholeFrame(0, used, used);
}

}  // namespace mr
