// RESP and MQTT.
#include "codec_cases.h"

using namespace mr;
using namespace mr::test;

namespace {

FramingConfig commands(uint64_t maxBytes = 1 << 20) {
  FramingConfig config;
  config.kind = FramingKind::kRespCommand;
  config.maxBytes = maxBytes;
  return config;
}

FramingConfig values(uint64_t maxBytes = 1 << 20) {
  FramingConfig config = commands(maxBytes);
  config.kind = FramingKind::kRespValue;
  return config;
}

FramingConfig mqtt(uint64_t maxBytes = 1 << 20) {
  FramingConfig config;
  config.kind = FramingKind::kMqtt;
  config.maxBytes = maxBytes;
  return config;
}

void checkWhole(const FramingConfig& config, std::string_view frame) {
  const std::string with(frame);
  checkFrame(cutOf(config, with), 0, frame.size(), frame.size());
  checkFrame(cutOf(config, with + "*"), 0, frame.size(), frame.size());
  if (!frame.empty()) CHECK_EQ(cutOf(config, frame.substr(0, frame.size() - 1)).kind, FrameCut::Kind::kPartial);
}

std::string bulk(std::string_view text) { return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n"; }

std::string randomCommand(Random& random) {
  if (random.oneIn(4)) {
    const Bytes words = random.bytes(random.below(12), "ab \"'\\x");
    return std::string(words.begin(), words.end()) + (random.oneIn(2) ? "\r\n" : "\n");
  }
  const uint64_t count = random.below(4);
  std::string text = "*" + std::to_string(count) + "\r\n";
  for (uint64_t i = 0; i < count; ++i) {
    const Bytes body = random.bytes(random.below(15));
    text += bulk(std::string(body.begin(), body.end()));
  }
  return text;
}

std::string randomValue(Random& random, int depth) {
  switch (random.below(depth > 3 ? 6 : 10)) {
    case 0:
      return "+OK\r\n";
    case 1:
      return ":-12\r\n";
    case 2:
      return "_\r\n";
    case 3:
      return random.oneIn(2) ? "$-1\r\n" : "*-1\r\n";
    case 4:
      return "=5\r\ntxt:a\r\n";
    case 5:
      return bulk(std::string(random.below(9), 'b'));
    case 6:
      return "|1\r\n" + randomValue(random, depth + 1) + randomValue(random, depth + 1) + randomValue(random, depth);
    default: {
      const bool isMap = random.oneIn(3);
      const uint64_t count = random.below(3);
      std::string text = (isMap ? "%" : random.oneIn(2) ? "*" : "~") + std::to_string(count) + "\r\n";
      for (uint64_t i = 0; i < count * (isMap ? 2 : 1); ++i) text += randomValue(random, depth + 1);
      return text;
    }
  }
}

// One byte of it becomes another.
void spoil(Bytes& stream, Random& random) {
  if (stream.empty()) return;
  stream[random.below(stream.size())] = random.bytes(1, "0123456789\r\n$*+-|%x")[0];
}

std::string packet(uint8_t first, size_t rest) {
  std::string text(1, static_cast<char>(first));
  size_t length = rest;
  do {
    text.push_back(static_cast<char>(length % 128 | (length >= 128 ? 128 : 0)));
    length /= 128;
  } while (length != 0);
  return text + std::string(rest, 'p');
}

}  // namespace

// ---------------------------------------------------------------- commands

TEST("resp: a command is an array of bulk strings, delivered as it came") {
  checkWhole(commands(), "*1\r\n$4\r\nPING\r\n");
  checkWhole(commands(), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
  checkWhole(commands(), "*2\r\n$3\r\nGET\r\n$4\r\n\r\n\r\n\r\n");
  checkWhole(commands(), "*0\r\n");
  checkWhole(commands(), "*-1\r\n");
  checkWhole(commands(), "*-10\r\n");
  checkWhole(commands(), "*-999999999999999999\r\n");
}

TEST("resp: a line of words is a command, and an empty one too") {
  checkWhole(commands(), "PING\r\n");
  checkWhole(commands(), "SET k v\n");
  checkWhole(commands(), "\r\n");
  checkWhole(commands(), "\n");
  FramingConfig strict = commands();
  strict.resp.maxLineBytes = 0;
  checkError(cutOf(strict, "P"), FrameError::kMalformed);
}

TEST("resp: what is no command is malformed at its first wrong byte") {
  for (const char* bad : {"*x", "*-0", "*-x", "*--", "*-\r", "*\r", "*01", "*+", "*1\n", "*1\rx", "*1\r\n+", "*1\r\n$-",
                          "*1\r\n$x", "*1\r\n$01", "*1\r\n$1\r\nab", "*1\r\n$1\r\na\rx", "*2\r\n$1\r\na\r\n*"}) {
    Note note([=] { return bad; });
    const std::string_view text(bad);
    checkError(cutOf(commands(), text), FrameError::kMalformed);
    CHECK_EQ(cutOf(commands(), text.substr(0, text.size() - 1)).kind, FrameCut::Kind::kPartial);
  }
}

TEST("resp: what is wrong with a command has a code") {
  struct Case {
    const char* bytes;
    FrameError error;
    uint16_t code;
  };
  FramingConfig config = commands(64);
  config.resp.maxBulkBytes = 60;
  config.resp.maxElements = 9;
  config.resp.maxLineBytes = 40;
  for (const auto& [bytes, error, code] : {
           Case{"*x", FrameError::kMalformed, 1}, Case{"*10", FrameError::kTooLarge, 1},
           Case{"*-1000000000000000000", FrameError::kTooLarge, 1}, Case{"*1\r\n$-", FrameError::kMalformed, 2},
           Case{"*1\r\n$61", FrameError::kTooLarge, 2}, Case{"*1\r\n$1\r\nab", FrameError::kMalformed, 2},
           Case{"1234567890123456789012345678901234567890x", FrameError::kTooLarge, 3},
           Case{"a \"b\n", FrameError::kMalformed, 4}, Case{"*1\r\nfoo", FrameError::kMalformed, 0x100 | 'f'},
           Case{"*1\r\n\xff", FrameError::kMalformed, 0x1ff},
           Case{"*1\r\n$60\r\n", FrameError::kTooLarge, 0},  // the whole command is
       }) {
    Note note([=] { return std::string(bytes); });
    const FrameCut cut = cutOf(config, bytes);
    checkError(cut, error);
    CHECK_EQ(cut.code, code);
  }
}

TEST("resp: quotes of a line end at the end of a word") {
  for (const char* line :
       {"a \"b c\" d\n", "a\"b c\"\r\n", "'it\\'s'\n", "\"\\\"\" x\n", "\"a\"\t\"b\"\n", "\"a'\"\n", "a\\\n"}) {
    Note note([=] { return std::string(line); });
    checkWhole(commands(), line);
  }
  for (const char* line : {"\"\n", "a 'b\n", "\"a\"b\n", "\"\"\"a\"\"\"\n", "'a\\'\n", "\"a\\\"\n", "''\"\n"}) {
    Note note([=] { return std::string(line); });
    checkError(cutOf(commands(), line), FrameError::kMalformed);
  }
}

TEST("resp: each limit holds exactly, and is said by the number alone") {
  FramingConfig config = commands();
  config.resp.maxElements = 12;
  CHECK_EQ(cutOf(config, "*12\r\n").kind, FrameCut::Kind::kPartial);
  checkError(cutOf(config, "*13"), FrameError::kTooLarge);
  config.resp.maxBulkBytes = 9;
  CHECK_EQ(cutOf(config, "*1\r\n$9\r\n").kind, FrameCut::Kind::kPartial);
  checkError(cutOf(config, "*1\r\n$10"), FrameError::kTooLarge);
  config.resp.maxLineBytes = 3;
  checkWhole(config, "abc\r\n");
  checkError(cutOf(config, "abcd"), FrameError::kTooLarge);
  checkWhole(commands(14), "*1\r\n$4\r\nPING\r\n");
  checkError(cutOf(commands(13), "*1\r\n$4\r\n"), FrameError::kTooLarge);
  checkError(cutOf(commands(20), "*3\r\n"), FrameError::kTooLarge);
  checkError(cutOf(commands(), "*1\r\n$18446744073709551616"), FrameError::kTooLarge);
  checkError(cutOf(commands(), "*18446744073709551617"), FrameError::kTooLarge);
}

TEST("resp: a call is worth it when the rest can be there") {
  checkPartial(cutOf(commands(), "*3\r\n"), 4 + 18);
  checkPartial(cutOf(commands(), "*2\r\n$5\r\nhel"), 4 + 11 + 6);
  checkPartial(cutOf(commands(), "*"), 2);
  checkPartial(cutOf(commands(), "*1\r\n$1"), 10);
}

TEST("resp: who dribbles a command of many parts is not looked at once for each byte") {
  FramingConfig config = commands(1 << 20);
  std::string stream = "*40000\r\n";
  for (int i = 0; i < 40000; ++i) stream += bulk("0123456789");
  size_t looks = 0, needed = 0;
  for (size_t size = 1; size <= stream.size(); ++size) {
    if (size < needed) continue;
    ++looks;
    needed = nextFrame(config, reinterpret_cast<const uint8_t*>(stream.data()), size, 0).needed;
  }
  CHECK(looks < 200);
}

TEST("resp: a batch is as many whole commands as there are") {
  FramingConfig config = commands();
  config.resp.batch = true;
  checkFrame(cutOf(config, "PING\r\n*1\r\n$4\r\nPING\r\n*1\r\n$4"), 0, 20, 20);
  checkFrame(cutOf(config, "PING\r\n*x"), 0, 6, 6);
  checkError(cutOf(config, "*x"), FrameError::kMalformed);
  config.maxBytes = 15;
  checkFrame(cutOf(config, "PING\r\nPING\r\nPING\r\n"), 0, 12, 12);
}

TEST("resp: commands equal the reference at every split") {
  rounds(150, [](Random& random) {
    FramingConfig config = commands(random.oneIn(2) ? 1 << 20 : 1 + random.below(60));
    if (random.oneIn(2)) config.resp.maxElements = random.below(4);
    if (random.oneIn(2)) config.resp.maxBulkBytes = random.below(15);
    if (random.oneIn(2)) config.resp.maxLineBytes = random.below(10);
    config.resp.batch = random.oneIn(3);
    Bytes stream;
    while (stream.size() < 100) {
      const Bytes next = bytesOf(randomCommand(random));
      stream.insert(stream.end(), next.begin(), next.end());
    }
    if (random.oneIn(2)) spoil(stream, random);
    checkEverySplit(config, stream);
  });
}

// ---------------------------------------------------------------- values

TEST("resp: every type of a value is cut") {
  for (const char* text : {"+OK\r\n",
                           "-ERR no\r\n",
                           ":12\r\n",
                           "$3\r\nabc\r\n",
                           "$-1\r\n",
                           "*-1\r\n",
                           "*0\r\n",
                           "_\r\n",
                           "#t\r\n",
                           ",1.5\r\n",
                           "(12345678901234567890\r\n",
                           "!5\r\nERR x\r\n",
                           "=7\r\ntxt:abc\r\n",
                           "%1\r\n+k\r\n:1\r\n",
                           "~2\r\n:1\r\n:2\r\n",
                           ">2\r\n+message\r\n+x\r\n",
                           "*2\r\n*1\r\n:1\r\n*0\r\n",
                           "|1\r\n+ttl\r\n:3\r\n+value\r\n",
                           "*2\r\n|1\r\n+ttl\r\n:3\r\n+value\r\n:2\r\n",
                           "|0\r\n+value\r\n"}) {
    Note note([=] { return text; });
    checkWhole(values(), text);
  }
}

TEST("resp: nesting has a limit") {
  FramingConfig config = values();
  config.resp.maxDepth = 2;
  checkWhole(config, "*1\r\n*1\r\n:1\r\n");
  checkError(cutOf(config, "*1\r\n*1\r\n*1\r\n"), FrameError::kTooLarge);
  config.resp.maxDepth = RespLimits::kMostDepth;
  std::string deep;
  for (uint32_t i = 0; i < RespLimits::kMostDepth; ++i) deep += "*1\r\n";
  checkWhole(config, deep + ":1\r\n");
  config.resp.maxDepth = 1000;
  checkError(cutOf(config, deep + "*1\r\n"), FrameError::kTooLarge);
}

TEST("resp: streamed values are malformed, since nobody knows how long they get") {
  for (const char* text : {"$?\r\n", "*?\r\n", "%?\r\n", ";4\r\n", ".\r\n"})
    checkError(cutOf(values(), text), FrameError::kMalformed);
}

TEST("resp: values equal the reference at every split") {
  rounds(150, [](Random& random) {
    FramingConfig config = values(random.oneIn(2) ? 1 << 20 : 3 + random.below(80));
    if (random.oneIn(2)) config.resp.maxElements = random.below(4);
    if (random.oneIn(2)) config.resp.maxBulkBytes = random.below(12);
    if (random.oneIn(2)) config.resp.maxLineBytes = random.below(6);
    if (random.oneIn(2)) config.resp.maxDepth = static_cast<uint32_t>(random.below(6));
    Bytes stream;
    while (stream.size() < 100) {
      const Bytes next = bytesOf(randomValue(random, 0));
      stream.insert(stream.end(), next.begin(), next.end());
    }
    stream.resize(std::min<size_t>(stream.size(), 300));
    if (random.oneIn(2)) spoil(stream, random);
    checkEverySplit(config, stream);
  });
}

// ---------------------------------------------------------------- packets

TEST("mqtt: a packet is cut with its header") {
  checkWhole(mqtt(), packet(0x10, 12));
  checkWhole(mqtt(), packet(0x30, 0));
  checkWhole(mqtt(), packet(0x3d, 127));
  checkWhole(mqtt(), packet(0x82, 128));
  checkWhole(mqtt(), packet(0xc0, 0));
  checkWhole(mqtt(), packet(0x30, 20'000));
  checkPartial(nextFrame(mqtt(), nullptr, 0, 0), 1);
  checkPartial(cutOf(mqtt(), packet(0x30, 300).substr(0, 3)), 303);
}

TEST("mqtt: flags that a type does not have are malformed at the first byte") {
  for (int first = 0; first < 256; ++first) {
    const int type = first >> 4, flags = first & 15;
    bool legal = type != 0 && flags == (type == 6 || type == 8 || type == 10 ? 2 : 0);
    if (type == 3) legal = (flags >> 1 & 3) != 3 && !(flags >= 8 && (flags >> 1 & 3) == 0);
    Note note([=] { return "first byte " + std::to_string(first); });
    const FrameCut cut = cutOf(mqtt(), Bytes{static_cast<uint8_t>(first)});
    CHECK_EQ(cut.kind, legal ? FrameCut::Kind::kPartial : FrameCut::Kind::kError);
  }
}

TEST("mqtt: a type that may not come is malformed") {
  FramingConfig config = mqtt();
  config.mqttTypes = 1 << 3;
  checkWhole(config, packet(0x30, 3));
  checkError(cutOf(config, packet(0x10, 3)), FrameError::kMalformed);
}

TEST("mqtt: a length of five bytes, or of more bytes than it needs, is malformed") {
  checkError(cutOf(mqtt(), Bytes{0x30, 0xff, 0xff, 0xff, 0x80}), FrameError::kMalformed);
  checkError(cutOf(mqtt(), Bytes{0x30, 0x80, 0x00}), FrameError::kMalformed);
  checkError(cutOf(mqtt(), Bytes{0xc0, 0x01}), FrameError::kMalformed);
}

TEST("mqtt: a packet of maxBytes passes, one more byte is refused by the header alone") {
  checkWhole(mqtt(102), packet(0x30, 100));
  checkError(cutOf(mqtt(102), packet(0x30, 101).substr(0, 2)), FrameError::kTooLarge);
  checkPartial(cutOf(mqtt(uint64_t{1} << 30), Bytes{0x30, 0xff, 0xff, 0xff, 0x7f}), 268'435'455 + 5);
}

TEST("mqtt: packets equal the reference at every split") {
  rounds(150, [](Random& random) {
    FramingConfig config = mqtt(random.oneIn(2) ? 1 << 20 : 1 + random.below(60));
    if (random.oneIn(4)) config.mqttTypes = static_cast<uint16_t>(random.below(1 << 16));
    Bytes stream;
    static const std::vector<uint8_t> kFirsts = {0x10, 0x30, 0x32, 0x3d, 0x40, 0x62, 0x82, 0xa2, 0xc0, 0xe0, 0xf0};
    while (stream.size() < 80) {
      const uint8_t first = random.pick(kFirsts);
      const Bytes next = bytesOf(packet(first, first == 0xc0 ? 0 : random.below(random.oneIn(9) ? 200 : 20)));
      stream.insert(stream.end(), next.begin(), next.end());
    }
    if (random.oneIn(2)) stream[random.below(stream.size())] = random.bytes(1)[0];
    checkEverySplit(config, stream);
  });
}
