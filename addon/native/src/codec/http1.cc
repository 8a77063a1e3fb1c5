#include "codec/http1.h"

#include <algorithm>

#include "codec/cut.h"
#include "codec/http1_chunks.h"
#include "codec/http1_head.h"

namespace mr {

namespace {

constexpr uint16_t kContentTooLarge = 413;
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
// Room of chunks beyond their data, in a whole body.
constexpr uint64_t kChunkSpare = 16 << 10;
// The most that one piece has: lengths cross to JavaScript as 32-bit numbers.
constexpr uint64_t kMostPiece = 1 << 30;

FrameCut tooLarge() { return brokenFrame(FrameError::kTooLarge, kContentTooLarge); }
FrameCut malformed() { return brokenFrame(FrameError::kMalformed, kBadRequest); }

// ---- between the pieces of a body: the next element, and its size

enum class Next : uint8_t { kHead = 0, kData = 1, kChunkData = 2, kChunkLine = 3, kChunkEnd = 4 };
constexpr int kNextBits = 3;

uint64_t stateOf(Next next, uint64_t left = 0) { return left << kNextBits | static_cast<uint64_t>(next); }

FrameCut piece(size_t offset, size_t length, size_t consumed, uint32_t info, uint64_t state) {
  FrameCut cut = wholeFrame(offset, length, consumed);
  cut.info = kHttp1Content | info;
  cut.state = state;
  return cut;
}

// `offset`: of the data, behind its size.
FrameCut dataPiece(Next next, uint64_t left, size_t offset, size_t size) {
  if (size == offset) return partialFrame(size + 1);
  const auto length = static_cast<size_t>(std::min({left, uint64_t{size - offset}, kMostPiece}));
  if (length != left) return piece(offset, length, offset + length, 0, stateOf(next, left - length));
  if (next == Next::kData) return piece(offset, length, offset + length, kHttp1LastContent, stateOf(Next::kHead));
  return piece(offset, length, offset + length, 0, stateOf(Next::kChunkEnd));
}

FrameCut fromHead(const Http1Head& part) {
  return part.kind == Http1Head::Kind::kError ? brokenFrame(part.error, part.code) : FrameCut{};
}

FrameCut chunkPiece(const FramingConfig& framing, Next next, const uint8_t* data, size_t size, size_t hint) {
  size_t at = 0;
  if (next == Next::kChunkEnd) {
    if (size != 0 && data[0] != '\r') return malformed();
    if (size > 1 && data[1] != '\n') return malformed();
    if (size < 3) return partialFrame(3);
    at = 2;
  }
  const ChunkLine line = readChunkLine(data + at, size - at);
  if (line.kind == ChunkLine::Kind::kError) return malformed();
  if (line.kind == ChunkLine::Kind::kPartial) return partialFrame(size + 1);
  at += line.bytes;
  if (line.length != 0) return dataPiece(Next::kChunkData, line.length, at, size);
  const Http1Head trailer = readHttp1Trailer(framing, data + at, size - at, hint);
  if (trailer.kind == Http1Head::Kind::kPartial) return partialFrame(size + 1, trailer.scanned);
  if (trailer.kind == Http1Head::Kind::kError) return fromHead(trailer);
  return piece(at + trailer.end, 0, at + trailer.end, kHttp1LastContent, stateOf(Next::kHead));
}

// ---- a chunked body that is kept whole. How far it has been read travels as the hint: a mark, 31 bits of where the next chunk's
// line begins, one that says that the peer expects a word, 31 of the data in the chunks before it.

constexpr uint64_t kInChunks = uint64_t{1} << 63, kExpectsWord = uint64_t{1} << 31, kMostInHint = kExpectsWord - 1;

struct Chunks {
  size_t at = 0;
  uint64_t held = 0;
  bool expects = false;

  static Chunks of(uint64_t hint) {
    return {static_cast<size_t>(hint >> 32 & kMostInHint), hint & kMostInHint, (hint & kExpectsWord) != 0};
  }
  // 0 where they are too long for it: read from the beginning each time.
  uint64_t hint() const { return at > kMostInHint ? 0 : kInChunks | uint64_t{at} << 32 | (expects ? kExpectsWord : 0) | held; }
};

FrameCut waitFor(uint64_t needed, const Chunks& chunks) {
  FrameCut cut = partialFrame(static_cast<size_t>(needed), static_cast<size_t>(chunks.hint()));
  if (chunks.expects) cut.prompt = kContinue;
  return cut;
}

// `bodyAt`: where the body begins; 0 where that is not known, and the limit for the chunks' overhead may be reached too early.
FrameCut wholeChunks(const FramingConfig& framing, const uint8_t* data, size_t size, size_t bodyAt, Chunks chunks) {
  size_t& at = chunks.at;
  uint64_t& held = chunks.held;
  const auto wait = [&](uint64_t needed) { return waitFor(needed, chunks); };
  for (;;) {
    if (at > size) return wait(at);  // a hint of bytes that are not there
    const ChunkLine line = readChunkLine(data + at, size - at);
    if (line.kind == ChunkLine::Kind::kError) return malformed();
    if (line.kind == ChunkLine::Kind::kPartial) return wait(size + 1);
    const size_t behindLine = at + line.bytes;
    if (line.length == 0) {
      const Http1Head trailer = readHttp1Trailer(framing, data + behindLine, size - behindLine, 0);
      if (trailer.kind == Http1Head::Kind::kPartial) return wait(size + 1);
      if (trailer.kind == Http1Head::Kind::kError) return fromHead(trailer);
      return wholeFrame(0, behindLine + trailer.end, behindLine + trailer.end);
    }
    if (line.length > framing.maxBytes - held) return tooLarge();
    const uint64_t behindData = behindLine + line.length;
    if (behindData - bodyAt > 2 * framing.maxBytes + kChunkSpare) return tooLarge();
    // The end of the chunk, and at least the last one.
    if (size > behindData && data[behindData] != '\r') return malformed();
    if (size > behindData + 1 && data[behindData + 1] != '\n') return malformed();
    if (size < behindData + 2) return wait(behindData + 2);
    held += line.length;
    at = static_cast<size_t>(behindData) + 2;
  }
}

FrameCut message(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint) {
  const bool inChunks = (uint64_t{hint} & kInChunks) != 0;
  // The head has been read. It is read once more when all is there, or when it matters how long it is.
  if (inChunks) {
    const FrameCut cut = wholeChunks(framing, data, size, 0, Chunks::of(hint));
    if (cut.kind == FrameCut::Kind::kPartial) return cut;
  }
  const Http1Head head = readHttp1Head(framing, data, size, inChunks ? 0 : hint);
  if (head.kind == Http1Head::Kind::kError) return brokenFrame(head.error, head.code);
  if (head.kind == Http1Head::Kind::kPartial) return partialFrame(size + 1, head.scanned);
  const bool chunked = (head.info & kHttp1Chunked) != 0;
  if (!chunked && head.length > framing.maxBytes) return tooLarge();
  const bool whole = chunked ? !framing.streamsBody : !framing.streamsBody || head.length <= framing.wholeBytes;
  FrameCut cut;
  if (!whole) {
    cut = wholeFrame(head.start, head.end - head.start, head.end);
    cut.info = head.info | kHttp1ContentFollows;
    cut.state = chunked ? stateOf(Next::kChunkLine) : stateOf(Next::kData, head.length);
    return cut;
  }
  if (chunked) {
    Chunks chunks = inChunks ? Chunks::of(hint) : Chunks{head.end};
    chunks.expects = (head.info & kHttp1Expects) != 0;
    cut = wholeChunks(framing, data, size, head.end, chunks);
  } else if (size - head.end < head.length) {
    cut = partialFrame(static_cast<size_t>(head.end + head.length));
  } else {
    const auto end = static_cast<size_t>(head.end + head.length);
    cut = wholeFrame(0, end, end);
  }
  if (cut.kind == FrameCut::Kind::kPartial && (head.info & kHttp1Expects) != 0) cut.prompt = kContinue;
  if (cut.kind != FrameCut::Kind::kFrame) return cut;
  cut.offset = head.start;
  cut.length -= head.start;
  cut.info = head.info & ~uint32_t{kHttp1Expects};
  return cut;
}

}  // namespace

FrameCut nextHttp1(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint, uint64_t state) {
  const auto next = static_cast<Next>(state & ((1u << kNextBits) - 1));
  switch (next) {
    case Next::kHead:
      return message(framing, data, size, hint);
    case Next::kData:
    case Next::kChunkData:
      return dataPiece(next, state >> kNextBits, 0, size);
    default:
      return chunkPiece(framing, next, data, size, hint);
  }
}

}  // namespace mr
