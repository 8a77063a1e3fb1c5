// Framings that remember something between two frames, bad frames that are answered, and peers that are prompted.
#include "codec/http1.h"
#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr uint32_t kHooks = kHookOpen | kHookMessage | kHookClose | kHookBadFrame;

ListenerConfig http(bool streamsBody) {
  ListenerConfig config = lines(false);
  config.framing.kind = FramingKind::kHttp1;
  config.framing.streamsBody = streamsBody;
  config.hooks = kHooks;
  return config;
}

std::string post(size_t length) { return "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + std::to_string(length) + "\r\n\r\n"; }

// Answers each frame with `said`, and a bad one with its code.
void answer(Reactors& server, const std::string& said) {
  server.js().hook = [&server, said](const EventRow& row, std::string_view) {
    const std::string text = row.event == Event::kBadFrame ? std::to_string(row.b) : said;
    if (row.event != Event::kFrame && row.event != Event::kBadFrame) return;
    (void)server.reactor().write(row.slot, row.generation, spanOf(text), Reactor::Place::kInOrder);
  };
}

}  // namespace

TEST("the hook of a bad frame has the last word, behind the frames before it") {
  Reactors server(http(false));
  answer(server, "ok ");
  const Fd a = server.connect();
  say(a, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK_EQ(server.read(a, 64), "ok 400");
  ::shutdown(a.get(), SHUT_WR);
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kMalformed), 1u);
}

TEST("the hook of a bad frame writes behind replies that are still to come") {
  Reactors server(http(false));
  uint64_t sequence = 0;
  EventRow first{};
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kFrame) {
      CHECK(server.reactor().defer(row.slot, row.generation, &sequence));
      first = row;
    } else if (row.event == Event::kBadFrame) {
      (void)server.reactor().write(row.slot, row.generation, spanOf("bad"), Reactor::Place::kInOrder);
    }
  };
  const Fd a = server.connect();
  say(a, "GET / HTTP/1.1\r\nHost: a\r\n\r\nnonsense\r\n\r\n");
  server.until([&] { return server.js().saw("0 bad malformed-frame 400"); });
  server.turns(3);
  (void)server.reactor().settleDeferred(first.slot, first.generation, sequence, spanOf("late "), Reply::kLast);
  CHECK_EQ(server.read(a, 64), "late bad");
}

TEST("a bad frame whose other frames go to the pool is answered by the hook, behind their replies") {
  ListenerConfig config = http(false);
  config.toPool = true;
  config.hooks = kHookBadFrame;
  Reactors server(config);
  answer(server, "");
  const Fd a = server.connect();
  say(a, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/2.0\r\n\r\n");
  const FrameRef frame = server.task();
  server.until([&] { return server.js().saw("0 bad malformed-frame 505"); });
  server.reply(frame, "pool ");
  CHECK_EQ(server.read(a, 64), "pool 505");
}

TEST("a frame that is late is told to the hook, in the middle of a message too") {
  ListenerConfig config = http(true);
  config.frameMs = 50;
  Reactors server(config);
  answer(server, "+");
  const Fd a = server.connect(), b = server.connect();
  say(a, "GET / HT");
  say(b, post(10) + "abc");
  CHECK_EQ(server.read(a, 64), "0");
  CHECK_EQ(server.read(b, 64), "++0");
  CHECK(server.js().saw("0 bad frame-timeout 0"));
  CHECK(server.js().saw("1 bad frame-timeout 0"));
}

TEST("a message that is under way when the time for requests is over goes on, and nobody is woken until then") {
  Reactors server(http(true));
  answer(server, "+");
  const Fd a = server.connect(post(6) + "abc");
  server.until([&] { return server.js().saw("0 frame abc"); });
  server.reactor().leaveListeners(1);
  server.reactor().drain(1000);
  const uint64_t over = monotonicMs() + 3;
  server.until([&] { return monotonicMs() >= over && server.reactor().untilNextTimerMs() != 0; });
  say(a, "def");
  server.until([&] { return server.js().saw("0 frame def"); });
  CHECK_EQ(server.read(a, 64), "+++");
}

TEST("a message that stops in the middle of a batch goes on where it stopped") {
  Reactors server(http(true));
  EventRow at{};
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame || frame != "ab") return;
    at = row;
    server.js().stop(row);
    CHECK(server.reactor().pause(row.slot, row.generation, row.d));
  };
  const Fd a = server.connect();
  say(a, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n");
  server.until([&] { return server.js().saw("0 frame ab"); });
  server.turns(3);
  CHECK(!server.js().saw("0 frame cde"));
  CHECK(server.reactor().resume(at.slot, at.generation));
  server.until([&] { return server.js().saw("0 frame cde"); });
  server.turns(3);
  CHECK_EQ(server.js().frames(0).substr(server.js().frames(0).size() - 9), "|ab|cde||");
}

TEST("a message is where it was when the next thread takes over in the middle of its batch") {
  Reactors server(http(true));
  const Fd a = server.connect(), b = server.connect();
  say(a, post(6) + "abc");
  server.until([&] { return server.js().saw("0 frame abc"); });
  say(a, "defGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  server.js().diesBefore = "0 frame def";
  server.replaceDead();
  server.until([&] { return server.js().saw("0 frame GET / HTTP/1.1\r\nHost: a\r\n\r\n"); });
  CHECK_EQ(server.js().frames(0), "def|GET / HTTP/1.1\r\nHost: a\r\n\r\n|");
}

TEST("a message goes to a sibling with what its framing remembers") {
  Reactors server(http(true), 2);
  EventRow at{};
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kFrame) at = row;
    if (row.event == Event::kHandover) CHECK(server.reactor().moveNow(row.slot, row.generation, {}, false));
  };
  const Fd a = server.connect();
  say(a, post(6) + "abc");
  server.until([&] { return server.js().saw("0 frame abc"); });
  CHECK(server.reactor().moveTo(at.slot, at.generation, 1, Reactor::kOutsideMessage));
  server.until([&] { return server.js().saw("0 moved"); });
  say(a, "def" + post(0));
  server.until([&] { return server.js(1).frames(0) == "def|" + post(0) + "|"; });
}

TEST("a message that has begun may end while the reactor drains") {
  Reactors server(http(true));
  const Fd a = server.connect();
  uint64_t sequence = 0;
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame) return;
    if (sequence == 0 && frame == "abc") CHECK(server.reactor().defer(row.slot, row.generation, &sequence));
    if (frame == "def") (void)server.reactor().settleDeferred(row.slot, row.generation, sequence, spanOf("done"), Reply::kLast);
  };
  say(a, post(6) + "abc");
  server.until([&] { return server.js().saw("0 frame abc"); });
  server.reactor().drain(1000);
  server.turns(3);
  say(a, "def");
  CHECK_EQ(server.read(a, 64), "done");
}

TEST("a peer that waits for a word gets it once, behind the replies before it") {
  Reactors server(http(false));
  answer(server, "ok ");
  const Fd a = server.connect();
  const std::string expecting = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
  say(a, post(0) + expecting);
  CHECK_EQ(server.read(a, 28), "ok HTTP/1.1 100 Continue\r\n\r\n");
  say(a, "a");
  server.turns(3);
  say(a, "bc" + post(0));
  CHECK_EQ(server.read(a, 6), "ok ok ");
}
