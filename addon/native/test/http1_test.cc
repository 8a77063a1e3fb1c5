#include <functional>
#include <random>

#include "harness.h"
#include "http1_compare.h"
#include "steps.h"

using namespace mr;
using namespace mr::test;

namespace {

FramingConfig whole() {
  FramingConfig config;
  config.kind = FramingKind::kHttp1;
  return config;
}

FramingConfig streaming() {
  FramingConfig config = whole();
  config.streamsBody = true;
  config.wholeBytes = 4;
  return config;
}

Http1Outcome cut(const FramingConfig& config, const std::string& stream) {
  if (const auto wrong = compareHttp1AtEverySplit(config, stream)) {
    Note note([&] { return stream; });
    fail(__FILE__, __LINE__, *wrong);
  }
  const size_t ends[] = {stream.size()};
  return cutHttp1(config, stream, ends).outcome;
}

FrameCut next(const FramingConfig& config, const std::string& stream, uint64_t state = 0) {
  return nextHttp1(config, reinterpret_cast<const uint8_t*>(stream.data()), stream.size(), 0, state);
}

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

std::string post(const std::string& fields, const std::string& body = "") {
  return "POST /in HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body;
}

std::string chunked(const std::string& body) { return post("Transfer-Encoding: chunked\r\n", body); }

struct Refused {
  const char* what;
  int code;
  std::string stream;
};

const std::vector<Refused>& refused() {
  static const std::vector<Refused> all = {
      {"a length beside a coding", 400, post("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
      {"a coding beside a length", 400, post("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n")},
      {"two lengths that differ", 400, post("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd")},
      {"two lengths that agree", 400, post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc")},
      {"a list of lengths", 400, post("Content-Length: 3, 3\r\n", "abc")},
      {"a length with a sign", 400, post("Content-Length: +3\r\n", "abc")},
      {"a negative length", 400, post("Content-Length: -3\r\n", "abc")},
      {"a length with a blank within", 400, post("Content-Length: 1 2\r\n", "abc")},
      {"a hexadecimal length", 400, post("Content-Length: 0x3\r\n", "abc")},
      {"an empty length", 400, post("Content-Length: \r\n")},
      {"a length above 64 bits", 413, post("Content-Length: 18446744073709551619\r\n", "abc")},
      {"a length above the limit", 413, post("Content-Length: 1048577\r\n")},
      {"two codings in two fields", 400, post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")},
      {"chunked twice", 400, post("Transfer-Encoding: chunked, chunked\r\n", "0\r\n\r\n")},
      {"chunked that is not last", 400, post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n")},
      {"a coding that is not known", 501, post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n")},
      {"identity", 501, post("Transfer-Encoding: identity\r\n")},
      {"a coding that only looks like chunked", 501, post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n")},
      {"a coding with a parameter", 501, post("Transfer-Encoding: chunked;a=b\r\n", "0\r\n\r\n")},
      {"a vertical tab before the coding", 400, post("Transfer-Encoding: \x0b chunked\r\n", "0\r\n\r\n")},
      {"an empty coding", 400, post("Transfer-Encoding:\r\n")},
      {"a coding in HTTP/1.0", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
      {"a blank before the colon", 400, post("Content-Length : 3\r\n", "abc")},
      {"a tab before the colon", 400, post("Transfer-Encoding\t: chunked\r\n", "0\r\n\r\n")},
      {"a name with a blank", 400, post("Content Length: 3\r\n", "abc")},
      {"a field without a name", 400, post(": 3\r\n")},
      {"a field without a colon", 400, post("Content-Length\r\n")},
      {"a folded line", 400, post("A: b\r\n c\r\n")},
      {"a folded line with a tab", 400, post("A: b\r\n\tc\r\n")},
      {"a first field that is folded", 400, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
      {"a bare line feed behind a field", 400, "GET / HTTP/1.1\r\nHost: a\n\r\n"},
      {"a bare line feed behind the request line", 400, "GET / HTTP/1.1\nHost: a\r\n\r\n"},
      {"a bare carriage return in a value", 400, post("A: b\rc\r\n")},
      {"a bare carriage return in the request line", 400, "GET /\r HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"two carriage returns", 400, "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n"},
      {"line feeds alone", 400, "GET / HTTP/1.1\n\n"},
      {"an empty line of a line feed", 400, "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a NUL in a value", 400, post(std::string("A: b\0c\r\n", 8))},
      {"a NUL in a name", 400, post(std::string("A\0: b\r\n", 7))},
      {"an escape in a value", 400, post("A: \x1b[0m\r\n")},
      {"a DEL in a value", 400, post("A: \x7f\r\n")},
      {"a byte above ASCII in a name", 400, post("\xc3\xa4: b\r\n")},
      {"a byte above ASCII in a target", 400, "GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"no host", 400, "GET / HTTP/1.1\r\n\r\n"},
      {"two hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"},
      {"a host that is a list", 400, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"},
      {"a host with a path", 400, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
      {"a host with a user", 400, "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
      {"two blanks in the request line", 400, "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a blank behind the version", 400, "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
      {"a request line without a version", 400, "GET /\r\nHost: a\r\n\r\n"},
      {"a version in lower case", 400, "GET / http/1.1\r\nHost: a\r\n\r\n"},
      {"a version of three digits", 400, "GET / HTTP/1.11\r\nHost: a\r\n\r\n"},
      {"another protocol", 400, "GET / RTSP/1.1\r\nHost: a\r\n\r\n"},
      {"HTTP/2", 505, "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
      {"the preface of HTTP/2", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
      {"HTTP/0.9", 505, "GET / HTTP/0.9\r\n\r\n"},
      {"a tunnel", 501, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"},
      {"a relative target", 400, "GET a HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"an asterisk for GET", 400, "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a target of another scheme", 400, "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a method with a separator", 400, "G(T / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a method without end", 501, std::string(25, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"a TLS greeting", 400, std::string("\x16\x03\x01\x02\x00\x01", 6)},
      {"an expectation that is not known", 417, post("Expect: tea\r\nContent-Length: 1\r\n", "a")},
      {"a chunk without a length", 400, chunked("\r\n\r\n")},
      {"a chunk with a sign", 400, chunked("+5\r\nabcde\r\n0\r\n\r\n")},
      {"a chunk with 0x", 400, chunked("0x5\r\nabcde\r\n0\r\n\r\n")},
      {"a chunk with a blank before its length", 400, chunked(" 5\r\nabcde\r\n0\r\n\r\n")},
      {"a chunk with a blank behind its length", 400, chunked("5 \r\nabcde\r\n0\r\n\r\n")},
      {"a chunk whose length has 16 digits", 400, chunked("0000000000000005\r\nabcde\r\n0\r\n\r\n")},
      {"a chunk whose length ends in a line feed", 400, chunked("5\nabcde\r\n0\r\n\r\n")},
      {"a chunk that is longer than it says", 400, chunked("4\r\nabcde\r\n0\r\n\r\n")},
      {"a chunk that ends in a line feed", 400, chunked("5\r\nabcde\n0\r\n\r\n")},
      {"a chunk that ends in carriage returns", 400, chunked("5\r\nabcde\r\r0\r\n\r\n")},
      {"an extension with a carriage return", 400, chunked("5;a=\rb\r\nabcde\r\n0\r\n\r\n")},
      {"an extension with a line feed", 400, chunked("5;a=\nb\r\nabcde\r\n0\r\n\r\n")},
      {"an extension without a name", 400, chunked("5;\r\nabcde\r\n0\r\n\r\n")},
      {"an extension of blanks", 400, chunked("5; \t\r\nabcde\r\n0\r\n\r\n")},
      {"two semicolons before an extension", 400, chunked("5;;a\r\nabcde\r\n0\r\n\r\n")},
      {"a semicolon behind an extension", 400, chunked("5;a;\r\nabcde\r\n0\r\n\r\n")},
      {"a blank behind an extension", 400, chunked("5;a \r\nabcde\r\n0\r\n\r\n")},
      {"an extension with a value and no name", 400, chunked("5;=b\r\nabcde\r\n0\r\n\r\n")},
      {"an extension that is no token", 400, chunked("5;a@b\r\nabcde\r\n0\r\n\r\n")},
      {"an extension with bytes above ASCII", 400, chunked("5;\xe4\r\nabcde\r\n0\r\n\r\n")},
      {"an extension whose value is missing", 400, chunked("5;a=\r\nabcde\r\n0\r\n\r\n")},
      {"an extension whose value is missing before the next", 400, chunked("5;a=;b\r\nabcde\r\n0\r\n\r\n")},
      {"an extension whose value is no token", 400, chunked("5;a=b=c\r\nabcde\r\n0\r\n\r\n")},
      {"an extension of two words", 400, chunked("5;a b\r\nabcde\r\n0\r\n\r\n")},
      {"a quoted value that does not end", 400, chunked("5;a=\"x\r\nabcde\r\n0\r\n\r\n")},
      {"a quoted value whose last quote is escaped", 400, chunked("5;a=\"x\\\"\r\nabcde\r\n0\r\n\r\n")},
      {"a quoted value that ends in a backslash", 400, chunked("5;a=\"x\\\r\nabcde\r\n0\r\n\r\n")},
      {"a quoted value with something behind it", 400, chunked("5;a=\"x\"y\r\nabcde\r\n0\r\n\r\n")},
      {"a quoted name", 400, chunked("5;\"a\"=x\r\nabcde\r\n0\r\n\r\n")},
      {"a broken extension of the last chunk", 400, chunked("5\r\nabcde\r\n0;\r\n\r\n")},
      {"an extension without end", 400, chunked("5;" + std::string(300, 'a') + "\r\nabcde\r\n0\r\n\r\n")},
      {"a trailer with a length", 400, chunked("0\r\nContent-Length: 3\r\n\r\n")},
      {"a trailer with a coding", 400, chunked("0\r\nTransfer-Encoding: chunked\r\n\r\n")},
      {"a trailer with a host", 400, chunked("0\r\nHost: b\r\n\r\n")},
      {"a trailer that is folded", 400, chunked("0\r\nA: b\r\n c\r\n\r\n")},
  };
  return all;
}

}  // namespace

TEST("http1: everything that two readers could understand differently is refused, at every split") {
  for (const Refused& each : refused()) {
    for (const FramingConfig& config : {whole(), streaming()}) {
      Note note([&] { return std::string(each.what); });
      CHECK_EQ(cut(config, each.stream).code, each.code);
    }
  }
}

TEST("http1: a good request before a bad one is a frame, and the error comes behind it") {
  for (const Refused& each : refused()) {
    Note note([&] { return std::string(each.what); });
    const Http1Outcome outcome = cut(whole(), kGet + each.stream);
    CHECK_EQ(outcome.messages.front(), "all\n" + kGet);
    CHECK_EQ(outcome.code, each.code);
  }
}

TEST("http1: pipelined requests are cut one by one") {
  const std::string all = kGet + post("Content-Length: 3\r\n", "abc") + kGet + chunked("3\r\nabc\r\n0\r\n\r\n") + kGet;
  const Http1Outcome outcome = cut(whole(), all);
  CHECK_EQ(outcome.code, 0);
  CHECK_EQ(outcome.messages.size(), size_t{5});
  CHECK_EQ(outcome.messages[1], "all\n" + post("Content-Length: 3\r\n", "abc"));
  CHECK_EQ(outcome.messages[3], "all\n" + chunked("3\r\nabc\r\n0\r\n\r\n"));
}

TEST("http1: a streamed body follows its head in pieces, decoded, and the next request follows it") {
  const std::string body = "5\r\nabcde\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\n\r\n";
  const Http1Outcome outcome = cut(streaming(), chunked(body) + post("Content-Length: 6\r\n", "uvwxyz") + kGet);
  CHECK_EQ(outcome.messages.size(), size_t{3});
  CHECK_EQ(outcome.bodies.size(), size_t{2});
  CHECK_EQ(outcome.bodies[0], std::string("abcde0123456789"));
  CHECK_EQ(outcome.bodies[1], std::string("uvwxyz"));
  CHECK_EQ(outcome.messages[2], "all\n" + kGet);
}

TEST("http1: a short body of a known length comes with its head where bodies are streamed") {
  const Http1Outcome outcome = cut(streaming(), post("Content-Length: 4\r\n", "abcd"));
  CHECK_EQ(outcome.messages.front(), "all\n" + post("Content-Length: 4\r\n", "abcd"));
  CHECK(outcome.bodies.empty());
}

TEST("http1: the info of a head says what a server has to know of it") {
  const auto info = [](const std::string& stream) { return next(whole(), stream).info & ~uint32_t{kHttp1HeadMask}; };
  CHECK_EQ(info(kGet), uint32_t{0});
  CHECK_EQ(info("GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n"), uint32_t{kHttp1Close});
  CHECK_EQ(info("GET / HTTP/1.0\r\n\r\n"), uint32_t{kHttp10 | kHttp1Close});
  CHECK_EQ(info("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"), uint32_t{kHttp10});
  CHECK_EQ(info("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), uint32_t{kHttp1Head});
  CHECK_EQ(info("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"), uint32_t{kHttp1Upgrade});
  CHECK_EQ(info("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"), uint32_t{0});
  CHECK_EQ(next(whole(), "\r\n" + kGet).info & kHttp1HeadMask, static_cast<uint32_t>(kGet.size()));
  CHECK_EQ(next(whole(), "\r\n" + kGet).offset, size_t{2});
}

TEST("http1: a peer that expects a word is prompted while its whole body is missing, and told of where the body is streamed") {
  const std::string head = post("Expect: 100-Continue\r\nContent-Length: 9\r\n");
  const FrameCut missing = next(whole(), head);
  CHECK_EQ(missing.kind, FrameCut::Kind::kPartial);
  CHECK_EQ(missing.prompt, std::string_view("HTTP/1.1 100 Continue\r\n\r\n"));
  CHECK(next(whole(), head + "123456789").prompt.empty());
  CHECK((next(streaming(), head).info & kHttp1Expects) != 0);
  CHECK(next(whole(), "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n").prompt.empty());
}

TEST("http1: a declared body is asked for at once, and not allocated") {
  const std::string head = post("Content-Length: 1000000\r\n");
  CHECK_EQ(next(whole(), head).needed, head.size() + 1000000);
}

TEST("http1: limits pass what is exactly so large, and refuse one byte more") {
  FramingConfig config = whole();
  config.maxHeadBytes = static_cast<uint32_t>(kGet.size());
  CHECK_EQ(cut(config, kGet).code, 0);
  config.maxHeadBytes -= 1;
  CHECK_EQ(cut(config, kGet).code, 431);
  config.maxHeadBytes = 10;
  CHECK_EQ(cut(config, kGet).code, 414);
  config = whole();
  config.maxBytes = 5;
  CHECK_EQ(cut(config, post("Content-Length: 5\r\n", "abcde")).code, 0);
  CHECK_EQ(cut(config, post("Content-Length: 6\r\n", "abcdef")).code, 413);
  CHECK_EQ(cut(config, chunked("2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n")).code, 0);
  CHECK_EQ(cut(config, chunked("2\r\nab\r\n4\r\ncdef\r\n0\r\n\r\n")).code, 413);
  config = whole();
  config.maxHeaders = 2;
  CHECK_EQ(cut(config, post("A: b\r\n")).code, 0);
  CHECK_EQ(cut(config, post("A: b\r\nC: d\r\n")).code, 431);
  CHECK_EQ(cut(config, chunked("0\r\nA: b\r\nC: d\r\nE: f\r\n\r\n")).code, 431);
}

TEST("http1: extensions of a chunk may be all that their grammar has") {
  for (const char* extensions : {";a", ";a=b", ";a;b=c", " ;\ta = b\t; c", ";a=\"\"", ";a=\"x;y=z \t!\xe4\"",
                                 ";a=\"\\\"\\\\\\x\";b", ";!#$%&'*+-.^_`|~09azAZ=!#$%&'*+-.^_`|~09azAZ"}) {
    for (const bool streams : {false, true}) {
      FramingConfig config = streams ? streaming() : whole();
      const Http1Outcome outcome =
          cut(config, chunked(std::string("5") + extensions + "\r\nabcde\r\n0" + extensions + "\r\n\r\n"));
      CHECK_EQ(outcome.code, 0);
      CHECK_EQ(outcome.messages.size(), 1u);
    }
  }
}

TEST("http1: chunks may not weigh much more than what they carry") {
  FramingConfig config = whole();
  config.maxBytes = 100;
  std::string body;
  for (int i = 0; i < 90; ++i) body += "1;" + std::string(240, 'x') + "\r\na\r\n";
  const std::string stream = chunked(body + "0\r\n\r\n");
  const size_t ends[] = {stream.size()};
  CHECK_EQ(cutHttp1(config, stream, ends).outcome.code, 413);
}

// As a streamed body's head leaves it: the line of a chunk is next.
constexpr uint64_t kStateBeforeChunk = 3;

TEST("http1: a head or a body that comes byte by byte costs the same for each byte, however long it is") {
  const auto head = [](const std::string& more) { return "GET / HTTP/1.1\r\nHost: a\r\n" + more + "\r\n"; };
  // A trailer behind a streamed body, of which the piece before it has been cut.
  const auto trailer = [](const std::string& fields) { return "0\r\n" + fields + "\r\n"; };
  const std::vector<std::function<std::string(size_t)>> streams = {
      [&](size_t n) { return trailer("Value: " + std::string(n, 'v') + "\r\n"); },
      [&](size_t n) {
        std::string fields;
        for (size_t i = 0; i < n / 8; ++i) fields += "a:\r\n";
        return trailer(fields);
      },
      [](size_t n) { return "GET /" + std::string(n, 't') + " HTTP/1.1\r\nHost: a\r\n\r\n"; },
      [&](size_t n) { return head("Value: " + std::string(n, 'v') + "\r\n"); },
      [&](size_t n) { return head(std::string(n, 'n') + ": v\r\n"); },
      [&](size_t n) {
        std::string text;
        for (size_t i = 0; i < n / 4; ++i) text += "\r\n";
        std::string fields;
        for (size_t i = 0; i < n / 8; ++i) fields += "a:\r\n";
        return text + head(fields);
      },
      // The longer the head, the more chunks are behind it.
      [&](size_t n) {
        std::string text = head("Transfer-Encoding: chunked\r\nValue: " + std::string(n, 'v') + "\r\n");
        for (size_t i = 0; i < n / 6; ++i) text += "1\r\nx\r\n";
        return text + "0\r\n\r\n";
      },
  };
  FramingConfig config;
  config.kind = FramingKind::kHttp1;
  config.maxHeadBytes = 100'000;
  config.maxHeaders = 100'000;
  for (const auto& stream : streams) {
    CHECK_GROWTH(1'500, [&](size_t n) {
      const std::string text = stream(n);
      const auto* data = reinterpret_cast<const uint8_t*>(text.data());
      const Steps steps;
      FrameCut cut;
      for (size_t size = 1; size <= text.size(); ++size) {
        if (size < cut.needed) continue;
        cut = nextHttp1(config, data, size, cut.scanned, text[0] == '0' ? kStateBeforeChunk : 0);
        CHECK(cut.kind == (size < text.size() ? FrameCut::Kind::kPartial : FrameCut::Kind::kFrame));
      }
      return steps.taken();
    });
  }
}

TEST("http1: random requests and their mutations agree with the reference in random parts") {
  std::mt19937_64 engine(20261125);
  const auto below = [&](size_t bound) { return static_cast<size_t>(engine() % bound); };
  std::vector<std::string> seeds = {kGet, post("Content-Length: 3\r\n", "abc"),
                                    chunked("3\r\nabc\r\n1;a=b\r\nd\r\n0\r\nA: b\r\n\r\n"), "\r\nOPTIONS * HTTP/1.0\r\n\r\n",
                                    "HEAD http://a/b?c HTTP/1.1\r\nHost:a\r\nA:\t b \r\n\r\n"};
  for (const Refused& each : refused()) seeds.push_back(each.stream);
  const std::string alphabet("\r\n \t:;,0159afA/\0\x7f\x80", 19);
  for (int round = 0; round < 6000; ++round) {
    FramingConfig config = below(2) == 0 ? whole() : streaming();
    if (below(4) == 0) config.maxHeadBytes = static_cast<uint32_t>(20 + below(80));
    if (below(4) == 0) config.maxBytes = below(8);
    if (below(8) == 0) config.maxHeaders = static_cast<uint32_t>(1 + below(3));
    std::string stream;
    for (size_t i = 0; i < 1 + below(3); ++i) stream += below(2) == 0 ? seeds[below(5)] : seeds[below(seeds.size())];
    for (size_t i = below(4); i > 0 && !stream.empty(); --i) {
      const size_t at = below(stream.size());
      if (below(3) == 0) {
        stream.erase(at, 1);
      } else if (below(2) == 0) {
        stream.insert(at, 1, alphabet[below(alphabet.size())]);
      } else {
        stream[at] = alphabet[below(alphabet.size())];
      }
    }
    std::vector<size_t> ends;
    for (size_t end = 0; end < stream.size();) ends.push_back(end = std::min(stream.size(), end + 1 + below(30)));
    if (const auto wrong = compareHttp1(config, stream, ends)) {
      Note note([&] { return "round " + std::to_string(round) + "\n" + stream; });
      fail(__FILE__, __LINE__, *wrong);
    }
  }
}
