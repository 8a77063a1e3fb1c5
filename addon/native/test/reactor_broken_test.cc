// Peers that reset behind what they have sent: it is read first, in whatever state their connection is.
#include <sys/ioctl.h>

#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

// The first reactor listens on TCP too: a Unix path knows no reset. Slot 0 is the first client's.
struct Tcp : Reactors {
  explicit Tcp(const ListenerConfig& config, uint32_t count = 1) : Reactors(config, count) {
    const auto group = must(ListenerGroup::open(loopback(), {}));
    port = group->address();
    reactor().listen(0, group, 0, false);
    js().hook = [this](const EventRow& row, std::string_view bytes) {
      last = row;
      if (row.event == Event::kOpen && pauses) CHECK(reactor().pause(row.slot, row.generation, Reactor::kOutsideMessage));
      if (row.event == Event::kClose) error = static_cast<int>(row.a >> 8);
      hook(row, bytes);
    };
  }
  Fd client() {
    const uint64_t before = reactor().counters().accepted.get();
    Fd fd = connected(port);
    until([&] { return reactor().counters().accepted.get() == before + 1; });
    turns(2);
    generation = last.generation;
    return fd;
  }
  // Nothing is left to do: whoever waits for the descriptor sleeps.
  void expectRest() {
    until([&] { return !reactor().turn(0); });
    for (int i = 0; i < 3; ++i) {
      CHECK(!isReady(reactor().fd(), POLLIN, 0));
      CHECK(!reactor().turn(0));
    }
  }
  void untilClosed(CloseReason reason, int told) {
    // Only when it is asked to: a turn that nobody asks for would hide that one is missing.
    const std::string line = "0 close " + std::string(kCloseReasonNames[static_cast<size_t>(reason)]);
    for (;;) {
      if (reactor().turn(0)) continue;
      if (js().saw(line)) break;
      const int64_t timer = reactor().untilNextTimerMs();
      CHECK(isReady(reactor().fd(), POLLIN, timer < 0 ? kPatienceMs : static_cast<int>(timer)) || timer >= 0);
    }
    CHECK_EQ(closed(reason), 1u);
    CHECK_EQ(error, told);
  }

  Address port;
  bool pauses = false;
  int error = -1;
  EventRow last{};
  uint32_t generation = 0;
  std::function<void(const EventRow&, std::string_view)> hook = [](const EventRow&, std::string_view) {};
};

void resets(Fd& fd) {
  must(sock::setLingerReset(fd.get()));
  fd.reset();
}

void ends(const Fd& fd) { CHECK_EQ(::shutdown(fd.get(), SHUT_WR), 0); }

std::string numbers(int count, const char* behind) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i) + behind;
  return text;
}

}  // namespace

TEST("reset: what came before it is read, over many turns, and then it is told") {
  Tcp server(lines(false));
  Fd client = server.client();
  say(client, numbers(5000, "\n"));
  resets(client);
  server.untilClosed(CloseReason::kReset, ECONNRESET);
  CHECK_EQ(server.js().frames(0), numbers(5000, "|"));
}

TEST("reset: behind an end it is none") {
  Tcp server(lines(false));
  Fd client = server.client();
  say(client, numbers(5000, "\n"));
  ends(client);
  resets(client);
  server.untilClosed(CloseReason::kEnd, 0);
  CHECK_EQ(server.js().frames(0), numbers(5000, "|"));
  CHECK(server.js().saw("0 end"));
}

TEST("reset: behind frames that one read brings, and behind one that takes two") {
  for (const size_t size : {1u, 100'000u}) {
    for (const bool hasEnded : {false, true}) {
      Tcp server(lines(false));
      Fd client = server.client();
      const std::string frame(size, 'a');
      say(client, frame + "\n");
      if (hasEnded) ends(client);
      resets(client);
      server.untilClosed(hasEnded ? CloseReason::kEnd : CloseReason::kReset, hasEnded ? 0 : ECONNRESET);
      CHECK_EQ(server.js().frames(0), frame + "|");
      CHECK_EQ(server.js().saw("0 end"), hasEnded);
    }
  }
}

TEST("reset: who is paused is read when he goes on, and keeps no turn from ending meanwhile") {
  for (const bool hasEnded : {false, true}) {
    Tcp server(lines(false));
    server.pauses = true;
    Fd client = server.client();
    say(client, "a\nb\n");
    if (hasEnded) ends(client);
    resets(client);
    server.turns(20);
    CHECK_EQ(server.open(), 1u);
    server.expectRest();
    CHECK_EQ(server.js().frames(0), "");
    CHECK(server.reactor().resume(0, server.generation));
    server.untilClosed(hasEnded ? CloseReason::kEnd : CloseReason::kReset, hasEnded ? 0 : ECONNRESET);
    CHECK_EQ(server.js().frames(0), "a|b|");
  }
}

TEST("reset: who is paused and has nothing to read hears of it at once") {
  Tcp server(lines(false));
  server.pauses = true;
  Fd client = server.client();
  resets(client);
  server.untilClosed(CloseReason::kReset, ECONNRESET);
}

TEST("reset: frames that lie behind a pause are not lost with a socket that is empty") {
  Tcp server(lines(false));
  server.hook = [&](const EventRow& row, std::string_view frame) {
    if (frame != "stop") return;
    CHECK(server.reactor().pause(row.slot, row.generation, row.d));
    server.js().stop(row);
  };
  Fd client = server.client();
  say(client, "stop\na\nb\n");
  server.until([&] { return server.js().frames(0) == "stop|"; });
  resets(client);
  server.turns(20);
  CHECK_EQ(server.open(), 1u);
  server.expectRest();
  CHECK(server.reactor().resume(0, server.generation));
  // The socket has told its error by now, and says an end.
  server.untilClosed(CloseReason::kReset, ECONNRESET);
  CHECK_EQ(server.js().frames(0), "stop|a|b|");
  CHECK(!server.js().saw("0 end"));
}

TEST("reset: a send that finds it out loses nothing of what was received, and nobody is told that it has left") {
  Tcp server(lines(false));
  bool isFull = false;
  server.hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kFrame) return;
    const auto result = server.reactor().write(row.slot, row.generation, spanOf("answer\n"), Reactor::Place::kInOrder);
    isFull = result == Reactor::WriteResult::kFull;
  };
  Fd client = server.client();
  say(client, numbers(5000, "\n"));
  resets(client);
  server.untilClosed(CloseReason::kReset, ECONNRESET);
  CHECK_EQ(server.js().frames(0), numbers(5000, "|"));
  CHECK(isFull);
  CHECK(!server.js().saw("0 drain"));
  // The send has got the error, so that the socket says an end.
  CHECK(!server.js().saw("0 end"));
}

TEST("reset: behind a send that has got the error, the socket says an end, and that is none") {
  Tcp server(lines(false));
  Fd client;
  server.hook = [&](const EventRow& row, std::string_view frame) {
    if (frame != "a") return;
    say(client, "b\n");
    resets(client);
    (void)server.reactor().write(row.slot, row.generation, spanOf("answer\n"), Reactor::Place::kInOrder);
  };
  client = server.client();
  say(client, "a\n");
  server.untilClosed(CloseReason::kReset, ECONNRESET);
  CHECK_EQ(server.js().frames(0), "a|b|");
  CHECK(!server.js().saw("0 end"));
}

// Much lies in the server's socket when its answers are lost.
TEST("reset: a peer that cannot be answered is read for a bounded number of bytes, and nothing is kept for it") {
  constexpr uint64_t kMost = 64 << 10, kOneRead = 64 << 10;
  Tcp server(lines(false));
  server.pauses = true;
  size_t answers = 0;
  server.hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kFrame) return;
    const std::string answer(32 << 10, 'x');
    (void)server.reactor().write(row.slot, row.generation, spanOf(answer), Reactor::Place::kInOrder);
    ++answers;
    CHECK(server.reactor().counters().buffered.get() <= 2 * kOneRead);
  };
  Fd client = server.client();
  const int receiver = otherEndOf(client);
  growReceiveBuffer(receiver);
  const std::string some = numbers(500, "\n");
  int unread = 0;
  while (static_cast<uint64_t>(unread) < 2 * (kMost + kOneRead)) {
    say(client, some);
    CHECK_EQ(::ioctl(receiver, FIONREAD, &unread), 0);
  }
  resets(client);
  server.turns(5);
  CHECK_EQ(server.js().frames(0), "");
  CHECK(server.reactor().resume(0, server.generation));
  server.untilClosed(CloseReason::kReset, ECONNRESET);
  CHECK(server.reactor().counters().bytesRead.get() >= kMost);
  CHECK(server.reactor().counters().bytesRead.get() <= kMost + 2 * kOneRead);
  CHECK(answers > 0);
}

TEST("reset: what waits to be sent does not keep what was received from being read") {
  ListenerConfig config = lines(false);
  config.outHighBytes = 64 << 10;
  config.outMaxBytes = 64 << 20;  // no frame is set aside, which would make the reactor look at it
  Tcp server(config);
  const std::string much(8 << 20, 'x');
  server.hook = [&](const EventRow& row, std::string_view frame) {
    if (frame == "much") (void)server.reactor().write(row.slot, row.generation, spanOf(much), Reactor::Place::kInOrder);
  };
  Fd client = server.client();
  say(client, "much\n");
  server.until([&] { return server.reactor().counters().pausesByPeer.get() == 1; });
  say(client, "a\nb\n");
  server.turns(5);
  CHECK_EQ(server.js().frames(0), "much|");
  resets(client);
  server.untilClosed(CloseReason::kReset, ECONNRESET);
  CHECK_EQ(server.js().frames(0), "much|a|b|");
}

TEST("reset: who is paused and has lost what was to be sent has the time of a write") {
  ListenerConfig config = lines(false);
  config.writeMs = 40;
  Tcp server(config);
  Fd client = server.client();
  CHECK(server.reactor().pause(0, server.generation, Reactor::kOutsideMessage));
  say(client, "never read\n");
  resets(client);
  server.turns(5);
  CHECK_EQ(server.open(), 1u);
  CHECK(server.reactor().write(0, server.generation, spanOf("lost\n"), Reactor::Place::kBetween) != Reactor::WriteResult::kGone);
  server.reactor().flush();
  server.untilClosed(CloseReason::kReset, ECONNRESET);
}

TEST("reset: who is paused has the time of an idle connection") {
  ListenerConfig config = lines(false);
  config.idleMs = 40;
  Tcp server(config);
  server.pauses = true;
  Fd client = server.client();
  say(client, "never read\n");
  resets(client);
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kIdleTimeout), 1u);
}

TEST("reset: who is paused does not keep a reactor from closing") {
  Tcp server(lines(false));
  server.pauses = true;
  Fd client = server.client();
  say(client, "never read\n");
  resets(client);
  server.turns(5);
  CHECK_EQ(server.open(), 1u);
  server.reactor().drain(40);
  server.until([&] { return server.js().saw("0 drained"); });
}

TEST("reset: the pool gets what came before it, as it has room") {
  ListenerConfig config = lines(true);
  config.maxInFlight = 2;
  Tcp server(config);
  Fd client = server.client();
  say(client, numbers(50, "\n"));
  resets(client);
  for (int i = 0; i < 50; ++i) {
    const FrameRef frame = server.task();
    CHECK_EQ(server.bodyOf(frame), std::to_string(i));
    server.echo(frame);
  }
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kReset), 1u);
}

TEST("reset: a stream gets it, and hears of no error behind an end until it writes") {
  for (const bool writes : {false, true}) {
    Tcp server(lines(false));
    server.hook = [&](const EventRow& row, std::string_view) {
      if (row.event == Event::kOpen) CHECK(server.reactor().stream(row.slot, row.generation));
    };
    Fd client = server.client();
    say(client, "a\nb\n");
    ends(client);
    resets(client);
    server.until([&] { return server.js().saw("0 end"); });
    CHECK_EQ(server.js().frames(0), "a|b|");
    server.turns(10);
    CHECK_EQ(server.open(), 1u);
    server.expectRest();
    if (writes) {
      (void)server.reactor().write(0, server.generation, spanOf("x"), Reactor::Place::kBetween, Writer::kStream);
      server.untilClosed(CloseReason::kReset, EPIPE);
    } else {
      CHECK(server.reactor().finish(0, server.generation));
      server.untilClosed(CloseReason::kEnd, 0);
    }
  }
}

TEST("reset: a stream that is not read keeps what it holds") {
  Tcp server(lines(false));
  server.hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kOpen) CHECK(server.reactor().stream(row.slot, row.generation));
  };
  Fd client = server.client();
  say(client, "held\n");
  server.until([&] { return server.js().frames(0) == "held|"; });
  CHECK(server.reactor().pause(0, server.generation, Reactor::kOutsideMessage));
  resets(client);
  server.turns(20);
  CHECK_EQ(server.open(), 1u);
  server.expectRest();
  CHECK(server.reactor().resume(0, server.generation));
  server.untilClosed(CloseReason::kReset, ECONNRESET);
}

TEST("reset: a stream that is not read, and whose writer waits, hears of it at once") {
  Tcp server(lines(false));
  server.hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kOpen) return;
    CHECK(server.reactor().stream(row.slot, row.generation));
    const std::string much(8 << 20, 'x');
    (void)server.reactor().write(row.slot, row.generation, spanOf(much), Reactor::Place::kBetween, Writer::kStream);
  };
  Fd client = server.client();
  CHECK(server.reactor().pause(0, server.generation, Reactor::kOutsideMessage));
  say(client, "held\n");
  resets(client);
  server.untilClosed(CloseReason::kReset, ECONNRESET);
}

TEST("reset: a connection that moves is read by its new reactor, which says the same of it") {
  Tcp server(lines(false), 2);
  server.hook = [&](const EventRow& row, std::string_view frame) {
    if (row.event == Event::kHandover) CHECK(server.reactor().moveNow(row.slot, row.generation, {}, false));
    if (frame != "stop") return;
    CHECK(server.reactor().pause(row.slot, row.generation, row.d));
    server.js().stop(row);
  };
  Fd client = server.client();
  say(client, "stop\na\n");
  server.until([&] { return server.js().frames(0) == "stop|"; });
  resets(client);
  server.turns(5);
  uint32_t generation = 0;
  server.js(1).hook = [&](const EventRow& row, std::string_view) { generation = row.generation; };
  CHECK(server.reactor().moveTo(0, server.generation, 1, Reactor::kOutsideMessage));
  server.until([&] { return generation != 0; });
  CHECK(server.reactor(1).resume(0, generation));
  server.until([&] { return server.open(1) == 0; });
  CHECK_EQ(server.js(1).frames(0), "a|");
  CHECK_EQ(server.closed(CloseReason::kReset, 1), 1u);
}

TEST("reset: behind TLS the last records are read, and so is the goodbye") {
  for (const bool hasEnded : {false, true}) {
    ListenerConfig config = lines(false);
    config.secure = true;
    Tcp server(config);
    std::vector<std::string> ciphers;
    bool isCipherEnd = false;
    uint32_t generation = 0;
    server.hook = [&](const EventRow& row, std::string_view bytes) {
      if (row.event != Event::kCipher) return;
      if (row.c != 0) ciphers.emplace_back(bytes);
      isCipherEnd = isCipherEnd || row.c == 0;
      generation = row.generation;
    };
    Fd client = server.client();
    say(client, "a\nb\n");
    if (hasEnded) ends(client);
    resets(client);
    // Its thread takes its time.
    server.until([&] { return !ciphers.empty(); });
    server.turns(10);
    CHECK_EQ(server.open(), 1u);
    server.expectRest();
    Reactor& reactor = server.reactor();
    CHECK(reactor.established(0, generation));
    CHECK(reactor.feed(0, generation, spanOf(ciphers[0])));
    CHECK(reactor.decrypted(0, generation));
    if (hasEnded) {
      server.until([&] { return isCipherEnd; });
      server.expectRest();
      CHECK(reactor.feedEnd(0, generation));
      // As a layer does of its own accord.
      CHECK(reactor.writeCipher(0, generation, spanOf("(bye)")));
    }
    server.untilClosed(CloseReason::kReset, hasEnded ? EPIPE : ECONNRESET);
    CHECK_EQ(server.js().frames(0), "a|b|");
    CHECK_EQ(server.js().saw("0 end"), hasEnded);
  }
}
