#include "codec/websocket.h"

#include "codec_cases.h"
#include "websocket_compare.h"

using namespace mr;
using namespace mr::test;

namespace {

FramingConfig webSocket(uint64_t maxBytes = 1 << 20, uint8_t windowBits = 0) {
  FramingConfig config;
  config.kind = FramingKind::kWebSocket;
  config.maxBytes = maxBytes;
  config.windowBits = windowBits;
  return config;
}

constexpr uint8_t kFin = 0x80;

// As a client sends it, and its length in `lengthBytes` (1, 2 or 8), however long it is.
Bytes frame(uint8_t first, const Bytes& payload, size_t lengthBytes, const Bytes& mask = {0x12, 0x34, 0x56, 0x78}) {
  Bytes bytes{first};
  if (lengthBytes == 1) {
    bytes.push_back(static_cast<uint8_t>(0x80 | payload.size()));
  } else {
    bytes.push_back(lengthBytes == 2 ? 0xfe : 0xff);
    for (size_t i = lengthBytes; i-- > 0;) bytes.push_back(static_cast<uint8_t>(uint64_t{payload.size()} >> (8 * i)));
  }
  bytes.insert(bytes.end(), mask.begin(), mask.end());
  for (size_t i = 0; i < payload.size(); ++i) bytes.push_back(payload[i] ^ mask[i % 4]);
  return bytes;
}

Bytes frame(uint8_t first, size_t size) { return frame(first, Bytes(size, 'p'), size < 126 ? 1 : size <= 0xffff ? 2 : 8); }

void checkCode(const FrameCut& cut, uint16_t code) {
  checkError(cut, code == 1009 ? FrameError::kTooLarge : FrameError::kMalformed);
  CHECK_EQ(cut.code, code);
}

FrameCut cutIn(uint64_t state, const Bytes& bytes, const FramingConfig& config = webSocket()) {
  return nextFrame(config, bytes.data(), bytes.size(), 0, state);
}

}  // namespace

TEST("websocket: a frame is its payload, with its opcode and whether it is the last of a message") {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{125}, size_t{126}, size_t{65'535}, size_t{65'536}}) {
    const size_t header = 2 + (size < 126 ? 0 : size <= 0xffff ? 2 : 8) + 4;
    const FrameCut cut = cutOf(webSocket(), frame(kFin | 2, size));
    checkFrame(cut, header, size, header + size);
    CHECK_EQ(cut.info, uint32_t{kWebSocketFrame} | kWebSocketFin | 2);
    CHECK_EQ(cut.state, 0u);
  }
}

TEST("websocket: what a first byte may be is known at once, inside and outside of a message") {
  const uint64_t inside = cutOf(webSocket(), frame(1, 3)).state;
  CHECK(inside != 0);
  for (unsigned first = 0; first < 256; ++first) {
    const unsigned opcode = first & 15;
    const bool control = opcode >= 8 && opcode <= 10 && (first & kFin) != 0;
    const bool outsideMay = (first & 0x70) == 0 && (control || opcode == 1 || opcode == 2);
    const bool insideMay = (first & 0x70) == 0 && (control || opcode == 0);
    Note note([=] { return "first byte " + std::to_string(first); });
    const Bytes byte{static_cast<uint8_t>(first)};
    CHECK_EQ(cutIn(0, byte).kind, outsideMay ? FrameCut::Kind::kPartial : FrameCut::Kind::kError);
    CHECK_EQ(cutIn(inside, byte).kind, insideMay ? FrameCut::Kind::kPartial : FrameCut::Kind::kError);
    if (!outsideMay) checkCode(cutIn(0, byte), 1002);
  }
}

TEST("websocket: RSV1 stands on the first frame of a message, where deflate was agreed on, and nowhere else") {
  const FramingConfig config = webSocket(1 << 20, 15);
  constexpr uint8_t kRsv1 = 0x40;
  for (const bool compressed : {false, true}) {
    const FrameCut first = cutOf(config, frame(static_cast<uint8_t>(2 | (compressed ? kRsv1 : 0)), 3));
    CHECK_EQ((first.info & kWebSocketCompressed) != 0, compressed);
    for (unsigned byte = 0; byte < 256; ++byte) {
      const unsigned opcode = byte & 15, reserved = byte & 0x70;
      const bool control = opcode >= 8 && opcode <= 10 && (byte & kFin) != 0;
      Note note([=] { return "first byte " + std::to_string(byte); });
      const bool outsideMay = opcode == 1 || opcode == 2 ? reserved == 0 || reserved == kRsv1 : control && reserved == 0;
      const bool insideMay = reserved == 0 && (control || opcode == 0);
      const Bytes bytes{static_cast<uint8_t>(byte)};
      CHECK_EQ(cutIn(0, bytes, config).kind, outsideMay ? FrameCut::Kind::kPartial : FrameCut::Kind::kError);
      CHECK_EQ(cutIn(first.state, bytes, config).kind, insideMay ? FrameCut::Kind::kPartial : FrameCut::Kind::kError);
    }
  }
}

TEST("websocket: a compressed message may have an eighth and 64 bytes more, in all of its frames") {
  const FramingConfig config = webSocket(800, 15);
  CHECK_EQ(mostCompressed(800), 964u);
  CHECK_EQ(mostCompressed(UINT64_MAX), UINT64_MAX);
  checkFrame(cutOf(config, frame(0xc2, 964)), 8, 964, 972);
  checkCode(cutOf(config, frame(0xc2, 965)), 1009);
  checkCode(cutOf(config, frame(0x82, 801)), 1009);
  const uint64_t compressed = cutOf(config, frame(0x42, 900)).state;
  checkFrame(cutIn(compressed, frame(kFin, 64), config), 6, 64, 70);
  checkCode(cutIn(compressed, frame(kFin, 65), config), 1009);
  const uint64_t plain = cutOf(config, frame(0x02, 700)).state;
  checkCode(cutIn(plain, frame(kFin, 101), config), 1009);
}

TEST("websocket: a frame that is not masked is refused by its second byte") {
  for (unsigned length = 0; length < 128; ++length)
    checkCode(cutOf(webSocket(), Bytes{0x82, static_cast<uint8_t>(length)}), 1002);
}

TEST("websocket: a length in more bytes than it needs, or of 64 bits, is refused") {
  checkCode(cutOf(webSocket(), frame(0x82, Bytes(125), 2)), 1002);
  checkCode(cutOf(webSocket(), frame(0x82, Bytes(125), 8)), 1002);
  checkCode(cutOf(webSocket(), frame(0x82, Bytes(65'535), 8)), 1002);
  checkCode(cutOf(webSocket(UINT64_MAX), Bytes{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0}), 1002);
  checkCode(cutOf(webSocket(), Bytes{0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), 1009);
}

TEST("websocket: a control frame has at most 125 bytes, is whole, and does not count to a message") {
  for (const uint8_t opcode : {8, 9, 10}) {
    checkFrame(cutOf(webSocket(), frame(kFin | opcode, 125)), 6, 125, 131);
    checkCode(cutOf(webSocket(), frame(kFin | opcode, 126)), 1002);
    checkCode(cutOf(webSocket(), frame(opcode, 1)), 1002);
    checkFrame(cutOf(webSocket(1), frame(kFin | opcode, 125)), 6, 125, 131);
    CHECK_EQ(cutIn(cutOf(webSocket(), frame(1, 3)).state, frame(kFin | opcode, 2)).state, cutOf(webSocket(), frame(1, 3)).state);
  }
}

TEST("websocket: a message of maxBytes passes, whole or in fragments, and one byte more is refused by the header alone") {
  const FramingConfig config = webSocket(200);
  checkFrame(cutOf(config, frame(0x82, 200)), 8, 200, 208);
  const Bytes longer = frame(0x82, 201);
  checkCode(cutOf(config, Bytes(longer.begin(), longer.begin() + 4)), 1009);
  const uint64_t after150 = cutOf(config, frame(2, 150)).state;
  checkFrame(cutIn(after150, frame(kFin, 50), config), 6, 50, 56);
  CHECK_EQ(cutIn(after150, frame(kFin, 50), config).state, 0u);
  const Bytes tooMuch = frame(0, 51);
  checkCode(cutIn(after150, Bytes(tooMuch.begin(), tooMuch.begin() + 2), config), 1009);
}

TEST("websocket: a frame is asked for when it can be there, and not allocated") {
  checkPartial(nextFrame(webSocket(), nullptr, 0, 0), 1);
  checkPartial(cutOf(webSocket(), Bytes{0x82}), 2);
  checkPartial(cutOf(webSocket(), Bytes{0x82, 0xfe, 1}), 4);
  checkPartial(cutOf(webSocket(uint64_t{1} << 40), Bytes{0x82, 0xff, 0, 0, 0, 1, 0, 0, 0, 0}), (size_t{1} << 32) + 14);
}

TEST("websocket: the mask comes off at every length and every place in memory") {
  rounds(20, [](Random& random) {
    const Bytes masked = random.bytes(300), key = random.bytes(4);
    uint32_t mask;
    std::memcpy(&mask, key.data(), sizeof(mask));
    for (size_t size = 0; size < 140; ++size) {
      const size_t from = random.below(40), to = random.below(40);
      Bytes out(300, 0xee);
      unmaskInto(out.data() + to, masked.data() + from, size, mask);
      for (size_t i = 0; i < size; ++i) CHECK_EQ(out[to + i], masked[from + i] ^ key[i % 4]);
      CHECK_EQ(out[to + size], 0xee);
      // In its place, and back.
      unmaskInto(out.data() + to, out.data() + to, size, mask);
      CHECK(std::equal(out.begin() + to, out.begin() + to + size, masked.begin() + from));
    }
  });
}

TEST("websocket: one byte above ASCII is seen wherever it is") {
  for (size_t size = 1; size < 100; ++size) {
    Bytes text(size, 'a'), out(size);
    CHECK(unmaskInto(out.data(), text.data(), size, 0));
    for (size_t at = 0; at < size; ++at) {
      text[at] = 0x80;
      CHECK(!unmaskInto(out.data(), text.data(), size, 0));
      text[at] = 'a';
    }
  }
}

TEST("websocket: random frames and their mutations agree with the reference at every split") {
  rounds(150, [](Random& random) {
    const auto windowBits = static_cast<uint8_t>(random.oneIn(2) ? 15 : 0);
    const FramingConfig config = webSocket(random.oneIn(2) ? 1 << 20 : random.below(60), windowBits);
    Bytes stream;
    bool inside = false;
    while (stream.size() < 120) {
      const bool control = random.oneIn(3), fin = control || random.oneIn(2);
      const auto opcode = static_cast<uint8_t>(control ? 8 + random.below(3) : inside ? 0 : 1 + random.below(2));
      if (!control) inside = !fin;
      const Bytes payload = random.bytes(random.below(random.oneIn(8) && !control ? 200 : 15));
      const size_t form = random.oneIn(20) ? (random.oneIn(2) ? 2 : 8) : payload.size() < 126 ? 1 : 2;
      const bool compressed = opcode != 0 && !control && windowBits != 0 && random.oneIn(2);
      const Bytes next =
          frame(static_cast<uint8_t>(opcode | (fin ? kFin : 0) | (compressed ? 0x40 : 0)), payload, form, random.bytes(4));
      stream.insert(stream.end(), next.begin(), next.end());
    }
    if (random.oneIn(2)) stream[random.below(stream.size())] = random.bytes(1)[0];
    if (const auto wrong = compareWebSocketAtEverySplit(config, stream)) {
      Note bytes([&] { return describe(std::span<const uint8_t>(stream)) + " maxBytes " + std::to_string(config.maxBytes); });
      fail(__FILE__, __LINE__, *wrong);
    }
  });
}
