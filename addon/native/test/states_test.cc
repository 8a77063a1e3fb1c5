// The writers that may put bytes on a connection in each of its states: each is tried in every state, and the peer's bytes are
// compared with the table of reactor/may_write.h. docs/states.md is compared with it too, by test/docs.
#include <tuple>

#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr std::string_view kStateNames[kStates] = {"gone",  "hidden",   "served",        "draining", "ending",
                                                   "ended", "streamed", "stream ending", "piped",    "finished"};
constexpr std::string_view kWriterNames[kWriters] = {"reply", "hook", "send", "publication", "prompt", "stream", "pipe", "tls"};

constexpr std::string_view kWritten = "WRITTEN";

// One connection, and one more that it can be piped to.
struct Scene {
  explicit Scene(bool secure) : server(config(secure)), isSecure(secure) {
    server.js().hook = [this](const EventRow& row, std::string_view) {
      if (row.event == Event::kOpen) opened.emplace_back(row.slot, row.generation);
      if (row.event == Event::kCipher && ciphers.empty()) ciphers.emplace_back(row.slot, row.generation);
      if (row.event == Event::kCipher) (void)server.reactor().decrypted(row.slot, row.generation);
      // In place of the TLS layer: nothing is encrypted here.
      if (row.event == Event::kPlain && row.c != 0) (void)server.reactor().encrypted(row.slot, row.generation, row.c);
      if (row.event == Event::kPlain && row.c == 0) (void)server.reactor().cipherEnd(row.slot, row.generation);
    };
    client = server.connect("hello");
    if (secure) {
      server.until([this] { return !ciphers.empty(); });
      std::tie(slot, generation) = ciphers[0];
    }
  }
  static ListenerConfig config(bool secure) {
    ListenerConfig listener = lines(false);
    listener.allowHalfOpen = true;
    listener.secure = secure;
    return listener;
  }

  // Its handshake is over, if there is one: hooks have seen it.
  void serve() {
    if (isSecure) CHECK(server.reactor().established(slot, generation));
    server.until([this] { return !opened.empty(); });
    std::tie(slot, generation) = opened[0];
    (void)server.reactor().subscribe(slot, generation, "topic", SlowPolicy::kClose);
  }
  uint64_t defer() {
    uint64_t sequence = 0;
    CHECK(server.reactor().defer(slot, generation, &sequence));
    return sequence;
  }

  void enter(State state) {
    Reactor& reactor = server.reactor();
    if (state == State::kHidden) return;
    serve();
    switch (state) {
      case State::kGone:
        CHECK(reactor.destroy(slot, generation, CloseReason::kDestroyed));
        return;
      case State::kDraining:
        place = defer();  // or it would be gone at once
        reactor.drain(60'000);
        return;
      case State::kEnding:
        place = defer();
        CHECK(reactor.end(slot, generation, Reactor::Place::kBetween));
        return;
      case State::kEnded:
      case State::kFinished: {
        const uint64_t last = defer();
        place = defer();
        (void)reactor.settleDeferred(slot, generation, last, spanOf("bye"), Reply::kLast | Reply::kEnd);
        if (state == State::kFinished) server.turns(20);
        return;
      }
      case State::kStreamed:
        place = defer();
        CHECK(reactor.stream(slot, generation));
        return;
      case State::kStreamEnding:
        place = defer();
        CHECK(reactor.stream(slot, generation));
        CHECK(reactor.finish(slot, generation));
        return;
      case State::kPiped:
        other = server.connect();
        server.until([this] { return opened.size() == 2; });
        CHECK(reactor.pipe(slot, generation, Reactor::kOutsideMessage, opened[1].first, opened[1].second,
                           Reactor::kOutsideMessage) == Reactor::Piped::kDone);
        return;
      default:
        place = defer();
    }
  }

  void write(Writer writer) {
    Reactor& reactor = server.reactor();
    const auto bytes = spanOf(kWritten);
    switch (writer) {
      case Writer::kReply:
        if (!place) {
          uint64_t sequence = 0;
          if (!reactor.defer(slot, generation, &sequence)) return;
          place = sequence;
        }
        (void)reactor.settleDeferred(slot, generation, *place, bytes, Reply::kLast);
        return;
      case Writer::kSend: {
        auto send = std::make_unique<Send>();
        send->connection = ConnectionId::of(0, slot, generation);
        send->data.assign(bytes.begin(), bytes.end());
        port = server.exchange->openPort();
        send->replyTo = *port;
        server.exchange->mailbox(server.exchange->reactorMailbox(0)).send(std::move(send));
        return;
      }
      case Writer::kPublication:
        (void)reactor.subscribe(slot, generation, "topic", SlowPolicy::kClose);
        (void)reactor.publishHere("topic", bytes);
        return;
      case Writer::kPipe:
        if (other.valid()) say(other, kWritten);
        return;
      case Writer::kTls:
        (void)reactor.writeCipher(slot, generation, bytes);
        return;
      case Writer::kStream:  // in order, behind the places that were open when it began
        if (place) (void)reactor.settleDeferred(slot, generation, *place, {}, Reply::kLast);
        (void)reactor.write(slot, generation, bytes, Reactor::Place::kInOrder, writer);
        return;
      default:
        (void)reactor.write(slot, generation, bytes, Reactor::Place::kBetween, writer);
    }
  }

  bool arrives() {
    std::string all;
    char some[4096];
    for (int i = 0; i < 40; ++i) {
      server.turns(1);
      const Result<size_t> got = sock::receive(client.get(), some, sizeof(some));
      if (got.ok()) all.append(some, got.value);
    }
    const size_t at = all.find(kWritten);
    CHECK(at == std::string::npos || all.find(kWritten, at + 1) == std::string::npos);
    return at != std::string::npos;
  }

  Reactors server;
  const bool isSecure;
  Fd client, other;
  std::vector<std::pair<uint32_t, uint32_t>> opened, ciphers;
  uint32_t slot = 0, generation = 0;
  std::optional<uint64_t> place;
  std::optional<uint16_t> port;
};

}  // namespace

TEST("states: every writer, in every state, does what the table says") {
  size_t tried = 0;
  for (size_t s = 0; s < kStates; ++s) {
    for (size_t w = 0; w < kWriters; ++w) {
      const auto state = static_cast<State>(s);
      const auto writer = static_cast<Writer>(w);
      // TLS is never piped; a hidden connection of ours is one in its handshake.
      const bool secure = state == State::kHidden || (writer == Writer::kTls && state != State::kPiped);
      const Note note([&] { return std::string(kWriterNames[w]) + " on a connection that is " + std::string(kStateNames[s]); });
      Scene scene(secure);
      scene.enter(state);
      scene.write(writer);
      CHECK_EQ(scene.arrives(), kMayWrite[s][w]);
      ++tried;
    }
  }
  CHECK_EQ(tried, kStates * kWriters);
}

TEST("states: what waited between replies does not follow the reply that ends the connection") {
  Scene scene(false);
  scene.serve();
  Reactor& reactor = scene.server.reactor();
  const uint64_t last = scene.defer();
  (void)reactor.settleDeferred(scene.slot, scene.generation, last, spanOf("last "), 0);
  (void)reactor.write(scene.slot, scene.generation, spanOf("between"), Reactor::Place::kBetween);
  (void)reactor.settleDeferred(scene.slot, scene.generation, last, spanOf("words"), Reply::kLast | Reply::kEnd);
  CHECK_EQ(scene.server.read(scene.client, 64), "last words");
}

TEST("states: a deferred reply that comes behind the end of its connection is told so") {
  for (const bool unordered : {false, true}) {
    ListenerConfig listener = lines(false);
    listener.unordered = unordered;
    Reactors server(listener);
    std::optional<EventRow> open;
    server.js().hook = [&](const EventRow& row, std::string_view) {
      if (row.event == Event::kOpen) open = row;
    };
    const Fd client = server.connect();
    server.until([&] { return open.has_value(); });
    Reactor& reactor = server.reactor();
    uint64_t first = 0, second = 0;
    CHECK(reactor.defer(open->slot, open->generation, &first) && reactor.defer(open->slot, open->generation, &second));
    const auto settle = [&](uint64_t place, std::string_view said, uint16_t flags) {
      return reactor.settleDeferred(open->slot, open->generation, place, spanOf(said), flags);
    };
    CHECK(settle(first, "last", Reply::kLast | Reply::kEnd) == Reactor::WriteResult::kBelowHigh);
    CHECK(settle(second, "late", Reply::kLast) == Reactor::WriteResult::kGone);
    CHECK_EQ(server.read(client, 64), "last");
  }
}

TEST("states: a peer that has half-closed gets what a hook that was at work then still writes") {
  Reactors server(lines(false));
  std::optional<EventRow> frame;
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kFrame) return;
    frame = row;
    CHECK(server.reactor().hold(row.slot, row.generation, true) != Reactor::kNoPlace);
  };
  const Fd client = server.connect();
  say(client, "question\n");
  ::shutdown(client.get(), SHUT_WR);
  server.until([&] { return server.js().saw("0 end"); });
  server.turns(3);
  CHECK_EQ(server.open(), 1u);
  (void)server.reactor().write(frame->slot, frame->generation, spanOf("answer"), Reactor::Place::kBetween);
  (void)server.reactor().hold(frame->slot, frame->generation, false);
  CHECK_EQ(server.read(client, 64), "answer");
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
}

TEST("states: a peer that has half-closed is told of the end although its connection is to move") {
  Reactors server(lines(false), 2);
  std::optional<EventRow> frame;
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kHandover) CHECK(server.reactor().moveNow(row.slot, row.generation, {}, false));
    if (row.event != Event::kFrame) return;
    frame = row;
    CHECK(server.reactor().hold(row.slot, row.generation, true) != Reactor::kNoPlace);
  };
  const Fd client = server.connect();
  say(client, "question\n");
  ::shutdown(client.get(), SHUT_WR);
  server.until([&] { return server.js().saw("0 end"); });
  server.turns(3);
  CHECK(server.reactor().moveTo(frame->slot, frame->generation, 1, Reactor::kOutsideMessage));
  (void)server.reactor().hold(frame->slot, frame->generation, false);
  server.until([&] { return server.open() == 0 && server.reactor(1).counters().open.get() == 0; });
}

TEST("states: a finished connection that is paused sees the end of its peer") {
  Scene scene(false);
  scene.enter(State::kFinished);
  CHECK(scene.server.reactor().pause(scene.slot, scene.generation, Reactor::kOutsideMessage));
  ::shutdown(scene.client.get(), SHUT_WR);
  // At once, not when its time to linger is over.
  scene.server.turns(4);
  CHECK_EQ(scene.server.open(), 0u);
}

TEST("states: a finished connection that moves waits for its peer no longer than any other") {
  Reactors server(lines(false), 2);
  std::optional<EventRow> open, handover;
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kOpen) open = row;
    if (row.event == Event::kHandover) handover = row;
  };
  const Fd client = server.connect();
  server.until([&] { return open.has_value(); });
  Reactor& reactor = server.reactor();
  CHECK(reactor.moveTo(open->slot, open->generation, 1, Reactor::kOutsideMessage));
  server.until([&] { return handover.has_value(); });
  // While its suspend hook is asked.
  (void)reactor.write(open->slot, open->generation, spanOf("bye"), Reactor::Place::kBetween);
  CHECK(reactor.end(open->slot, open->generation, Reactor::Place::kBetween));
  CHECK_EQ(server.read(client, 64), "bye");
  CHECK(reactor.moveNow(open->slot, open->generation, {}, false));
  server.until([&] { return server.reactor(1).counters().open.get() == 1; });
  CHECK(server.reactor(1).untilNextTimerMs() > 0);
}

TEST("states: without order, no stream begins while a reply could come in the middle of it") {
  ListenerConfig listener = lines(false);
  listener.unordered = true;
  Reactors server(listener);
  std::optional<EventRow> open;
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kOpen) open = row;
  };
  const Fd client = server.connect();
  server.until([&] { return open.has_value(); });
  Reactor& reactor = server.reactor();
  uint64_t sequence = 0;
  CHECK(reactor.defer(open->slot, open->generation, &sequence));
  CHECK(!reactor.stream(open->slot, open->generation));
  (void)reactor.settleDeferred(open->slot, open->generation, sequence, spanOf("reply\n"), Reply::kLast);
  CHECK(reactor.stream(open->slot, open->generation));
  (void)reactor.write(open->slot, open->generation, spanOf("stream"), Reactor::Place::kInOrder, Writer::kStream);
  CHECK_EQ(server.read(client, 12), "reply\nstream");
}

TEST("states: a piped connection has no subscription, and gets none") {
  Scene scene(false);
  scene.enter(State::kPiped);
  Reactor& reactor = scene.server.reactor();
  CHECK(reactor.subscriptions(scene.slot, scene.generation).empty());
  CHECK(reactor.subscribe(scene.slot, scene.generation, "topic", SlowPolicy::kClose) == Reactor::Subscribed::kGone);
  CHECK_EQ(reactor.counters().subscriptions.get(), 0u);
}

TEST("states: nothing is submitted, deferred or placed on a connection that hooks do not own; a call is nobody's bytes") {
  for (const State state : {State::kStreamed, State::kPiped, State::kHidden}) {
    Scene scene(state == State::kHidden);
    scene.enter(state);
    Reactor& reactor = scene.server.reactor();
    uint64_t sequence = 0;
    uint32_t low = 0, key = 0;
    CHECK(reactor.submit(scene.slot, scene.generation, spanOf("x"), Task::kNone, &sequence) == Reactor::Submitted::kGone);
    CHECK(!reactor.defer(scene.slot, scene.generation, &sequence));
    CHECK(reactor.place(scene.slot, scene.generation, spanOf("x"), &low, &key));
    CHECK_EQ(scene.server.exchange->queue().depth(), 0u);
    CHECK(reactor.submit(scene.slot, scene.generation, spanOf("x"), Task::kRun, &sequence) == Reactor::Submitted::kDone);
  }
}
