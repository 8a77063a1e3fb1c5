#include "codec_cases.h"

using namespace mr;
using namespace mr::test;
using Kind = FrameCut::Kind;

namespace {

// ---- framings

FramingConfig delimited(std::string delimiter, uint64_t maxBytes = 1 << 20) {
  FramingConfig config;
  config.kind = FramingKind::kDelimiter;
  config.delimiter = std::move(delimiter);
  config.maxBytes = maxBytes;
  return config;
}

FramingConfig lines(uint64_t maxBytes = 1 << 20) {
  FramingConfig config = delimited("\n", maxBytes);
  config.trimCarriageReturn = true;
  return config;
}

FramingConfig fixed(uint64_t bytes) {
  FramingConfig config;
  config.kind = FramingKind::kFixed;
  config.fixedBytes = config.maxBytes = bytes;
  return config;
}

FramingConfig prefixed(LengthType type, uint64_t maxBytes = 1 << 20) {
  FramingConfig config;
  config.kind = FramingKind::kLengthPrefixed;
  config.lengthType = type;
  config.maxBytes = maxBytes;
  config.strip = FramingConfig::kStripHeader;
  return config;
}

constexpr LengthType kLengthTypes[] = {LengthType::kU8,    LengthType::kU16Be, LengthType::kU16Le, LengthType::kU32Be,
                                       LengthType::kU32Le, LengthType::kU64Be, LengthType::kVarint};

Bytes bigEndian(uint64_t value, int bytes) {
  Bytes field;
  for (int i = bytes - 1; i >= 0; --i) field.push_back(static_cast<uint8_t>(value >> (8 * i)));
  return field;
}

Bytes littleEndian(uint64_t value, int bytes) {
  const Bytes field = bigEndian(value, bytes);
  return Bytes(field.rbegin(), field.rend());
}

// `least`: padded with empty groups to at least so many bytes.
Bytes varint(uint64_t value, size_t least = 1) {
  Bytes field;
  do {
    field.push_back(static_cast<uint8_t>((value & 127) | 128));
    value >>= 7;
  } while (value != 0 || field.size() < least);
  field.back() &= 127;
  return field;
}

Bytes lengthField(LengthType type, uint64_t value) {
  switch (type) {
    case LengthType::kU8:
      return bigEndian(value, 1);
    case LengthType::kU16Be:
      return bigEndian(value, 2);
    case LengthType::kU16Le:
      return littleEndian(value, 2);
    case LengthType::kU32Be:
      return bigEndian(value, 4);
    case LengthType::kU32Le:
      return littleEndian(value, 4);
    case LengthType::kU64Be:
      return bigEndian(value, 8);
    case LengthType::kVarint:
      return varint(value);
  }
  return {};
}

void append(Bytes& to, const Bytes& more) { to.insert(to.end(), more.begin(), more.end()); }

// A frame with `rest` bytes behind its length field, as far as the framing can say that.
Bytes encode(const FramingConfig& config, uint64_t rest, Random& random) {
  Bytes frame = random.bytes(config.lengthOffset);
  const uint64_t header = config.lengthOffset + lengthField(config.lengthType, 0).size();  // of a small length
  const int64_t value = static_cast<int64_t>(rest + (config.lengthIncludesHeader ? header : 0)) - config.lengthAdjustment;
  append(frame, lengthField(config.lengthType, static_cast<uint64_t>(std::max<int64_t>(value, 0))));
  append(frame, random.bytes(rest));
  return frame;
}

void checkOneLengthFraming(const FramingConfig& config, Random& random) {
  Bytes stream;
  for (uint64_t rest : {0, 7, 1, 20}) append(stream, encode(config, rest, random));
  checkEverySplit(config, stream);
}

}  // namespace

// ---------------------------------------------------------------- raw

TEST("raw: gives what there is, at most maxBytes at a time") {
  FramingConfig config;
  checkFrame(cutOf(config, "abc"), 0, 3, 3);
  config.maxBytes = 2;
  checkFrame(cutOf(config, "abc"), 0, 2, 2);
  checkPartial(nextFrame(config, nullptr, 0, 0), 1);
}

TEST("raw: never answers with a frame that uses nothing") {
  FramingConfig config;
  config.maxBytes = 0;
  checkFrame(cutOf(config, "abc"), 0, 1, 1);
}

// ---------------------------------------------------------------- delimiter

TEST("delimiter: cuts frames, empty ones too") {
  checkFrame(cutOf(lines(), "ab\ncd"), 0, 2, 3);
  checkFrame(cutOf(lines(), "\n"), 0, 0, 1);
  checkPartial(nextFrame(lines(), nullptr, 0, 0), 1);
}

TEST("delimiter: lines drop one '\\r' before the '\\n' and keep every other") {
  checkFrame(cutOf(lines(), "ab\r\n"), 0, 2, 4);
  checkFrame(cutOf(lines(), "\r\n"), 0, 0, 2);
  checkFrame(cutOf(lines(), "a\r\r\n"), 0, 2, 4);
  checkFrame(cutOf(lines(), "a\rb\n"), 0, 3, 4);
  checkFrame(cutOf(delimited("\n"), "ab\r\n"), 0, 3, 4);
}

TEST("delimiter: a frame of maxBytes passes, one more byte does not") {
  checkFrame(cutOf(lines(3), "abc\n"), 0, 3, 4);
  checkFrame(cutOf(lines(3), "abc\r\n"), 0, 3, 5);
  checkError(cutOf(lines(3), "abcd\n"), FrameError::kTooLarge);
  checkError(cutOf(lines(3), "abc\r\r\n"), FrameError::kTooLarge);
  checkFrame(cutOf(lines(0), "\r\n"), 0, 0, 2);
  checkFrame(cutOf(delimited("aab", 2), "xxaab"), 0, 2, 5);
  checkError(cutOf(delimited("aab", 2), "xxxaab"), FrameError::kTooLarge);
}

TEST("delimiter: passing the limit is seen before the terminator comes") {
  checkPartial(cutOf(lines(3), "abc"), 4);
  checkPartial(cutOf(lines(3), "abc\r"), 5);
  checkError(cutOf(lines(3), "abcd"), FrameError::kTooLarge);
  checkError(cutOf(lines(3), "abc\rd"), FrameError::kTooLarge);
  checkPartial(cutOf(delimited("aab", 2), "xxaa"), 5);
  checkError(cutOf(delimited("aab", 2), "xxx"), FrameError::kTooLarge);
  checkError(cutOf(delimited("aab", 2), "xxax"), FrameError::kTooLarge);
}

TEST("delimiter: a call is worth it when the terminator may be whole") {
  checkPartial(cutOf(delimited("\r\n--\r\n"), "body\r\n-"), 10);
  checkPartial(cutOf(delimited("\r\n--\r\n"), "body"), 10);
  checkPartial(cutOf(delimited("aab"), "aa"), 3);
  checkPartial(cutOf(delimited("aab"), "aaa"), 4);
}

TEST("delimiter: the hint skips what has been searched and nothing else") {
  const FrameCut partial = cutOf(delimited("aab"), "xaa");
  CHECK_EQ(partial.scanned, 1u);
  checkFrame(cutOf(delimited("aab"), bytesOf("xaab"), partial.scanned), 0, 1, 4);
  checkFrame(cutOf(delimited("aab"), bytesOf("xaaab"), partial.scanned), 0, 2, 5);
}

TEST("delimiter: a limit near 2^64 does not wrap round") {
  for (uint64_t maxBytes : {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 3}) {
    checkFrame(cutOf(lines(maxBytes), "ab\n"), 0, 2, 3);
    CHECK_EQ(cutOf(lines(maxBytes), "ab").kind, Kind::kPartial);
    checkFrame(cutOf(delimited("aab", maxBytes), "xxaab"), 0, 2, 5);
    CHECK_EQ(cutOf(delimited("aab", maxBytes), "xxaa").kind, Kind::kPartial);
  }
}

TEST("delimiter: equals the reference at every split") {
  for (const char* text : {"a\nbc\n\n\r\n\r\r\ntail", "aabaab", "aaabaaaab", "abab", "\r\n\r\n\r", "xaax aab aaab"}) {
    for (const char* delimiter : {"\n", "\r\n", "aab", "aa", "abab", "abaab"}) {
      for (uint64_t maxBytes : {0, 1, 2, 3, 100}) {
        FramingConfig config = delimited(delimiter, maxBytes);
        checkEverySplit(config, bytesOf(text));
        config.trimCarriageReturn = true;
        checkEverySplit(config, bytesOf(text));
      }
    }
  }
}

TEST("delimiter: equals the reference on random streams") {
  const std::vector<std::string> delimiters = {
      "\n", "\r\n", "aab", "aa", "abab", "aabaaab", std::string("\0", 1), std::string(40, 'a')};
  rounds(300, [&](Random& random) {
    FramingConfig config = delimited(random.pick(delimiters), random.below(30));
    config.trimCarriageReturn = random.oneIn(2);
    Bytes stream;
    while (stream.size() < 80) {
      append(stream, random.bytes(random.below(12), random.oneIn(2) ? "ab\r\nx" : config.delimiter));
      append(stream, bytesOf(config.delimiter));
    }
    checkEverySplit(config, stream);
  });
}

// ---------------------------------------------------------------- fixed

TEST("fixed: cuts frames of one size") {
  checkFrame(cutOf(fixed(3), "abcd"), 0, 3, 3);
  checkPartial(cutOf(fixed(3), "ab"), 3);
  checkPartial(nextFrame(fixed(3), nullptr, 0, 0), 3);
  checkPartial(cutOf(fixed(uint64_t{1} << 63), "ab"), size_t{1} << 63);
}

TEST("fixed: equals the reference at every split") {
  Random random(1);
  for (uint64_t size : {1, 2, 3, 7, 50, 51}) checkEverySplit(fixed(size), random.bytes(50));
}

// ---------------------------------------------------------------- a length

TEST("length: cuts frames of every length type, empty ones too") {
  for (LengthType type : kLengthTypes) {
    Note note([=] { return "length type " + std::to_string(static_cast<int>(type)); });
    Bytes frame = lengthField(type, 3);
    const size_t header = frame.size();
    checkPartial(cutOf(prefixed(type), frame), header + 3);
    append(frame, bytesOf("abc"));
    checkFrame(cutOf(prefixed(type), frame), header, 3, header + 3);
    checkFrame(cutOf(prefixed(type), lengthField(type, 0)), header, 0, header);
  }
}

TEST("length: asks for the rest of the header first") {
  checkPartial(nextFrame(prefixed(LengthType::kU32Be), nullptr, 0, 0), 4);
  checkPartial(cutOf(prefixed(LengthType::kU32Be), Bytes{0, 0}), 4);
  checkPartial(nextFrame(prefixed(LengthType::kVarint), nullptr, 0, 0), 1);
  checkPartial(cutOf(prefixed(LengthType::kVarint), Bytes{0x80}), 2);
  FramingConfig behind = prefixed(LengthType::kU16Be);
  behind.lengthOffset = 3;
  checkPartial(cutOf(behind, Bytes{1}), 5);
}

TEST("length: a frame of maxBytes passes, one more byte is refused by the header alone") {
  for (LengthType type : kLengthTypes) {
    const Bytes atLimit = lengthField(type, 100), above = lengthField(type, 101);
    checkPartial(cutOf(prefixed(type, 100), atLimit), atLimit.size() + 100);
    checkError(cutOf(prefixed(type, 100), above), FrameError::kTooLarge);
  }
}

TEST("length: the limit counts what is delivered") {
  FramingConfig config = prefixed(LengthType::kU16Be, 10);
  config.strip = 0;
  checkPartial(cutOf(config, bigEndian(8, 2)), 10);
  checkError(cutOf(config, bigEndian(9, 2)), FrameError::kTooLarge);
  // Far more is stripped than delivered.
  FramingConfig stripped = prefixed(LengthType::kU32Be, 10);
  stripped.strip = 1 << 20;
  checkPartial(cutOf(stripped, bigEndian((1 << 20) + 6, 4)), (1 << 20) + 10);
  checkError(cutOf(stripped, bigEndian((1 << 20) + 7, 4)), FrameError::kTooLarge);
}

TEST("length: huge lengths are refused by the header alone") {
  for (uint64_t length : {uint64_t{1} << 31, uint64_t{UINT32_MAX}, uint64_t{1} << 63, UINT64_MAX}) {
    if (length <= UINT32_MAX) {
      checkError(cutOf(prefixed(LengthType::kU32Be), bigEndian(length, 4)), FrameError::kTooLarge);
      checkError(cutOf(prefixed(LengthType::kU32Le), littleEndian(length, 4)), FrameError::kTooLarge);
    }
    checkError(cutOf(prefixed(LengthType::kU64Be), bigEndian(length, 8)), FrameError::kTooLarge);
    checkError(cutOf(prefixed(LengthType::kVarint), varint(length)), FrameError::kTooLarge);
  }
}

TEST("length: lengths near 2^64 do not wrap round, whatever the limit") {
  for (uint64_t maxBytes : {uint64_t{1} << 63, UINT64_MAX}) {
    FramingConfig config = prefixed(LengthType::kU64Be, maxBytes);
    checkPartial(cutOf(config, bigEndian(uint64_t{1} << 63, 8)), (size_t{1} << 63) + 8);
    checkError(cutOf(config, bigEndian(UINT64_MAX, 8)), FrameError::kTooLarge);
    config.lengthAdjustment = INT32_MAX;
    checkError(cutOf(config, bigEndian(UINT64_MAX, 8)), FrameError::kTooLarge);
    config.lengthAdjustment = INT32_MIN;
    checkError(cutOf(config, bigEndian(0, 8)), FrameError::kMalformed);
    checkError(cutOf(config, bigEndian(INT32_MAX, 8)), FrameError::kMalformed);
    checkFrame(cutOf(config, bigEndian(uint64_t{1} << 31, 8)), 8, 0, 8);
  }
}

TEST("length: a value below its own header is malformed") {
  FramingConfig config = prefixed(LengthType::kU32Be);
  config.lengthIncludesHeader = true;
  checkFrame(cutOf(config, bigEndian(4, 4)), 4, 0, 4);
  checkError(cutOf(config, bigEndian(3, 4)), FrameError::kMalformed);
  checkError(cutOf(config, bigEndian(0, 4)), FrameError::kMalformed);
  config.strip = 0;  // or nothing would be used, for ever
  checkError(cutOf(config, bigEndian(3, 4)), FrameError::kMalformed);
  checkError(cutOf(config, bigEndian(0, 4)), FrameError::kMalformed);
}

TEST("length: an adjustment below zero is malformed") {
  FramingConfig config = prefixed(LengthType::kU16Be);
  config.lengthAdjustment = -2;
  checkFrame(cutOf(config, bigEndian(2, 2)), 2, 0, 2);
  checkError(cutOf(config, bigEndian(1, 2)), FrameError::kMalformed);
}

TEST("length: a frame shorter than what is stripped is malformed") {
  FramingConfig config = prefixed(LengthType::kU8);
  config.strip = 3;
  checkError(cutOf(config, Bytes{1, 'a'}), FrameError::kMalformed);
  checkFrame(cutOf(config, Bytes{2, 'a', 'b'}), 3, 0, 3);
}

TEST("length: a varint longer than necessary is read up to ten bytes") {
  for (size_t bytes = 1; bytes <= 10; ++bytes) {
    Bytes frame = varint(2, bytes);
    CHECK_EQ(frame.size(), bytes);
    append(frame, bytesOf("ab"));
    checkFrame(cutOf(prefixed(LengthType::kVarint), frame), bytes, 2, bytes + 2);
  }
}

TEST("length: a varint over ten bytes or over 64 bits is malformed") {
  checkPartial(cutOf(prefixed(LengthType::kVarint), Bytes(9, 0x80)), 10);
  checkError(cutOf(prefixed(LengthType::kVarint), Bytes(10, 0x80)), FrameError::kMalformed);
  checkError(cutOf(prefixed(LengthType::kVarint), Bytes(11, 0xff)), FrameError::kMalformed);
  Bytes overflow(9, 0xff);
  overflow.push_back(2);
  checkError(cutOf(prefixed(LengthType::kVarint), overflow), FrameError::kMalformed);
  checkError(cutOf(prefixed(LengthType::kVarint), varint(UINT64_MAX)), FrameError::kTooLarge);
}

TEST("length: every type, offset, adjustment, includesHeader and strip equals the reference at every split") {
  Random random(firstSeed());
  for (LengthType type : kLengthTypes) {
    for (uint32_t offset : {0u, 1u, 3u}) {
      for (int32_t adjustment : {-5, -1, 0, 2}) {
        for (bool includesHeader : {false, true}) {
          for (uint32_t strip : {0u, 1u, 4u, 9u, FramingConfig::kStripHeader}) {
            FramingConfig config = prefixed(type, 25);
            config.lengthOffset = offset;
            config.lengthAdjustment = adjustment;
            config.lengthIncludesHeader = includesHeader;
            config.strip = strip;
            checkOneLengthFraming(config, random);
          }
        }
      }
    }
  }
}

TEST("length: garbage equals the reference at every split") {
  rounds(500, [](Random& random) {
    FramingConfig config = prefixed(kLengthTypes[random.below(std::size(kLengthTypes))], random.below(300));
    config.lengthOffset = static_cast<uint32_t>(random.below(4));
    config.lengthAdjustment = static_cast<int32_t>(random.below(20)) - 10;
    config.lengthIncludesHeader = random.oneIn(2);
    if (random.oneIn(2)) config.strip = static_cast<uint32_t>(random.below(20));
    const std::string_view small("\0\0\0\0\1\2\3\x80", 8);
    checkEverySplit(config, random.bytes(60, random.oneIn(2) ? small : std::string_view{}));
  });
}
