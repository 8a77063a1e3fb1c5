#include "reactor/reactor.h"

#include <functional>
#include <memory>
#include <thread>

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

// JS as a test: memory from vectors, hooks as one function.
class Sink final : public EventSink {
 public:
  std::function<void(const EventRow&, std::string_view)> hook = [](const EventRow&, std::string_view) {};
  bool stopped = false;  // paused or reframed: the rows behind this frame will come again

  Delivered deliver(const std::vector<EventRow>& rows) override {
    stopped = false;
    for (const EventRow& row : rows) {
      if (row.event != Event::kFrame) {
        hook(row, {});
      } else if (!stopped) {
        hook(row, {reinterpret_cast<const char*>(slabs_[row.a].data() + row.b), row.c});
      }
    }
    return {true, rows.size(), false};
  }
  Slab newSlab(size_t atLeast) override {
    slabs_.emplace_back(atLeast);
    return {slabs_.back().data(), atLeast, static_cast<uint32_t>(slabs_.size() - 1)};
  }

 private:
  std::vector<std::vector<uint8_t>> slabs_;
};

std::span<const uint8_t> spanOf(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

ListenerConfig lines(bool toPool) {
  ListenerConfig config;
  config.framing.kind = FramingKind::kDelimiter;
  config.toPool = toPool;
  config.hooks = toPool ? 0 : kHookMessage | kHookClose | kHookDrain | kHookTimeout;
  return config;
}

struct Server {
  explicit Server(const ListenerConfig& config, QueueLimits queue = {})
      : exchange(std::make_shared<Exchange>(ExchangeOptions{.reactors = 1, .workers = 1, .queue = queue})), reactor(exchange, 0) {
    CHECK(reactor.attach(&sink));
    const auto group = must(ListenerGroup::open(loopback(), {}));
    address = group->address();
    reactor.listen(reactor.addListener(config), group, 0, false);
  }
  template <typename Condition>
  void until(Condition&& condition) {
    const uint64_t deadline = monotonicMs() + kPatienceMs;
    while (!condition()) {
      CHECK(monotonicMs() < deadline);
      more = reactor.turn(more ? 0 : 2);
    }
  }
  // Reads the client's bytes, up to that many or to the end of the stream.
  std::string read(int fd, size_t size) {
    std::string all;
    char some[65536];
    until([&] {
      const Result<size_t> got = sock::receive(fd, some, std::min(sizeof(some), size - all.size()));
      if (!got.ok()) return false;
      all.append(some, got.value);
      return got.value == 0 || all.size() == size;
    });
    return all;
  }
  // The next frame for the pool.
  FrameRef task() {
    std::vector<FrameRef> frames;
    until([&] { return exchange->takeFrames(0, 1, &frames), !frames.empty(); });
    CHECK_EQ(frames.size(), 1u);
    return frames[0];
  }
  void reply(const FrameRef& frame, std::string_view text) {
    Reply reply;
    reply.connection = frame.task->header().connection;
    reply.sequence = frame.task->sequence(frame.index);
    reply.length = static_cast<uint32_t>(text.size());
    reply.flags = Reply::kLast;
    exchange->reply(reply, spanOf(text));
  }
  void echo(const FrameRef& frame) { reply(frame, bodyOf(frame) + "\n"); }
  static std::string bodyOf(const FrameRef& frame) {
    const auto bytes = frame.task->frame(frame.index);
    return {bytes.begin(), bytes.end()};
  }
  uint64_t closed(CloseReason reason) const { return reactor.counters().closed[static_cast<size_t>(reason)].get(); }

  std::shared_ptr<Exchange> exchange;
  Reactor reactor;
  Sink sink;
  Address address;
  bool more = true;
};

void say(const Fd& fd, std::string_view text) {
  CHECK_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

}  // namespace

TEST("replies in the order of the frames, however the pool settles them") {
  Server server(lines(true));
  const Fd client = connected(server.address);
  say(client, "one\ntwo\nthree\n");
  std::vector<FrameRef> frames;
  for (int i = 0; i < 3; ++i) frames.push_back(server.task());
  for (size_t i = 3; i-- > 0;) server.echo(frames[i]);
  CHECK_EQ(server.read(client.get(), 14), "one\ntwo\nthree\n");
  CHECK_EQ(server.reactor.counters().repliesHeld.get(), 2u);
}

TEST("a late reply is dropped and never reaches the next tenant of the slot") {
  Server server(lines(true));
  const Fd first = connected(server.address);
  say(first, "old\n");
  const FrameRef old = server.task();
  const ConnectionId id = old.task->header().connection;
  CHECK(server.reactor.destroy(id.slot(), id.generation(), CloseReason::kDestroyed));
  server.reactor.turn(0);  // the slot is free from the end of the turn on
  CHECK_EQ(server.closed(CloseReason::kDestroyed), 1u);
  const Fd second = connected(server.address);
  say(second, "new\n");
  const FrameRef fresh = server.task();
  CHECK_EQ(fresh.task->header().connection.slot(), id.slot());
  CHECK(fresh.task->header().connection.generation() != id.generation());
  server.echo(old);
  CHECK_EQ(server.exchange->repliesUnrouted.load(), 1u);
  Reply late;  // one that had passed the directory before the close
  late.connection = id;
  late.length = 4;
  late.flags = Reply::kLast;
  auto batch = ReplyBatch::create(ReplyBatch::sizeOf(4));
  batch->append(late, spanOf("old\n"));
  server.exchange->mailbox(0).send(std::move(batch));
  server.echo(fresh);
  CHECK_EQ(server.read(second.get(), 4), "new\n");
  CHECK_EQ(server.reactor.counters().repliesLate.get(), 1u);
}

TEST("answers a peer that has finished sending, and then closes") {
  Server server(lines(true));
  const Fd client = connected(server.address);
  say(client, "a\nb\n");
  must(sock::shutdownWrite(client.get()));
  const FrameRef first = server.task(), second = server.task();
  for (int i = 0; i < 5; ++i) server.reactor.turn(0);  // its end is known before any answer
  CHECK_EQ(server.reactor.counters().open.get(), 1u);
  server.echo(first);
  server.echo(second);
  CHECK_EQ(server.read(client.get(), 100), "a\nb\n");
  CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
}

TEST("a frame too large closes with its reason, after the frames before it are answered") {
  ListenerConfig config = lines(true);
  config.framing.maxBytes = 8;
  Server server(config);
  Fd client = connected(server.address);
  say(client, "good\nfar too large\n");
  server.echo(server.task());
  CHECK_EQ(server.read(client.get(), 100), "good\n");
  client.reset();
  server.until([&] { return server.closed(CloseReason::kFrameTooLarge) == 1; });
}

TEST("passes a frame of 20 MiB") {
  ListenerConfig config = lines(true);
  config.framing.kind = FramingKind::kLengthPrefixed;
  config.framing.strip = FramingConfig::kStripHeader;
  config.framing.maxBytes = 32 << 20;
  Server server(config);
  const Fd client = connected(server.address);
  std::string bytes((20 << 20) + 4, 'x');
  bytes[0] = 1, bytes[1] = 0x40, bytes[2] = bytes[3] = 0;
  size_t sent = 0;
  server.until([&] {
    const ssize_t took = ::send(client.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (took > 0) sent += static_cast<size_t>(took);
    return sent == bytes.size();
  });
  CHECK(Server::bodyOf(server.task()) == bytes.substr(4));
}

TEST("stops reading when the queue is full, and goes on without losing a frame") {
  Server server(lines(true), {.maxTasks = 4});
  const Fd client = connected(server.address);
  std::string text;
  for (int i = 100; i < 200; ++i) text += std::to_string(i) + "\n";
  say(client, text);
  server.until([&] { return server.reactor.counters().pausesByQueue.get() != 0; });
  CHECK_EQ(server.exchange->queue().depth(), 4u);
  for (int i = 0; i < 100; ++i) server.echo(server.task());
  CHECK_EQ(server.read(client.get(), text.size()), text);
}

TEST("drain answers what is in flight and closes the rest") {
  Server server(lines(true));
  bool drained = false;
  server.sink.hook = [&](const EventRow& row, std::string_view) { drained = drained || row.event == Event::kDrained; };
  Fd busy = connected(server.address), idle = connected(server.address);
  say(busy, "last\n");
  const FrameRef frame = server.task();
  server.until([&] { return server.reactor.counters().open.get() == 2; });
  server.reactor.drain(kPatienceMs);
  CHECK_EQ(server.read(idle.get(), 1), "");
  server.echo(frame);
  CHECK_EQ(server.read(busy.get(), 100), "last\n");
  busy.reset();
  idle.reset();
  server.until([&] { return drained; });
  CHECK_EQ(server.closed(CloseReason::kEnd), 2u);
}

TEST("reads away what a peer still sends behind our FIN, until its own, and resets nobody") {
  Server server(lines(true));
  const Fd client = connected(server.address);
  server.until([&] { return server.reactor.counters().open.get() == 1; });
  server.reactor.drain(kPatienceMs);
  CHECK_EQ(server.read(client.get(), 1), "");
  for (int i = 0; i < 3; ++i) {
    say(client, "late\n");
    server.reactor.turn(0);
  }
  CHECK_EQ(server.reactor.counters().open.get(), 1u);
  must(sock::shutdownWrite(client.get()));
  server.until([&] { return server.closed(CloseReason::kEnd) == 1; });
  CHECK_EQ(must(sock::pendingError(client.get())), 0);
}

TEST("framings of peers one after the other are forgotten, and those of connections and of this batch are not") {
  Server server(lines(false));
  std::string seen;
  const auto ending = [](std::string_view text) {
    FramingConfig framing;
    framing.kind = FramingKind::kDelimiter;
    framing.delimiter = text;
    return framing;
  };
  server.sink.hook = [&](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame) return;
    seen += std::string(frame) + "|";
    const auto set = [&](const FramingConfig& framing) {
      CHECK(server.reactor.setFraming(row.slot, row.generation, framing, row.d) == Reactor::Framed::kDone);
      server.sink.stopped = true;
    };
    if (frame == "bar") set(ending("|"));
    if (frame != "many") return;
    for (int i = 0; i < 70'000; ++i) set(ending(std::to_string(i)));
    set(ending(";"));
  };
  const Fd kept = connected(server.address);
  say(kept, "bar\none|");
  server.until([&] { return seen == "bar|one|"; });
  const Fd client = connected(server.address);
  say(client, "many\na;b;");
  server.until([&] { return seen == "bar|one|many|a|b|"; });
  say(kept, "two|");
  server.until([&] { return seen == "bar|one|many|a|b|two|"; });
}

TEST("a hook changes the framing, or pauses, in the middle of a batch") {
  Server server(lines(false));
  FramingConfig pairs;
  pairs.kind = FramingKind::kFixed;
  pairs.fixedBytes = 2;
  std::string seen;
  EventRow last{};
  server.sink.hook = [&](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame) return;
    last = row;
    seen += std::string(frame) + "|";
    if (frame == "pairs") {
      CHECK(server.reactor.setFraming(row.slot, row.generation, pairs, row.d) == Reactor::Framed::kDone);
      server.sink.stopped = true;
    } else if (frame == "ab") {
      CHECK(server.reactor.pause(row.slot, row.generation, row.d));
      server.sink.stopped = true;
    }
  };
  const Fd client = connected(server.address);
  say(client, "line\npairs\nabcd\nef");
  server.until([&] { return seen == "line|pairs|ab|"; });
  for (int i = 0; i < 3; ++i) server.reactor.turn(0);
  CHECK_EQ(seen, "line|pairs|ab|");
  CHECK(server.reactor.resume(last.slot, last.generation));
  server.until([&] { return seen == "line|pairs|ab|cd|\ne|"; });
}

TEST("an idle connection times out, not early, and closes where no hook wants to know") {
  Server server(lines(true));
  const Fd client = connected(server.address);
  say(client, "x\n");
  const ConnectionId id = server.task().task->header().connection;
  const uint64_t start = monotonicMs();
  CHECK(server.reactor.setTimeoutMs(id.slot(), id.generation(), 30));
  server.until([&] { return server.closed(CloseReason::kTimeout) == 1; });
  CHECK(monotonicMs() - start >= 30);
}

TEST("counts a peer that does not read, tells of the drain, and closes it past the maximum") {
  Server server(lines(false));
  EventRow last{};
  bool drain = false;
  server.sink.hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kFrame) last = row;
    drain = drain || row.event == Event::kDrain;
  };
  const Fd client = connected(server.address);
  say(client, "x\n");
  server.until([&] { return last.event == Event::kFrame; });
  const std::string much(12 << 20, 'm');
  const auto write = [&] { return server.reactor.write(last.slot, last.generation, spanOf(much), Reactor::Place::kBetween); };
  CHECK_EQ(write(), Reactor::WriteResult::kFull);
  CHECK_EQ(server.reactor.counters().pausesByPeer.get(), 1u);
  CHECK(server.read(client.get(), much.size()) == much);
  server.until([&] { return drain; });
  CHECK_EQ(server.reactor.counters().bytesWritten.get(), much.size());
  CHECK_EQ(write(), Reactor::WriteResult::kFull);
  CHECK_EQ(write(), Reactor::WriteResult::kGone);
  CHECK_EQ(server.closed(CloseReason::kSlowConsumer), 1u);
}

TEST("ends quietly with a connection that was destroyed after the last turn") {
  Server server(lines(true));
  const Fd client = connected(server.address);
  say(client, "x\n");
  const ConnectionId id = server.task().task->header().connection;
  CHECK(server.reactor.destroy(id.slot(), id.generation(), CloseReason::kDestroyed));
}

TEST("echoes lines by way of a pool thread") {
  Server server(lines(true), {.maxTasks = 64});
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i) + "\n";
  const Fd client = connected(server.address);
  std::atomic<bool> stop{false};
  std::thread pool([&] {
    std::vector<FrameRef> frames;
    while (!stop.load()) {
      frames.clear();
      server.exchange->takeFrames(0, 64, &frames);
      for (const FrameRef& frame : frames) server.echo(frame);
      if (frames.empty()) sched_yield();
    }
  });
  std::string got;
  size_t sent = 0;
  char some[65536];
  const uint64_t deadline = monotonicMs() + kPatienceMs;
  while (got.size() < text.size() && monotonicMs() < deadline) {
    const ssize_t took = ::send(client.get(), text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
    if (took > 0) sent += static_cast<size_t>(took);
    server.reactor.turn(1);
    const Result<size_t> more = sock::receive(client.get(), some, sizeof(some));
    if (more.ok()) got.append(some, more.value);
  }
  stop.store(true);
  pool.join();
  CHECK(got == text);
}
