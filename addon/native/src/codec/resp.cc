// RESP commands: arrays of bulk strings, or one line of words (inline). A frame is delivered as it came, from its first byte to
// its last: its reader needs the lengths that stand in it.
#include "codec/resp_scan.h"

namespace mr {

namespace {

using namespace resp;

// The fault of a command, as its `code`: the numbers of resp_errors.ts, which has redis-server's words for them.
enum class Wrong : uint16_t {
  kCount = 1,       // of arguments
  kLength = 2,      // of an argument; or its bytes do not end where it says
  kInlineSize = 3,  // no end of line within maxLineBytes
  kQuotes = 4,      // of a line of words
  kType = 0x100     // and the byte that came instead of '$'
};

FrameCut wrong(Read read, Wrong what, uint8_t byte = 0) {
  FrameCut cut = broken(read);
  cut.code = static_cast<uint16_t>(static_cast<uint16_t>(what) | byte);
  return cut;
}

constexpr uint64_t kLeastBulk = 6;            // "$0\r\n\r\n"
constexpr uint32_t kMaxBatchCommands = 1024;  // of one frame, as many as frames of one connection in a turn

constexpr uint64_t kMostNegative = 999'999'999'999'999'999;

// Less than none are none, as for redis-server.
Number readCount(const Scan& scan, uint64_t most) {
  if (scan.size < 2 || scan.data[1] != '-') return readNumber(scan, 1, most, false);
  if (scan.size > 2 && scan.data[2] == '0') return {Read::kMalformed};
  Number number = readNumber(scan, 2, kMostNegative, false);
  number.value = 0;
  return number;
}

bool isSpace(uint8_t byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

// Whether each quote of a line of words ends, at the end of a word. The reader of commands takes the words apart by the same
// rules.
bool areQuotesBalanced(const uint8_t* line, size_t size) {
  while (size != 0 && (line[size - 1] == 0 || isSpace(line[size - 1]))) --size;
  uint8_t quote = 0;
  for (size_t i = 0; i < size; ++i) {
    const uint8_t byte = line[i];
    if (quote == 0) {
      if (byte == '"' || byte == '\'') quote = byte;
    } else if (byte == quote) {
      if (i + 1 < size && !isSpace(line[i + 1])) return false;
      quote = 0;
    } else if (byte == '\\' && (quote == '"' || (i + 1 < size && line[i + 1] == quote))) {
      ++i;
    }
  }
  return quote == 0;
}

FrameCut nextInline(const RespLimits& limits, const Scan& scan, size_t hint) {
  if (limits.maxLineBytes == 0) return brokenFrame(FrameError::kMalformed);
  FramingConfig line;
  line.maxBytes = std::min(limits.maxLineBytes, scan.maxBytes - 1);
  line.trimCarriageReturn = true;
  const FrameCut cut = nextDelimited(line, scan.data, scan.size, hint);
  if (cut.kind == FrameCut::Kind::kFrame) {
    if (!areQuotesBalanced(scan.data + cut.offset, cut.length)) return wrong(Read::kMalformed, Wrong::kQuotes);
    return wholeFrame(0, cut.consumed, cut.consumed);
  }
  if (cut.kind == FrameCut::Kind::kError || scan.size >= scan.maxBytes) return wrong(Read::kTooLarge, Wrong::kInlineSize);
  return cut;
}

// An element needs a few bytes at least, so that a slow sender does not cause call after call: the bytes read in all
// grows with n log n at most.
uint64_t leastOf(uint64_t at, uint64_t elements) { return at + elements * kLeastBulk; }

FrameCut nextCommand(const RespLimits& limits, Scan scan, size_t hint) {
  if (scan.size == 0) return more(scan, 1);
  if (scan.data[0] != '*') return nextInline(limits, scan, hint);
  const Number count = readCount(scan, limits.maxElements);
  if (count.read == Read::kPartial) return more(scan, 0);
  if (count.read != Read::kWhole) return wrong(count.read, Wrong::kCount);
  scan.at = count.end;
  for (uint64_t left = count.value; left != 0; --left) {
    if (leastOf(scan.at, left) > scan.maxBytes) return brokenFrame(FrameError::kTooLarge);
    const Read type = expect(scan, scan.at, '$');
    if (type == Read::kPartial) return more(scan, leastOf(scan.at, left));
    if (type != Read::kWhole) return wrong(type, Wrong::kType, scan.data[scan.at]);
    const Number length = readNumber(scan, scan.at + 1, limits.maxBulkBytes, false);
    if (length.read == Read::kPartial) return more(scan, leastOf(scan.at, left));
    if (length.read != Read::kWhole) return wrong(length.read, Wrong::kLength);
    const uint64_t end = length.end + length.value + 2;
    if (leastOf(end, left - 1) > scan.maxBytes) return brokenFrame(FrameError::kTooLarge);
    const Read bulk = readBulk(scan, end);
    if (bulk == Read::kPartial) return more(scan, leastOf(end, left - 1));
    if (bulk != Read::kWhole) return wrong(bulk, Wrong::kLength);
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
