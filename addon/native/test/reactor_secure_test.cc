// The way of bytes through a layer in the driving thread, with a cipher that turns every bit: its output is framed, answered
// and limited like anything else.
#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

std::string turned(std::string_view text) {
  std::string bytes(text);
  for (char& byte : bytes) byte = static_cast<char>(~byte);
  return bytes;
}

ListenerConfig secure(bool toPool) {
  ListenerConfig config = lines(toPool);
  config.secure = true;
  return config;
}

// The thread's side of it. The first piece is the handshake.
struct Layer {
  Layer(Reactors& server, uint32_t index = 0) : reactor(server.reactor(index)) {
    server.js(index).hook = [this](const EventRow& row, std::string_view bytes) {
      if (row.event == Event::kCipher && row.c == 0) {
        reactor.feedEnd(row.slot, row.generation);
      } else if (row.event == Event::kCipher) {
        reactor.established(row.slot, row.generation);
        reactor.feed(row.slot, row.generation, spanOf(turned(bytes)));
        reactor.decrypted(row.slot, row.generation);
      } else if (row.event == Event::kPlain && row.c == 0) {
        reactor.writeCipher(row.slot, row.generation, spanOf(turned("(bye)")));
        reactor.cipherEnd(row.slot, row.generation);
      } else if (row.event == Event::kPlain) {
        most = std::max(most, bytes.size());
        reactor.writeCipher(row.slot, row.generation, spanOf(turned(bytes)));
        if (acknowledges) reactor.encrypted(row.slot, row.generation, row.c);
      } else if (row.event == Event::kFrame && answers) {
        reactor.write(row.slot, row.generation, spanOf(std::string(bytes) + "!\n"), Reactor::Place::kInOrder);
      }
      last = row;
    };
  }
  Reactor& reactor;
  bool answers = true, acknowledges = true;
  size_t most = 0;
  EventRow last{};
};

}  // namespace

TEST("a hook sees plaintext in frames, however the cipher was cut, and opens after the handshake") {
  Reactors server(secure(false));
  Layer layer(server);
  const Fd client = server.connect();
  CHECK(!server.js().saw("0 open"));
  const std::string text = turned("one\ntwo\nthree\n");
  for (const char byte : text) {
    say(client, {&byte, 1});
    server.turns(2);
  }
  CHECK_EQ(turned(server.read(client, 17)), "one!\ntwo!\nthree!\n");
  CHECK_EQ(server.js().frames(0), "one|two|three|");
  CHECK_EQ(server.js().all("0 open"), "|");
}

TEST("the pool gets the same frames, and its answers leave in order, with a goodbye") {
  Reactors server(secure(true));
  Layer layer(server);
  const Fd client = server.connect();
  say(client, turned("a\nb\nc\n"));
  const FrameRef a = server.task(), b = server.task(), c = server.task();
  for (const FrameRef& frame : {c, a, b}) server.echo(frame);
  CHECK_EQ(turned(server.read(client, 6)), "a\nb\nc\n");
  (void)::shutdown(client.get(), SHUT_WR);
  CHECK_EQ(turned(server.read(client, 100)), "(bye)");
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
}

TEST("plaintext waits for the layer in small pieces, counts as waiting, and closes a slow consumer") {
  ListenerConfig config = secure(false);
  config.outMaxBytes = 1 << 20;
  Reactors server(config);
  Layer layer(server);
  layer.answers = layer.acknowledges = false;
  const Fd client = server.connect();
  say(client, turned("go\n"));
  server.until([&] { return server.js().saw("0 frame go"); });
  const std::string piece(100 << 10, 'x');
  uint32_t writes = 0;
  while (server.reactor().write(0, layer.last.generation, spanOf(piece), Reactor::Place::kBetween) !=
         Reactor::WriteResult::kGone) {
    ++writes;
    server.turns(1);
  }
  CHECK_EQ(writes, (1u << 20) / (100u << 10));
  CHECK(layer.most <= 64 << 10);
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kSlowConsumer), 1u);
}

TEST("a failed layer lets its last words leave and closes as tls-error; one that is lost with its thread as thread-lost") {
  Reactors server(secure(false));
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kCipher || row.c == 0) return;
    server.reactor().writeCipher(row.slot, row.generation, spanOf("alert"));
    server.reactor().secureFailed(row.slot, row.generation);
    server.reactor().decrypted(row.slot, row.generation);
  };
  Fd client = server.connect();
  say(client, "nonsense");
  CHECK_EQ(server.read(client, 100), "alert");
  client.reset();
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kTlsError), 1u);

  Layer layer(server);
  const Fd begun = server.connect(), waiting = server.connect();
  say(begun, turned("hello\n"));
  (void)server.read(begun, 7);
  server.leave();
  server.takeOver(false);
  Layer next(server);
  say(waiting, turned("hi\n"));
  CHECK_EQ(turned(server.read(waiting, 4)), "hi!\n");
  CHECK_EQ(server.closed(CloseReason::kThreadLost), 1u);
  CHECK_EQ(server.open(), 1u);
}

TEST("a layer that fails while its frames are with a hook keeps what they lie in until the hook is through") {
  Reactors server(secure(false));
  server.js().hook = [&](const EventRow& row, std::string_view bytes) {
    if (row.event == Event::kCipher && row.c != 0) {
      server.reactor().established(row.slot, row.generation);
      server.reactor().feed(row.slot, row.generation, spanOf(turned(bytes)));
      server.reactor().decrypted(row.slot, row.generation);
    } else if (row.event == Event::kFrame) {
      server.reactor().writeCipher(row.slot, row.generation, spanOf("alert"));
      CHECK(server.reactor().secureFailed(row.slot, row.generation));
    }
  };
  Fd client = server.connect();
  say(client, turned("one\ntw"));
  CHECK_EQ(server.read(client, 100), "alert");
  client.reset();
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.js().frames(0), "one|");
  CHECK_EQ(server.closed(CloseReason::kTlsError), 1u);
}

TEST("first byte: a handshake is none, and neither is a record of nothing") {
  ListenerConfig config = secure(true);
  config.firstByteMs = 40;
  Reactors server(config);
  constexpr std::string_view kHello = "(hello)";
  server.js().hook = [&](const EventRow& row, std::string_view bytes) {
    if (row.event != Event::kCipher || row.c == 0) return;
    server.reactor().established(row.slot, row.generation);
    std::string plain = turned(bytes);
    while (plain.starts_with(kHello)) plain.erase(0, kHello.size());
    if (!plain.empty()) server.reactor().feed(row.slot, row.generation, spanOf(plain));
    server.reactor().decrypted(row.slot, row.generation);
  };
  const uint64_t start = monotonicMs();
  const std::string hello = turned(kHello);
  const Fd silent = server.connect(hello), speaker = server.connect(turned("(hello)x"));
  server.until([&] {
    (void)::send(silent.get(), hello.data(), hello.size(), MSG_NOSIGNAL);
    return server.closed(CloseReason::kFirstByteTimeout) == 1;
  });
  CHECK(monotonicMs() - start >= 40);
  const uint64_t end = monotonicMs() + 80;
  server.until([&] { return monotonicMs() >= end; });
  CHECK_EQ(server.closed(CloseReason::kFirstByteTimeout), 1u);
  CHECK_EQ(server.open(), 1u);
}

// The layer of a peer whose last bytes, goodbye and FIN come in one piece: all of it is said in one call.
struct LastWords : Layer {
  explicit LastWords(Reactors& server) : Layer(server) {
    server.js().hook = [this, usual = server.js().hook](const EventRow& row, std::string_view bytes) {
      if (row.event == Event::kCipher && row.c == 0) return;
      usual(row, bytes);
      if (row.event == Event::kCipher) CHECK(reactor.feedEnd(row.slot, row.generation));
    };
  }
};

TEST("the end under the keys comes behind every frame before it, and each of them is answered") {
  for (const bool halfOpen : {false, true}) {
    ListenerConfig config = secure(false);
    config.allowHalfOpen = halfOpen;
    Reactors server(config);
    LastWords layer(server);
    constexpr size_t kFrames = 5000;
    std::string text;
    for (size_t i = 0; i < kFrames; ++i) text += "x\n";
    const Fd client = server.connect();
    say(client, turned(text + "half a li"));
    CHECK_EQ(turned(server.read(client, kFrames * 3)).size(), kFrames * 3);
    server.until([&] { return server.js().saw("0 end"); });
    server.turns(3);
    CHECK_EQ(server.js().all("0 frame ").size(), kFrames * 2);
    CHECK_EQ(server.js().all("0 end"), "|");
    if (!halfOpen) CHECK_EQ(turned(server.read(client, 100)), "(bye)");
    const auto& seen = server.js().seen;
    const auto end = std::find(seen.begin(), seen.end(), "0 end");
    CHECK(std::none_of(end, seen.end(), [](const std::string& line) { return line.starts_with("0 frame"); }));
    CHECK(!server.reactor().feed(0, layer.last.generation, spanOf("more\n")));
    CHECK_EQ(server.open(), halfOpen ? 1u : 0u);
  }
}

TEST("the end under the keys waits while a hook pauses the connection, with frames before it or without") {
  for (const std::string_view stops : {"one", "two"}) {
    Reactors server(secure(false));
    LastWords layer(server);
    EventRow stopped{};
    server.js().hook = [&, usual = server.js().hook](const EventRow& row, std::string_view bytes) {
      usual(row, bytes);
      if (row.event != Event::kFrame || bytes != stops || stopped.generation != 0) return;
      stopped = row;
      CHECK(server.reactor().pause(row.slot, row.generation, row.d));
      server.js().stop(row);
    };
    const Fd client = server.connect();
    say(client, turned("one\ntwo\n"));
    server.until([&] { return stopped.generation != 0; });
    server.turns(20);
    CHECK_EQ(server.js().frames(0), stops == "one" ? "one|" : "one|two|");
    CHECK(!server.js().saw("0 end"));
    CHECK(server.reactor().resume(0, stopped.generation));
    CHECK_EQ(turned(server.read(client, 100)), "one!\ntwo!\n(bye)");
    CHECK_EQ(server.js().frames(0), "one|two|");
    CHECK_EQ(server.js().all("0 end"), "|");
    server.until([&] { return server.open() == 0; });
    CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
  }
}

TEST("the end under the keys waits for the frames that the pool takes later") {
  ListenerConfig config = secure(true);
  config.maxInFlight = 2;
  config.hooks = kHookEnd;
  Reactors server(config);
  LastWords layer(server);
  const Fd client = server.connect();
  say(client, turned("a\nb\nc\nd\ne\n"));
  for (int i = 0; i < 5; ++i) {
    CHECK(!server.js().saw("0 end"));
    server.echo(server.task());
  }
  CHECK_EQ(turned(server.read(client, 100)), "a\nb\nc\nd\ne\n(bye)");
  CHECK_EQ(server.js().all("0 end"), "|");
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
}

TEST("custom framing sees all bytes before the end under the keys, however few it takes at a time") {
  ListenerConfig config = secure(false);
  config.framing.kind = FramingKind::kCustom;
  Reactors server(config);
  LastWords layer(server);
  EventRow stopped{};
  server.js().hook = [&, usual = server.js().hook](const EventRow& row, std::string_view bytes) {
    usual(row, bytes);
    if (row.event != Event::kReceived) return;
    // One byte is taken, and the hook that gets it pauses.
    CHECK(server.reactor().consumed(row.slot, row.generation, 1, 0, false));
    CHECK(server.reactor().pause(row.slot, row.generation, 1));
    stopped = row;
  };
  const Fd client = server.connect();
  say(client, turned("abcde"));
  for (const std::string_view rest : {"abcde", "bcde", "cde", "de", "e"}) {
    server.until([&] { return server.js().saw("0 received " + std::string(rest)); });
    CHECK(!server.js().saw("0 end"));
    server.turns(3);
    CHECK(server.reactor().resume(0, stopped.generation));
  }
  CHECK_EQ(turned(server.read(client, 100)), "(bye)");
  CHECK_EQ(server.js().all("0 end"), "|");
}

TEST("a hook that hears of the end under the keys still answers") {
  Reactors server(secure(false));
  LastWords layer(server);
  server.js().hook = [&, usual = server.js().hook](const EventRow& row, std::string_view bytes) {
    usual(row, bytes);
    if (row.event != Event::kEnd) return;
    CHECK(server.reactor().write(row.slot, row.generation, spanOf("farewell\n"), Reactor::Place::kInOrder) ==
          Reactor::WriteResult::kBelowHigh);
  };
  const Fd client = server.connect();
  say(client, turned("one\n"));
  CHECK_EQ(turned(server.read(client, 100)), "one!\nfarewell\n(bye)");
  server.until([&] { return server.open() == 0; });
  CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
}

TEST("a connection that the app ends does not wait for an end under the keys that nobody will be told of") {
  Reactors server(secure(false));
  LastWords layer(server);
  server.js().hook = [&, usual = server.js().hook](const EventRow& row, std::string_view bytes) {
    usual(row, bytes);
    if (row.event != Event::kFrame) return;
    CHECK(server.reactor().pause(row.slot, row.generation, row.d));
    CHECK(server.reactor().end(row.slot, row.generation, Reactor::Place::kInOrder));
  };
  const Fd client = server.connect();
  say(client, turned("one\n"));
  CHECK_EQ(turned(server.read(client, 100)), "one!\n(bye)");
  // Not when its linger time is over: the peer has said that it has finished.
  server.turns(3);
  CHECK_EQ(server.open(), 0u);
  CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
}

TEST("what a peer sends behind its goodbye goes to no layer, and is read away up to a number of bytes") {
  ListenerConfig config = secure(true);
  config.allowHalfOpen = true;
  Reactors server(config);
  Layer layer(server);
  const Fd client = server.connect();
  say(client, turned("a\n"));
  const FrameRef frame = server.task();
  CHECK(server.reactor().feedEnd(layer.last.slot, layer.last.generation));
  server.turns(2);
  const size_t rows = server.js().seen.size();
  const std::string chunk(256 << 10, 'x');
  const auto taken = [&] { return server.reactor().counters().bytesRead.get(); };
  for (int idle = 0; idle < 8 && taken() < 2 * Connection::kMostDiscarded;) {
    const uint64_t before = taken();
    const ssize_t sent = ::send(client.get(), chunk.data(), chunk.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    server.turns(1);
    idle = sent <= 0 && taken() == before ? idle + 1 : 0;
  }
  CHECK(taken() < Connection::kMostDiscarded + (1 << 20));
  CHECK_EQ(server.js().seen.size(), rows);
  server.echo(frame);
  CHECK_EQ(turned(server.read(client, 2)), "a\n");
}

TEST("a stream half-closes after what waits, and goes on reading") {
  Reactors server(lines(false));
  Js& js = server.js();
  const Fd client = server.connect();
  say(client, "one\n");
  server.until([&] { return js.saw("0 frame one"); });
  EventRow last{};
  js.hook = [&](const EventRow& row, std::string_view) { last = row; };
  say(client, "two\n");
  server.until([&] { return js.saw("0 frame two"); });
  Reactor& reactor = server.reactor();
  CHECK(reactor.stream(0, last.generation));
  CHECK(!reactor.stream(0, last.generation));
  reactor.write(0, last.generation, spanOf("bye"), Reactor::Place::kInOrder, Writer::kStream);
  CHECK(reactor.finish(0, last.generation));
  CHECK_EQ(server.read(client, 100), "bye");
  CHECK(js.saw("0 drain"));
  say(client, "three\n");
  server.until([&] { return js.saw("0 frame three"); });
  CHECK_EQ(server.open(), 1u);
  (void)::shutdown(client.get(), SHUT_WR);
  server.until([&] { return server.open() == 0; });
  CHECK(js.saw("0 end"));
  CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
}

TEST("what the layer says of its own accord to a peer that reads nothing stops the reading, and closes it at the maximum") {
  for (const bool floods : {false, true}) {
    ListenerConfig config = secure(true);
    config.outMaxBytes = 1 << 20;
    Reactors server(config);
    // As an answer to a peer that asks for new keys: no plaintext is behind it.
    const std::string answer(4 << 10, 'k');
    server.js().hook = [&](const EventRow& row, std::string_view) {
      if (row.event != Event::kCipher || row.c == 0) return;
      server.reactor().established(row.slot, row.generation);
      for (int i = 0; i < (floods ? 1000 : 1); ++i) {
        if (!server.reactor().writeCipher(row.slot, row.generation, spanOf(answer))) break;
      }
      server.reactor().decrypted(row.slot, row.generation);
    };
    const Fd client = server.connect("x");
    if (floods) {
      server.until([&] { return server.closed(CloseReason::kSlowConsumer) == 1; });
      continue;
    }
    const auto& counters = server.reactor().counters();
    // Each byte comes alone, as long as it is read.
    uint64_t sent = 1;
    for (int still = 0; still < 20;) {
      if (counters.bytesRead.get() == sent) {
        still = 0;
        if (sent == 2000) break;
        (void)::send(client.get(), "x", 1, MSG_NOSIGNAL);
        ++sent;
      }
      ++still;
      server.turns(1);
    }
    CHECK(sent < 200);
    CHECK(counters.buffered.get() <= config.outHighBytes + 2 * answer.size());
    CHECK_EQ(counters.pausesByPeer.get(), 1u);
    CHECK_EQ(server.open(), 1u);
    // It goes on when the peer reads.
    (void)server.read(client, (sent - 1) * answer.size());
    server.until([&] { return counters.bytesRead.get() == sent; });
  }
}

TEST("a connection is read in the steps that its layer asks for, within bounds") {
  Reactors server(secure(false));
  uint32_t asked = 0, read = 0;
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kCipher || row.c == 0) return;
    if (read == 0) read = row.c;
    server.reactor().decrypted(row.slot, row.generation, asked);
  };
  const Fd client = server.connect();
  const std::string text(256 << 10, 'x');
  struct Step {
    uint32_t bytes, asked;
  };
  // Nothing is known of its bytes at first. A requested size holds from the next read on.
  for (const Step& step : {Step{16 << 10, 0}, Step{4 << 10, 5000}, Step{5000, UINT32_MAX}, Step{64 << 10, 0}}) {
    (void)::send(client.get(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    asked = step.asked;
    read = 0;
    server.until([&] { return read != 0; });
    CHECK_EQ(read, step.bytes);
  }
}

TEST("the goodbye of a peer comes behind the frames before it, also while its connection is paused") {
  for (const bool toPool : {false, true}) {
    ListenerConfig config = secure(toPool);
    config.maxInFlight = 1;
    Reactors server(config);
    Layer layer(server);
    layer.answers = false;
    uint32_t generation = 0;
    const auto answersLast = std::move(server.js().hook);
    server.js().hook = [&](const EventRow& row, std::string_view bytes) {
      // The layer hands out the last plaintext and the end in one go, as that of node:tls does.
      answersLast(row, bytes);
      if (row.event == Event::kCipher && row.c != 0) server.reactor().feedEnd(row.slot, row.generation);
      if (row.event != Event::kFrame) return;
      generation = row.generation;
      server.reactor().pause(row.slot, row.generation, row.d);
      server.js().stop(row);
      server.reactor().write(row.slot, row.generation, spanOf(std::string(bytes) + "!\n"), Reactor::Place::kInOrder);
    };
    const Fd client = server.connect();
    say(client, turned("one\ntwo\nthree\n"));
    std::string got;
    for (int i = 1; i <= 3; ++i) {
      if (toPool) {
        const FrameRef frame = server.task();
        server.turns(3);
        server.reply(frame, Reactors::bodyOf(frame) + "!\n");
      } else {
        server.until([&] { return server.js().frames(0).size() == (i == 1 ? 4u : i == 2 ? 8u : 14u); });
        server.turns(3);
        CHECK(!server.js().saw("0 end"));
        CHECK(server.reactor().resume(0, generation));
      }
    }
    CHECK_EQ(turned(server.read(client, 100)), "one!\ntwo!\nthree!\n(bye)");
    server.until([&] { return server.open() == 0; });
    CHECK_EQ(server.closed(CloseReason::kEnd), 1u);
  }
}

TEST("destroy() under TLS closes at once where nothing is being encrypted, also when the peer reads nothing") {
  Reactors server(secure(false));
  Layer layer(server);
  const Fd client = server.connect();
  say(client, turned("a\n"));
  CHECK_EQ(turned(server.read(client, 3)), "a!\n");
  const std::string large(4 << 20, 'l');
  const EventRow row = layer.last;
  CHECK(server.reactor().write(row.slot, row.generation, spanOf(large), Reactor::Place::kInOrder) == Reactor::WriteResult::kFull);
  server.turns(50);
  CHECK(server.reactor().destroy(row.slot, row.generation, CloseReason::kDestroyed));
  CHECK_EQ(server.closed(CloseReason::kDestroyed), 1u);
}

TEST("destroy() under TLS waits for what is being encrypted, and no longer than its layer lives") {
  for (const bool fails : {false, true}) {
    Reactors server(secure(false));
    Layer layer(server);
    layer.acknowledges = false;
    const Fd client = server.connect();
    say(client, turned("a\n"));
    CHECK_EQ(turned(server.read(client, 3)), "a!\n");
    const EventRow row = layer.last;
    CHECK(server.reactor().destroy(row.slot, row.generation, CloseReason::kDestroyed));
    CHECK_EQ(server.open(), 1u);
    if (fails) {
      CHECK(server.reactor().secureFailed(row.slot, row.generation));
    } else {
      CHECK(server.reactor().encrypted(row.slot, row.generation, 3));
    }
    CHECK_EQ(server.closed(CloseReason::kDestroyed), 1u);
  }
}
