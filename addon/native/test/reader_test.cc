// Bytes owed to a peer that reads: messages above the maximum, and replies before a failure.
#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr size_t kMebibyte = 1 << 20;
using Said = Reactor::WriteResult;

// Above the maximum there is room for one message only.
ListenerConfig small() {
  ListenerConfig config = lines(false);
  config.outMaxBytes = kMebibyte;
  return config;
}

struct Hooked : Reactors {
  explicit Hooked(const ListenerConfig& config, ExchangeOptions options = {}) : Reactors(config, 1, options) {
    js().hook = [this](const EventRow& row, std::string_view text) {
      if (row.event == Event::kFrame) onFrame(row, text);
    };
  }
  std::function<void(const EventRow&, std::string_view)> onFrame = [](const EventRow&, std::string_view) {};
  Said write(const EventRow& row, const std::string& bytes) {
    return reactor().write(row.slot, row.generation, spanOf(bytes), Reactor::Place::kInOrder);
  }
};

}  // namespace

TEST("room: one message passes the maximum when little waits before it, and no second one before the peer has taken it") {
  Hooked server(small());
  const std::string large(8 * kMebibyte, 'l');
  const std::string end = "end\n";
  std::vector<Said> said;
  server.onFrame = [&](const EventRow& row, std::string_view) {
    said.push_back(server.write(row, large));
    said.push_back(server.write(row, end));  // its own replies
  };
  const Fd peer = server.connect("a\n");
  server.until([&] { return said.size() == 2; });
  CHECK(said[0] == Said::kFull && said[1] == Said::kFull);
  CHECK(server.read(peer, large.size() + end.size()) == large + end);
  CHECK_EQ(server.closed(CloseReason::kSlowConsumer), 0u);
  // Another one goes the same way; a second in the same breath does not.
  server.onFrame = [&](const EventRow& row, std::string_view) {
    said.push_back(server.write(row, large));
    said.push_back(server.write(row, large));
  };
  say(peer, "b\n");
  server.until([&] { return server.closed(CloseReason::kSlowConsumer) == 1; });
  CHECK(said.size() == 4 && said[2] == Said::kFull && said[3] == Said::kGone);
}

TEST("room: frames that were cut already wait while the peer does not take what waits for it") {
  Hooked server(small());
  const std::string large(kMebibyte, 'l');
  uint32_t frames = 0;
  server.onFrame = [&](const EventRow& row, std::string_view) {
    ++frames;
    if (server.write(row, large) != Said::kFull) return;
    if (server.reactor().stopBehind(row.slot, row.generation, row.d)) server.js().stop(row);
  };
  std::string many;
  for (int i = 0; i < 20; ++i) many += "x\n";
  const Fd peer = server.connect(many);
  server.turns(20);
  CHECK_EQ(frames, 1u);
  CHECK_EQ(server.read(peer, 20 * kMebibyte).size(), 20 * kMebibyte);
  CHECK_EQ(frames, 20u);
  CHECK_EQ(server.closed(CloseReason::kSlowConsumer), 0u);
}

TEST("room: each handler that has begun may pass the maximum with one message, and no more") {
  Hooked server(small());
  const std::string large(kMebibyte, 'l');
  std::vector<std::pair<EventRow, uint64_t>> begun;
  server.onFrame = [&](const EventRow& row, std::string_view) {
    uint64_t place = 0;
    CHECK(server.reactor().defer(row.slot, row.generation, &place));
    begun.emplace_back(row, place);
  };
  const Fd peer = server.connect("a\nb\nc\nd\ne\nf\n");
  server.until([&] { return begun.size() == 6; });
  const auto settle = [&](size_t which, uint16_t flags) {
    const auto& [row, place] = begun[which];
    return server.reactor().settleDeferred(row.slot, row.generation, place, spanOf(large), flags);
  };
  // Not in their order: all of them are held.
  for (const size_t which : {5, 4, 3, 2, 1}) CHECK(settle(which, Reply::kLast) == Said::kFull);
  CHECK(settle(0, Reply::kLast) != Said::kGone);
  CHECK_EQ(server.read(peer, 6 * kMebibyte).size(), 6 * kMebibyte);
  // One that goes on and on although nothing is taken.
  say(peer, "g\nh\n");
  server.until([&] { return begun.size() == 8; });
  for (int i = 0; i < 8 && server.closed(CloseReason::kSlowConsumer) == 0; ++i) (void)settle(7, 0);
  CHECK_EQ(server.closed(CloseReason::kSlowConsumer), 1u);
}

TEST("room: what the socket takes does not count") {
  Hooked server(small());
  const std::string some(64 << 10, 's');
  size_t written = 0;
  const Fd peer = server.connect();
  char sink[256 << 10];
  // The peer reads beside a hook that writes and writes.
  server.onFrame = [&](const EventRow& row, std::string_view) {
    for (int i = 0; i < 64; ++i) {
      CHECK(server.write(row, some) != Said::kGone);
      written += some.size();
      while (::recv(peer.get(), sink, sizeof(sink), MSG_DONTWAIT) > 0) {
      }
    }
  };
  say(peer, "a\n");
  server.until([&] { return written == 64 * some.size(); });
  CHECK_EQ(server.closed(CloseReason::kSlowConsumer), 0u);
}

TEST("room: limits.memory comes first, also before a message that would pass the maximum") {
  ExchangeOptions options;
  options.maxMemoryBytes = 4 * kMebibyte;
  Hooked server(small(), options);
  const std::string large(8 * kMebibyte, 'l');
  Said said = Said::kFull;
  server.onFrame = [&](const EventRow& row, std::string_view) { said = server.write(row, large); };
  const Fd peer = server.connect("a\n");
  server.until([&] { return server.closed(CloseReason::kMemoryLimit) == 1; });
  CHECK(said == Said::kGone);
}

TEST("failure: what is owed to frames before one whose hook fails leaves first") {
  Hooked server(lines(false));
  server.onFrame = [&](const EventRow& row, std::string_view text) {
    uint64_t place = 0;
    if (text == "pool") {
      CHECK(server.reactor().submit(row.slot, row.generation, spanOf(text), Task::kNone, &place) == Reactor::Submitted::kDone);
    } else if (text == "own") {
      CHECK(server.reactor().defer(row.slot, row.generation, &place));
      server.reactor().fail(row.slot, row.generation, place, CloseReason::kHandlerError);
      server.js().stop(row);
    } else if (text == "fails") {
      server.reactor().fail(row.slot, row.generation, Reactor::kBehindAll, CloseReason::kHandlerError);
      server.js().stop(row);
    } else {
      (void)server.write(row, std::string(text) + "\n");
    }
  };
  for (const char* last : {"fails\n", "own\n"}) {
    const Fd peer = server.connect(std::string("a\npool\nb\n") + last + "c\npool\n");
    const FrameRef owed = server.task();
    server.turns(5);
    CHECK_EQ(server.read(peer, 2), "a\n");
    server.echo(owed);
    CHECK_EQ(server.read(peer, 100), "pool\nb\n");
  }
  server.until([&] { return server.closed(CloseReason::kHandlerError) == 2; });
}

TEST("failure: a place that is over ends the connection behind what has left") {
  Hooked server(lines(false));
  EventRow failing;
  server.onFrame = [&](const EventRow& row, std::string_view text) {
    if (text == "a") failing = row;
    uint64_t place = 0;
    if (text == "pool") (void)server.reactor().submit(row.slot, row.generation, spanOf(text), Task::kNone, &place);
    if (text != "pool") (void)server.write(row, std::string(text) + "\n");
  };
  const Fd peer = server.connect("a\npool\nb\npool\n");
  server.echo(server.task());
  CHECK_EQ(server.read(peer, 9), "a\npool\nb\n");
  const FrameRef vain = server.task();
  CHECK(server.reactor().fail(failing.slot, failing.generation, 0, CloseReason::kHandlerError));
  CHECK_EQ(server.read(peer, 100), "");
  CHECK(server.exchange->isGone(vain.task->header().connection));
  server.until([&] { return server.closed(CloseReason::kHandlerError) == 1; });
}

TEST("failure: destroy tries once to send what is buffered") {
  Hooked server(lines(false));
  server.onFrame = [&](const EventRow& row, std::string_view text) {
    (void)server.write(row, std::string(text) + "\n");
    if (text == "c") server.reactor().destroy(row.slot, row.generation, CloseReason::kDestroyed);
  };
  const Fd peer = server.connect("a\nb\nc\n");
  CHECK_EQ(server.read(peer, 100), "a\nb\nc\n");
  CHECK_EQ(server.closed(CloseReason::kDestroyed), 1u);
}

TEST("room: an end of the peer that comes while frames wait for room comes behind them") {
  Hooked server(lines(false));
  const std::string large(256 << 10, 'l');
  EventRow stopped{};
  server.onFrame = [&](const EventRow& row, std::string_view text) {
    uint64_t place = 0;
    if (text == "pool") {
      CHECK(server.reactor().submit(row.slot, row.generation, spanOf(text), Task::kNone, &place) == Reactor::Submitted::kDone);
    } else if (text == "stop") {
      stopped = row;
      CHECK(server.reactor().pause(row.slot, row.generation, row.d));
      server.js().stop(row);
    } else {
      (void)server.write(row, std::string(text) + "\n");
    }
  };
  const Fd peer = server.connect("pool\nstop\na\nb\n");
  const FrameRef owed = server.task();
  server.turns(5);
  CHECK(stopped.generation != 0);
  (void)::shutdown(peer.get(), SHUT_WR);
  // In the turn in which it would be read again, a reply stops it anew.
  CHECK(server.reactor().resume(stopped.slot, stopped.generation));
  server.reply(owed, large);
  const std::string all = server.read(peer, large.size() + 100);
  CHECK_EQ(all.size(), large.size() + 4);
  CHECK(all.ends_with("a\nb\n"));
  server.until([&] { return server.closed(CloseReason::kEnd) == 1; });
}
