// Time limits of a connection, and the fate of frames without room in the queue.
#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr uint32_t kLimitMs = 40;

// The time until a connection has been closed for this reason.
uint64_t timeUntilClosed(Reactors& server, CloseReason reason) {
  const uint64_t start = monotonicMs();
  server.until([&] { return server.closed(reason) != 0; });
  return monotonicMs() - start;
}

void spend(Reactors& server, uint64_t milliseconds) {
  const uint64_t end = monotonicMs() + milliseconds;
  server.until([&] { return monotonicMs() >= end; });
}

// Without a turn.
void wait(uint64_t milliseconds) {
  const uint64_t end = monotonicMs() + milliseconds;
  CHECK(becomes([&] { return monotonicMs() >= end; }));
}

bool isClosed(const Fd& fd) {
  char byte;
  const Result<size_t> got = sock::receive(fd.get(), &byte, 1);
  return got.ok() ? got.value == 0 : got.error != EAGAIN;
}

// Sends until neither kernel nor server takes more. Returns the bytes that the server has taken.
uint64_t flood(Reactors& server, const Fd& peer) {
  constexpr uint64_t kFarTooMuch = 40 << 20;
  const std::string chunk(256 << 10, 'x');
  const auto taken = [&] { return server.reactor().counters().bytesRead.get(); };
  const uint64_t before = taken();
  for (int idle = 0; idle < 8 && taken() - before < kFarTooMuch;) {
    const ssize_t sent = ::send(peer.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    CHECK(sent > 0 || errno == EAGAIN);  // a reset would be EPIPE or ECONNRESET
    const uint64_t now = taken();
    server.turns(1);
    idle = sent <= 0 && taken() == now ? idle + 1 : 0;
  }
  return taken() - before;
}

}  // namespace

TEST("end: what a peer sends behind it is read away up to a number of bytes, and our last bytes reach it all the same") {
  // However it comes to its end, and whether frames before it are answered by then.
  struct Way {
    bool toPool;
    std::string says;
    bool answered;
    std::function<void(Reactors&, const EventRow&)> end;
  };
  const auto nothing = [](Reactors&, const EventRow&) {};
  const auto ends = [](Reactors& server, const EventRow& row) {
    CHECK(server.reactor().end(row.slot, row.generation, Reactor::Place::kInOrder));
  };
  const auto drains = [](Reactors& server, const EventRow&) { server.reactor().drain(kPatienceMs); };
  const std::string tooLarge = "x\n" + std::string(5'000, 'y');
  for (const Way& way :
       {Way{true, tooLarge, true, nothing}, Way{true, tooLarge, false, nothing}, Way{false, tooLarge, true, nothing},
        Way{false, "x\n", true, ends}, Way{true, "x\n", true, drains}, Way{true, "x\n", false, drains}}) {
    ListenerConfig config = lines(way.toPool);
    config.framing.maxBytes = 4'096;
    Reactors server(config);
    server.reactor().setLinger(kPatienceMs);  // a slow machine may take longer for so much than a peer has
    server.js().hook = [&](const EventRow& row, std::string_view) {
      if (row.event != Event::kFrame) return;
      server.reactor().write(row.slot, row.generation, spanOf("x\n"), Reactor::Place::kInOrder);
      way.end(server, row);
    };
    const Fd peer = server.connect(way.says);
    FrameRef frame;
    if (way.toPool) {
      frame = server.task();
      way.end(server, {});
      if (way.answered) server.echo(frame);
    } else {
      server.until([&] { return server.js().saw("0 frame x"); });
    }
    server.turns(2);
    const uint64_t taken = flood(server, peer);
    CHECK(taken >= Connection::kMostDiscarded);
    CHECK(taken < Connection::kMostDiscarded + (1 << 20));
    if (way.toPool && !way.answered) server.echo(frame);
    CHECK_EQ(server.read(peer, 100), "x\n");  // and then the end, not a reset
    CHECK_EQ(server.open(), 1u);
  }
}

TEST("end: a peer with less under way than sockets hold finishes in peace") {
  ListenerConfig config = lines(true);
  config.framing.maxBytes = 4'096;
  Reactors server(config);
  const Fd peer = server.connect(std::string(5'000, 'y'));
  const std::string chunk(64 << 10, 'y');
  for (size_t sent = 0; sent < 10 << 20;) {
    const ssize_t some = ::send(peer.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (some > 0) sent += static_cast<size_t>(some);
    server.turns(1);
  }
  CHECK_EQ(server.read(peer, 100), "");
  must(sock::shutdownWrite(peer.get()));
  server.until([&] { return server.closed(CloseReason::kFrameTooLarge) == 1; });
  CHECK_EQ(must(sock::pendingError(peer.get())), 0);
}

TEST("first byte: closes who says nothing, not early, and nobody who spoke") {
  ListenerConfig config = lines(true);
  config.firstByteMs = kLimitMs;
  Reactors server(config);
  const uint64_t start = monotonicMs();
  const Fd silent = server.connect(), speaker = server.connect("x");
  server.until([&] { return server.closed(CloseReason::kFirstByteTimeout) != 0; });
  CHECK(monotonicMs() - start >= kLimitMs);
  spend(server, 2 * kLimitMs);
  CHECK(isClosed(silent));
  CHECK(!isClosed(speaker));
  CHECK_EQ(server.admitted(), 1u);
}

TEST("first byte: a PROXY header is none, and the time for it begins behind the header") {
  ListenerConfig config = lines(true);
  config.firstByteMs = kLimitMs;
  ListenerOptions proxied;
  proxied.proxyFrom = std::make_shared<CidrSet>();
  const std::string header = std::string(kProxyHead) + std::string(kProxyRest);
  for (const Balance::Policy balance : {Balance::Policy::kKernel, Balance::Policy::kApp}) {
    config.balance = balance;
    Reactors server(config, 2, {}, proxied);
    server.js().hook = [&](const EventRow& row, std::string_view) {
      if (row.event == Event::kBalance) CHECK(server.reactor().assign(row.slot, row.generation, 1));
    };
    const auto closed = [&] {
      return server.closed(CloseReason::kFirstByteTimeout) + server.closed(CloseReason::kFirstByteTimeout, 1);
    };
    const Fd nothing = server.connect(), dripping = server.connect(header.substr(0, 20));
    server.until([&] { return closed() == 2; });
    const uint64_t start = monotonicMs();
    const Fd silent = server.connect(header), speaker = server.connect(header + "x");
    server.until([&] { return closed() == 3; });
    CHECK(monotonicMs() - start >= kLimitMs);
    spend(server, 2 * kLimitMs);
    CHECK(isClosed(nothing));
    CHECK(isClosed(dripping));
    CHECK(isClosed(silent));
    CHECK(!isClosed(speaker));
    // One that speaks in time, behind its header.
    const Fd patient = server.connect(header);
    server.turns(4);
    say(patient, "y");
    spend(server, 2 * kLimitMs);
    CHECK(!isClosed(patient));
    CHECK_EQ(closed(), 3u);
  }
}

TEST("frame: a frame must be whole in time, however its bytes drip; between frames there is time") {
  for (const bool toPool : {true, false}) {
    ListenerConfig config = lines(toPool);
    config.frameMs = kLimitMs;
    Reactors server(config);
    const Fd dripping = server.connect(), patient = server.connect();
    say(patient, "x\n");
    spend(server, 2 * kLimitMs);
    CHECK_EQ(server.closed(CloseReason::kFrameTimeout), 0u);
    const uint64_t start = monotonicMs();
    say(dripping, "whole\nha");
    server.until([&] {
      (void)::send(dripping.get(), "d", 1, MSG_NOSIGNAL);
      return server.closed(CloseReason::kFrameTimeout) != 0;
    });
    CHECK(monotonicMs() - start >= kLimitMs);
    CHECK(isClosed(dripping));
    CHECK(!isClosed(patient));
  }
}

TEST("frame: the time that we took is not the peer's") {
  ListenerConfig config = lines(false);
  config.frameMs = kLimitMs;
  Reactors server(config);
  EventRow last{};
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (frame != "x") return;
    last = row;
    CHECK(server.reactor().pause(row.slot, row.generation, row.d));
    server.js().stop(row);
  };
  const Fd a = server.connect();
  say(a, "x\nhalf");
  server.until([&] { return server.js().saw("0 frame x"); });
  spend(server, 3 * kLimitMs);
  CHECK_EQ(server.closed(CloseReason::kFrameTimeout), 0u);
  wait(3 * kLimitMs);
  const uint64_t start = monotonicMs();
  CHECK(server.reactor().resume(last.slot, last.generation));
  timeUntilClosed(server, CloseReason::kFrameTimeout);
  CHECK(monotonicMs() - start >= kLimitMs);
}

TEST("write: the time begins with the write, also long after the last turn") {
  ListenerConfig config = lines(false);
  config.writeMs = kLimitMs;
  Reactors server(config);
  EventRow last{};
  server.js().hook = [&](const EventRow& row, std::string_view) { last = row; };
  const Fd a = server.connect();
  wait(3 * kLimitMs);
  const uint64_t start = monotonicMs();
  const std::string much(10 << 20, 'm');
  (void)server.reactor().write(last.slot, last.generation, spanOf(much), Reactor::Place::kBetween);
  server.reactor().flush();
  timeUntilClosed(server, CloseReason::kWriteTimeout);
  CHECK(monotonicMs() - start >= kLimitMs);
}

TEST("write: closes a peer that takes nothing, and none that takes a little") {
  constexpr uint32_t kWriteMs = 600;
  ListenerConfig config = lines(false);
  config.writeMs = kWriteMs;
  Reactors server(config);
  const std::string much(10 << 20, 'm');
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (frame == "x") server.reactor().write(row.slot, row.generation, spanOf(much), Reactor::Place::kInOrder);
  };
  const Fd slow = server.connect();
  say(slow, "x\n");
  server.until([&] { return server.js().saw("0 frame x"); });
  std::vector<char> some(1 << 20);  // more than the socket holds: epoll says at each reading that there is room
  const uint64_t start = monotonicMs();
  uint64_t readAt = 0;
  server.until([&] {
    const uint64_t now = monotonicMs();
    if (now >= readAt + 100) {
      (void)sock::receive(slow.get(), some.data(), some.size());
      readAt = now;
    }
    return now - start >= 2 * kWriteMs;
  });
  CHECK_EQ(server.closed(CloseReason::kWriteTimeout), 0u);
  CHECK(server.reactor().counters().buffered.get() != 0);
  const uint64_t waited = timeUntilClosed(server, CloseReason::kWriteTimeout);
  CHECK(waited != 0);  // it took a part for the last time a moment ago
}

TEST("idle: closes who neither sends nor waits for an answer") {
  ListenerConfig config = lines(true);
  config.idleMs = kLimitMs;
  Reactors server(config);
  const Fd waiting = server.connect("x\n");
  const FrameRef frame = server.task();
  const Fd idle = server.connect();
  server.until([&] { return server.closed(CloseReason::kIdleTimeout) == 1; });
  spend(server, 2 * kLimitMs);
  CHECK(isClosed(idle));
  CHECK_EQ(server.closed(CloseReason::kIdleTimeout), 1u);
  const uint64_t start = monotonicMs();
  server.echo(frame);
  CHECK_EQ(server.read(waiting, 2), "x\n");
  server.until([&] { return server.closed(CloseReason::kIdleTimeout) == 2; });
  CHECK(monotonicMs() - start >= kLimitMs);
  CHECK_EQ(server.admitted(), 0u);
}

TEST("idle: an answer that comes in the very turn in which the time is over is sent") {
  ListenerConfig config = lines(true);
  config.idleMs = kLimitMs;
  Reactors server(config);
  const Fd client = server.connect("x\n");
  const FrameRef frame = server.task();
  wait(2 * kLimitMs);
  server.echo(frame);
  CHECK_EQ(server.read(client, 2), "x\n");
  server.until([&] { return server.closed(CloseReason::kIdleTimeout) == 1; });
}

TEST("time limits go along to a sibling and over to the next thread") {
  ListenerConfig config = lines(false);
  config.idleMs = kLimitMs;
  Reactors server(config);
  const Fd a = server.connect();
  server.leave();
  server.takeOver(true);
  timeUntilClosed(server, CloseReason::kIdleTimeout);

  Reactors two(config, 2);
  two.js().hook = [&](const EventRow& event, std::string_view) {
    if (event.event == Event::kOpen) CHECK(two.reactor().moveTo(event.slot, event.generation, 1, event.d));
    if (event.event == Event::kHandover) CHECK(two.reactor().moveNow(event.slot, event.generation, {}, false));
  };
  const Fd b = two.connect();
  two.until([&] { return two.closed(CloseReason::kIdleTimeout, 1) == 1; });
  CHECK_EQ(two.admitted(), 0u);
}

TEST("queue full, close: who finds no room is closed, nobody else") {
  Reactors server(lines(true), 1, {.queue = {.maxTasks = 2}, .onQueueFull = QueueFull::kClose});
  const Fd first = server.connect(), second = server.connect();
  say(first, "a\n");
  server.until([&] { return server.exchange->queue().depth() == 1; });
  say(second, "b\nc\nd\n");
  server.until([&] { return server.closed(CloseReason::kOverloaded) == 1; });
  CHECK(server.reactor().counters().framesShed.get() >= 1);
  CHECK_EQ(server.reactor().counters().pausesByQueue.get(), 0u);
  CHECK_EQ(server.read(second, 1), "");
  server.echo(server.task());
  CHECK_EQ(server.read(first, 2), "a\n");
  server.echo(server.task());  // "b", whose connection is gone
  CHECK_EQ(server.exchange->repliesUnrouted.load(), 1u);
  say(first, "e\n");
  server.echo(server.task());
  CHECK_EQ(server.read(first, 2), "e\n");
  CHECK_EQ(server.admitted(), 1u);
}

TEST("queue full, reject: the app answers the refused frames, at their place in the order") {
  ListenerConfig config = lines(true);
  config.answersOverload = true;
  Reactors server(config, 1, {.queue = {.maxTasks = 2}, .onQueueFull = QueueFull::kReject});
  const Fd a = server.connect();
  say(a, "a\nb\nc\nd\n");
  server.until([&] { return server.reactor().counters().framesRead.get() == 4; });
  CHECK_EQ(server.exchange->queue().depth(), 2u);
  std::vector<FrameRef> frames;
  server.exchange->takeFrames(0, 64, &frames);  // the refused come first: they cost nothing
  CHECK_EQ(frames.size(), 2u);
  for (const FrameRef& frame : frames) {
    CHECK(frame.task->header().flags & Task::kRefused);
    server.reply(frame, "busy " + Reactors::bodyOf(frame) + "\n");
  }
  for (int i = 0; i < 2; ++i) {
    const FrameRef frame = server.task();
    CHECK(!(frame.task->header().flags & Task::kRefused));
    server.echo(frame);
  }
  CHECK_EQ(server.read(a, 18), "a\nb\nbusy c\nbusy d\n");
  CHECK_EQ(server.closed(CloseReason::kOverloaded), 0u);
}

TEST("queue full, reject: without words for it the connection closes") {
  Reactors server(lines(true), 1, {.queue = {.maxTasks = 2}, .onQueueFull = QueueFull::kReject});
  const Fd a = server.connect();
  say(a, "a\nb\nc\n");
  CHECK_EQ(server.read(a, 1), "");
  CHECK_EQ(server.closed(CloseReason::kOverloaded), 1u);
  CHECK_EQ(server.reactor().counters().framesShed.get(), 1u);
}

TEST("queue full: a hook's frame is refused like the others, and its call says so") {
  ListenerConfig config = lines(false);
  config.answersOverload = true;
  Reactors server(config, 1, {.queue = {.maxTasks = 1}, .onQueueFull = QueueFull::kReject});
  std::vector<Reactor::Submitted> results;
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    uint64_t sequence;
    if (row.event != Event::kFrame) return;
    results.push_back(
        server.reactor().submit(row.slot, row.generation, spanOf(frame), frame == "call" ? Task::kRun : Task::kNone, &sequence));
  };
  const Fd a = server.connect();
  say(a, "a\nb\ncall\nc\n");
  server.until([&] { return results.size() == 4; });
  CHECK(results[0] == Reactor::Submitted::kDone);
  CHECK(results[1] == Reactor::Submitted::kDone);
  CHECK(results[2] == Reactor::Submitted::kFull);
  CHECK(results[3] == Reactor::Submitted::kDone);
  for (int i = 0; i < 3; ++i) {
    const FrameRef frame = server.task();
    server.reply(frame, (frame.task->header().flags & Task::kRefused ? "no " : "") + Reactors::bodyOf(frame) + "\n");
  }
  CHECK_EQ(server.read(a, 12), "a\nno b\nno c\n");
}

TEST("queue full, pause: a hook's frames wait in their order, and its connection is read no further") {
  Reactors server(lines(false), 1, {.queue = {.maxTasks = 1}});
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    uint64_t sequence;
    if (row.event != Event::kFrame) return;
    CHECK(server.reactor().submit(row.slot, row.generation, spanOf(frame), Task::kNone, &sequence) == Reactor::Submitted::kDone);
  };
  const Fd a = server.connect();
  say(a, "a\nb\nc\n");
  server.until([&] { return server.reactor().counters().pausesByQueue.get() == 1; });
  say(a, "d\n");
  server.turns(3);
  CHECK_EQ(server.js().frames(0), "a|b|c|");
  for (int i = 0; i < 4; ++i) server.echo(server.task());
  CHECK_EQ(server.read(a, 8), "a\nb\nc\nd\n");
}

TEST("queue full, pause: a frame larger than the queue does not wait for an empty one, and its reactor sleeps") {
  ListenerConfig config = lines(true);
  config.framing.maxBytes = 4'096;
  Reactors server(config, 1, {.queue = {.maxBytes = 1'000}});
  const Fd a = server.connect("small\n");
  server.until([&] { return server.exchange->queue().depth() == 1; });
  const Fd b = server.connect(std::string(2'000, 'y') + "\n");
  server.until([&] { return server.exchange->queue().depth() == 2; });
  CHECK_EQ(server.reactor().counters().pausesByQueue.get(), 0u);
  const Fd c = server.connect("no room\n");
  server.until([&] { return server.reactor().counters().pausesByQueue.get() == 1; });
  server.until([&] { return !server.reactor().turn(0); });
  for (int i = 0; i < 3; ++i) server.echo(server.task());
  CHECK_EQ(server.read(c, 8), "no room\n");
  CHECK_EQ(server.reactor().counters().pausesByQueue.get(), 1u);
}

TEST("frames of one connection in the pool are bounded by number and by bytes, and a few always pass") {
  ListenerConfig byNumber = lines(true), byBytes = lines(true);
  byNumber.maxInFlight = 6;
  byBytes.maxInFlightBytes = 10;
  for (const ListenerConfig& config : {byNumber, byBytes}) {
    const uint32_t bound = config.maxInFlight == 6 ? 6 : 4;
    Reactors server(config);
    const Fd a = server.connect();
    std::string text;
    for (int i = 100; i < 140; ++i) text += "frame " + std::to_string(i) + "\n";
    say(a, text);
    std::vector<FrameRef> frames;
    for (int i = 0; i < 40; ++i) {
      if (frames.empty()) {
        server.until([&] { return server.exchange->queue().depth() != 0; });
        server.turns(3);
        CHECK(server.exchange->queue().depth() <= bound);
        if (i == 0) CHECK_EQ(server.exchange->queue().depth(), bound);
        while (server.exchange->queue().depth() != 0) frames.push_back(server.task());
      }
      server.echo(frames.front());
      frames.erase(frames.begin());
    }
    CHECK_EQ(server.read(a, text.size()), text);
  }
}

TEST("memory: closes who feeds hooks that hold too much, and nobody once they have let go") {
  ExchangeOptions options;
  options.maxMemoryBytes = 10'000;
  Reactors server(lines(false), 1, options);
  const Fd feeder = server.connect(), silent = server.connect();
  server.exchange->received()->add(20'000);
  // Whole frames, so that the connection itself holds nothing; in time as many as make a reactor look.
  const std::string chunk = std::string(999, 'x') + "\n";
  server.until([&] {
    (void)::send(feeder.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL);
    return server.closed(CloseReason::kMemoryLimit) != 0;
  });
  CHECK(isClosed(feeder));
  CHECK(!isClosed(silent));
  server.exchange->received()->add(-20'000);
  server.until([&] { return !server.exchange->memoryIsShort(); });
  const Fd next = server.connect();
  say(next, "hello\n");
  say(silent, "hello\n");
  server.until([&] { return server.js().saw("1 frame hello"); });
  CHECK(!isClosed(next));
}

TEST("memory: who looks again and again while it is short stops when another has found that it is not") {
  ExchangeOptions options;
  options.maxMemoryBytes = 10'000;
  Reactors server(lines(false), 1, options);
  server.exchange->received()->add(9'500);
  CHECK(server.exchange->memoryState(monotonicMs()) == MemoryState::kFine);
  CHECK(server.exchange->memoryIsShort());
  server.until([&] { return server.reactor().untilNextTimerMs() > 0; });
  server.exchange->received()->add(-9'500);
  CHECK(server.exchange->memoryState(monotonicMs()) == MemoryState::kFine);
  CHECK(!server.exchange->memoryIsShort());
  server.until([&] { return server.reactor().untilNextTimerMs() < 0; });
}

TEST("memory: of connections that buffer nothing, the one with most in the pool is the first to go") {
  ExchangeOptions options;
  options.maxMemoryBytes = 1 << 20;
  Reactors server(lines(true), 1, options);
  const Fd small = server.connect(), large = server.connect();  // the small one goes too, but later: it holds less
  say(small, "little\n");
  const std::string much = std::string(60'000, 'x') + "\n";
  server.until([&] {
    (void)::send(large.get(), much.data(), much.size(), MSG_NOSIGNAL);
    return server.exchange->memoryUse().tasks > 100'000;
  });
  // More from elsewhere; another reactor sees that memory is short.
  TaskRef other(Task::create({{}, 0, 0, Task::kNone, {}}, 1, 1 << 20));
  other->retain();
  CHECK(server.exchange->submit(other.get()));
  CHECK(server.exchange->memoryState(monotonicMs()) == MemoryState::kFull);
  server.until([&] { return server.closed(CloseReason::kMemoryLimit) != 0; });
  CHECK(isClosed(large));
}

TEST("memory: what waits in the thread counts with a fixed sum, and who makes most wait is the first to go") {
  ExchangeOptions options;
  options.maxMemoryBytes = 3 << 20;
  Reactors server(lines(false), 1, options);
  const Fd few = server.connect(), many = server.connect();
  uint32_t deferred = 0;
  server.js().hook = [&](const EventRow& row, std::string_view bytes) {
    uint64_t sequence = 0;
    if (row.event != Event::kFrame) return;
    if (bytes == "defer") deferred += server.reactor().defer(row.slot, row.generation, &sequence);
    if (bytes == "hold") deferred += server.reactor().hold(row.slot, row.generation, true) != Reactor::kNoPlace;
  };
  say(few, "hold\nhold\n");
  server.until([&] { return deferred == 2; });
  // Two KiB each: none of it is a byte that the reactor buffers.
  std::string much;
  for (int i = 0; i < 250; ++i) much += i % 2 == 0 ? "defer\n" : "hold\n";
  uint32_t sent = 0;
  for (; server.closed(CloseReason::kMemoryLimit) == 0 && sent < 3'000; sent += 250) {
    say(many, much);
    server.until([&] { return deferred == sent + 252 || server.closed(CloseReason::kMemoryLimit) != 0; });
    server.turns(1);
  }
  CHECK(sent >= 1'500);
  CHECK(sent <= 2'250);
  CHECK(isClosed(many));
  CHECK(!isClosed(few));
  CHECK_EQ(server.reactor().counters().buffered.get(), 0u);
  server.turns(1);
  CHECK_EQ(server.exchange->memoryUse().buffered, uint64_t{2 * 2048});
}

TEST("memory: of what JS holds, one connection goes at a time, and then the collectors have theirs") {
  ExchangeOptions options;
  options.maxMemoryBytes = 100'000;
  Reactors server(lines(false), 1, options);
  std::vector<Fd> waiting;
  uint32_t held = 0;
  server.js().hook = [&](const EventRow& row, std::string_view bytes) {
    if (row.event == Event::kFrame && bytes == "hold")
      held += server.reactor().hold(row.slot, row.generation, true) != Reactor::kNoPlace;
  };
  for (int i = 0; i < 10; ++i) {
    waiting.push_back(server.connect());
    say(waiting.back(), "hold\n");
  }
  server.until([&] { return held == 10; });
  server.exchange->received()->add(200'000);
  CHECK(server.exchange->memoryState(monotonicMs()) == MemoryState::kFine);
  uint64_t first = monotonicMs();  // before the turn of the first one
  server.until([&] {
    if (server.closed(CloseReason::kMemoryLimit) != 0) return true;
    first = monotonicMs();
    return false;
  });
  server.turns(20);
  // By then a slow machine has given the collectors their time, and gone on.
  CHECK(server.closed(CloseReason::kMemoryLimit) <= 1 + (monotonicMs() - first) / Exchange::kCollectMs);
  server.exchange->received()->add(-200'000);
}

TEST("memory: who comes while there is none is turned away, and let in when there is again") {
  ExchangeOptions options;
  options.maxMemoryBytes = 10'000;
  Reactors server(lines(true), 1, options);
  {
    TaskRef much(Task::create({{}, 0, 0, Task::kNone, {}}, 1, 20'000));
    much->retain();
    CHECK(server.exchange->submit(much.get()));
    const Fd refused = connected(server.address);
    server.until([&] { return server.closed(CloseReason::kMemoryLimit) != 0; });
    CHECK(isClosed(refused));
    CHECK_EQ(server.open(), 0u);
    CHECK_EQ(server.admitted(), 0u);
    (void)server.task();
  }
  const Fd welcome = server.connect();
  CHECK_EQ(server.open(), 1u);
}

TEST("memory: a frame for which there is no slab waits until there is one") {
  for (const FramingKind kind : {FramingKind::kDelimiter, FramingKind::kCustom}) {
    ListenerConfig config = lines(false);
    config.framing.kind = kind;
    Reactors server(config);
    const bool custom = kind == FramingKind::kCustom;
    const std::string half(80 << 10, 'x');  // two of them do not fit into the rest of a slab
    if (custom) {
      server.js().hook = [&](const EventRow& row, std::string_view bytes) {
        if (row.event != Event::kReceived) return;
        const bool whole = bytes.size() > half.size();
        server.reactor().consumed(row.slot, row.generation, whole ? row.c : 0, static_cast<uint32_t>(2 * half.size() + 1), false);
      };
    }
    const Fd a = server.connect(half);
    const auto received = [&](uint64_t bytes) {
      server.until([&] { return server.reactor().counters().bytesRead.get() == bytes; });
    };
    const std::string rest = half + (custom ? "\n" : "\nnext\n");
    received(half.size());
    server.js().hasMemory = false;
    say(a, rest);
    received(half.size() + rest.size());
    server.turns(3);
    CHECK_EQ(server.js().frames(0), "");
    server.js().hasMemory = true;
    const std::string all = custom ? "0 received " + half + rest : "0 frame " + half + half;
    server.until([&] { return server.js().saw(all); });
    if (!custom) server.until([&] { return server.js().saw("0 frame next"); });
    CHECK_EQ(server.open(), 1u);
  }
}

TEST("memory: a connection whose state cannot be told closes, and its hooks hear whose it was") {
  ListenerConfig config = lines(false);
  config.hooks |= kHookRestore;
  Reactors server(config, 2);
  EventRow last{};
  server.js().hook = [&](const EventRow& row, std::string_view) {
    last = row;
    if (row.event == Event::kHandover) CHECK(server.reactor().moveNow(row.slot, row.generation, spanOf("mine"), true));
  };
  const Fd a = server.connect("x\n");
  server.until([&] { return server.js().saw("0 frame x"); });
  server.js(1).hasMemory = false;
  CHECK(server.reactor().moveTo(last.slot, last.generation, 1, Reactor::kOutsideMessage));
  CHECK_EQ(server.read(a, 1), "");
  CHECK_EQ(server.closed(CloseReason::kSystem, 1), 1u);
  CHECK_EQ(server.admitted(), 0u);
  server.turns(3);
  CHECK_EQ(server.js(1).all("0 "), "restore without memory lost|close system-error|");
}

TEST("output: a peer that does not take its replies is not read until it has") {
  Reactors server(lines(true));
  const Fd peer = server.connect();
  say(peer, "first\n");
  const std::string much(4 << 20, 'm');
  server.reply(server.task(), much);
  server.until([&] { return server.reactor().counters().bytesWritten.get() != 0; });
  say(peer, "second\n");
  server.turns(10);
  CHECK_EQ(server.exchange->queue().depth(), 0u);
  CHECK(server.read(peer, much.size()) == much);
  CHECK_EQ(Reactors::bodyOf(server.task()), "second");
  CHECK_EQ(server.reactor().counters().pausesByPeer.get(), 1u);
}
