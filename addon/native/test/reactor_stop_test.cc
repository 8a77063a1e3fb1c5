// Hooks that stop in the middle of the received bytes, frame after frame, and framers of the driving thread that are shown a
// frame piece by piece: each byte costs about the same, however much lies behind it.
#include "reactors.h"
#include "steps.h"

using namespace mr;
using namespace mr::test;

namespace {

struct Protocol {
  FramingKind kind;
  std::string frame;
};

std::vector<Protocol> protocols() {
  return {{FramingKind::kDelimiter, "a line\n"},
          {FramingKind::kWebSocket, std::string("\x82\x84mask\x05\x04\x03\x02", 10)},
          {FramingKind::kHttp1, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"}};
}

std::string times(const std::string& text, size_t n) {
  std::string all;
  for (size_t i = 0; i < n; ++i) all += text;
  return all;
}

// Serves so many frames that come at once. `stop` is the hook's action for each; `go` follows when the turn is over.
struct Stopping {
  using Does = std::function<void(Reactor&, const EventRow&)>;

  Stopping(const Protocol& protocol, size_t frames, uint32_t reactors, Does stop, Does go)
      : server(configOf(protocol), reactors), peer(server.connect()) {
    for (uint32_t i = 0; i < reactors; ++i) {
      server.js(i).hook = [this, i, stop](const EventRow& row, std::string_view) {
        Reactor& reactor = server.reactor(i);
        if (row.event == Event::kHandover) CHECK(reactor.moveNow(row.slot, row.generation, {}, false));
        if (row.event != Event::kFrame) return;
        ++seen;
        stop(reactor, row);
        server.js(i).stop(row);
        last = row;
        at = i;
      };
    }
    say(peer, times(protocol.frame, frames));
    const Steps counted;
    size_t gone = 0;
    server.until([&] {
      if (seen != gone) go(server.reactor(at), last);
      gone = seen;
      return seen == frames;
    });
    steps = counted.taken();
  }
  uint64_t framesRead() {
    uint64_t frames = 0;
    for (const auto& reactor : server.reactors) frames += reactor->counters().framesRead.get();
    return frames;
  }
  static ListenerConfig configOf(const Protocol& protocol) {
    ListenerConfig config = lines(false);
    config.framing.kind = protocol.kind;
    return config;
  }

  Reactors server;
  Fd peer;
  size_t seen = 0;
  uint32_t at = 0;
  EventRow last{};
  uint64_t steps = 0;
};

constexpr size_t kFrames = 400;  // twice as many are cut in one turn, and come with one read

void nothing(Reactor&, const EventRow&) {}

}  // namespace

TEST("a hook that pauses at each frame pays for each frame, not for all that lie behind it") {
  const auto pause = [](Reactor& reactor, const EventRow& row) { CHECK(reactor.pause(row.slot, row.generation, row.d)); };
  const auto resume = [](Reactor& reactor, const EventRow& row) { CHECK(reactor.resume(row.slot, row.generation)); };
  for (const Protocol& protocol : protocols()) {
    CHECK_GROWTH(kFrames, [&](size_t n) {
      Stopping one(protocol, n, 1, pause, resume);
      CHECK_EQ(one.framesRead(), n);
      return one.steps;
    });
  }
}

TEST("a hook that names a framing at each frame pays for each frame, not for all that lie behind it") {
  for (const Protocol& protocol : protocols()) {
    FramingConfig framing = Stopping::configOf(protocol).framing;
    const auto reframe = [&](Reactor& reactor, const EventRow& row) {
      CHECK(reactor.setFraming(row.slot, row.generation, framing, row.d) == Reactor::Framed::kDone);
    };
    CHECK_GROWTH(kFrames, [&](size_t n) { return Stopping(protocol, n, 1, reframe, nothing).steps; });
  }
}

TEST("a connection that moves at each frame takes what lies behind it along without a look") {
  const auto move = [](Reactor& reactor, const EventRow& row) {
    CHECK(reactor.moveTo(row.slot, row.generation, 1 - reactor.index(), row.d));
  };
  for (const Protocol& protocol : protocols()) {
    CHECK_GROWTH(kFrames / 2, [&](size_t n) {
      Stopping one(protocol, n, 2, move, nothing);
      CHECK_EQ(one.framesRead(), n);
      return one.steps;
    });
  }
}

TEST("a hook that stops now and then gets its frames in few rows, each once, in order") {
  Reactors server(lines(false));
  EventRow last{};
  bool paused = false;
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame || !frame.ends_with("7")) return;
    last = row;
    paused = server.reactor().pause(row.slot, row.generation, row.d);
    server.js().stop(row);
  };
  const Fd peer = server.connect();
  std::string text, wanted;
  for (int i = 0; i < 900; ++i) {
    text += std::to_string(i) + "\n";
    wanted += std::to_string(i) + "|";
  }
  say(peer, text);
  server.until([&] {
    if (std::exchange(paused, false)) CHECK(server.reactor().resume(last.slot, last.generation));
    return server.js().saw("0 frame 899");
  });
  CHECK_EQ(server.js().frames(0), wanted);
  CHECK_EQ(server.reactor().counters().framesRead.get(), 900u);
}

TEST("custom: a thread that holds what is unread is shown only what comes behind it") {
  CHECK_GROWTH(2'000, [](size_t n) {
    ListenerConfig config = lines(false);
    config.framing.kind = FramingKind::kCustom;
    Reactors server(config);
    std::string seen;
    server.js().hook = [&](const EventRow& row, std::string_view bytes) {
      if (row.event != Event::kReceived) return;
      CHECK_EQ(row.d, seen.size());
      seen += bytes;
      CHECK(server.reactor().consumed(row.slot, row.generation, 0, 0, true));
    };
    const Fd peer = server.connect();
    const Steps steps;
    for (size_t i = 1; i <= n; ++i) {
      say(peer, "x");
      server.until([&] { return seen.size() == i; });
    }
    return steps.taken();
  });
}

TEST("custom: the next thread, and that of a sibling, are shown all that is unread") {
  ListenerConfig config = lines(false);
  config.framing.kind = FramingKind::kCustom;
  Reactors server(config, 2);
  EventRow last{};
  const auto holding = [&](uint32_t index, uint32_t used) {
    return [&, index, used](const EventRow& row, std::string_view) {
      if (row.event == Event::kHandover) CHECK(server.reactor(index).moveNow(row.slot, row.generation, {}, false));
      if (row.event != Event::kReceived) return;
      last = row;
      CHECK(server.reactor(index).consumed(row.slot, row.generation, used, 0, true));
    };
  };
  server.js().hook = holding(0, 1);
  server.js(1).hook = holding(1, 0);
  const Fd peer = server.connect("abc");
  server.until([&] { return server.js().saw("0 received abc"); });
  say(peer, "d");
  server.until([&] { return server.js().saw("0 received d"); });
  CHECK_EQ(last.d, 2u);
  server.leave();
  server.takeOver(false);
  server.js().hook = holding(0, 0);
  server.until([&] { return server.js().saw("0 received cd"); });
  CHECK(server.reactor().moveTo(last.slot, last.generation, 1, Reactor::kOutsideMessage));
  server.until([&] { return server.js(1).saw("0 received cd"); });
  CHECK_EQ(last.d, 0u);
}
