// A driving thread dies or leaves; its connections go on with the next one.
#include <thread>

#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

// The connection of the last row, for calls from outside of a hook.
struct Names {
  explicit Names(Js& js) {
    js.hook = [this](const EventRow& row, std::string_view) {
      if (rows.size() <= row.slot) rows.resize(row.slot + 1);
      rows[row.slot] = row;
    };
  }
  uint32_t generation(uint32_t slot) const { return rows.at(slot).generation; }
  std::vector<EventRow> rows;
};

}  // namespace

TEST("what no hook has begun comes again, once and in order, half a frame too") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect(), c = server.connect();
  say(a, "a1\na2\n");
  say(b, "b1\nb2\nb3\nhalf");
  say(c, "c1\n");
  server.js().diesBefore = "1 frame b2";
  server.until([&] { return server.js().dead; });
  const std::vector<std::string> before = server.js().seen;
  server.replaceDead();
  server.until([&] { return server.js().saw("1 frame b3"); });
  say(b, " whole\n");
  server.until([&] { return server.js().saw("1 frame half whole"); });
  Js both;
  both.seen = before;
  both.seen.insert(both.seen.end(), server.js().seen.begin(), server.js().seen.end());
  CHECK_EQ(both.frames(0), "a1|a2|");
  CHECK_EQ(both.frames(1), "b1|b2|b3|half whole|");
  CHECK_EQ(both.frames(2), "c1|");
  CHECK_EQ(server.js().frames(1), "b2|b3|half whole|");
  for (const char* line : {"0 restore", "1 restore", "2 restore"}) CHECK(server.js().saw(line));
  CHECK_EQ(server.js().all("0 open") + server.js().all("1 open"), "");
  CHECK_EQ(server.open(), 3u);
  CHECK_EQ(server.admitted(), 3u);
}

TEST("the frame in the hook is not replayed, and its connection closes") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect(), c = server.connect();
  say(a, "a1\na2\n");
  say(b, "b1\nb2\nb3\n");
  say(c, "c1\nc2\n");
  server.js().diesIn = "1 frame b2";
  server.until([&] { return server.js().dead; });
  const std::string framesOfA = server.js().frames(0), framesOfC = server.js().frames(2);
  server.replaceDead();
  CHECK_EQ(server.read(b, 1), "");
  server.until([&] { return framesOfA + server.js().frames(0) == "a1|a2|" && framesOfC + server.js().frames(2) == "c1|c2|"; });
  server.turns(3);
  CHECK_EQ(server.js().frames(1), "");
  CHECK_EQ(server.js().all("1 restore"), "");
  CHECK_EQ(server.closed(CloseReason::kThreadLost), 1u);
  CHECK_EQ(server.admitted(), 2u);
  CHECK_EQ(server.open(), 2u);
}

TEST("frames behind a half one that came earlier survive the thread as well") {
  Reactors server(lines(false));
  const Fd a = server.connect();
  say(a, "ha");
  server.turns(3);
  say(a, "lf\nx\ny\nz");
  server.js().diesBefore = "0 frame x";
  server.until([&] { return server.js().dead; });
  CHECK_EQ(server.js().frames(0), "half|");
  server.replaceDead();
  say(a, "z\n");
  server.until([&] { return server.js().saw("0 frame zz"); });
  CHECK_EQ(server.js().frames(0), "x|y|zz|");
}

TEST("a frame too large behind frames that come again is found again") {
  ListenerConfig config = lines(false);
  config.framing.maxBytes = 8;
  Reactors server(config);
  Fd a = server.connect();
  say(a, "good\nfar too large\n");
  server.js().diesBefore = "0 frame good";
  server.replaceDead();
  server.until([&] { return server.js().saw("0 frame good"); });
  CHECK_EQ(server.read(a, 1), "");
  a.reset();
  server.until([&] { return server.closed(CloseReason::kFrameTooLarge) == 1; });
}

TEST("what was handled before a pause in the same batch does not come again") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect();
  Names names(server.js());
  say(a, "a1\na2\na3\n");
  say(b, "b1\n");
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (frame != "a2") return;
    CHECK(server.reactor().pause(row.slot, row.generation, row.d));
    server.js().stop(row);
  };
  server.js().diesBefore = "1 frame b1";
  server.until([&] { return server.js().dead; });
  CHECK_EQ(server.js().frames(0), "a1|a2|");
  server.leave();
  server.takeOver(true);
  Names next(server.js());
  server.until([&] { return server.js().saw("1 frame b1"); });
  CHECK_EQ(server.js().frames(0), "");
  CHECK(server.reactor().resume(0, next.generation(0)));
  server.until([&] { return server.js().saw("0 frame a3"); });
  CHECK_EQ(server.js().frames(0), "a3|");
}

TEST("a connection whose open row was not begun is opened again, not resumed") {
  Reactors server(lines(false));
  server.js().diesBefore = "1 open";
  const Fd a = connected(server.address), b = connected(server.address);
  say(b, "b1\n");
  server.replaceDead();
  server.until([&] { return server.js().saw("1 frame b1"); });
  CHECK_EQ(server.js().all("1 "), "open|frame b1|");
  CHECK_EQ(server.js().all("0 "), "restore|");
}

TEST("an end that no hook has seen comes after the frames, once") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect();
  say(b, "b1\n");
  must(sock::shutdownWrite(b.get()));
  server.js().diesBefore = "1 end";
  server.replaceDead();
  server.until([&] { return server.js().saw("1 close end"); });
  CHECK_EQ(server.js().all("1 "), "restore|end|close end|");
}

TEST("an end behind frames that come again does not swallow them") {
  Reactors server(lines(false));
  const Fd a = server.connect();
  say(a, "a1\na2\n");
  must(sock::shutdownWrite(a.get()));
  server.js().diesBefore = "0 frame a2";
  server.replaceDead();
  server.until([&] { return server.js().saw("0 close end"); });
  CHECK_EQ(server.js().all("0 "), "restore|frame a2|end|close end|");
}

TEST("custom framing: what a returned call used does not come again, what was not begun comes whole") {
  ListenerConfig config = lines(false);
  config.framing.kind = FramingKind::kCustom;
  Reactors server(config);
  const Fd a = server.connect(), b = server.connect();
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kReceived) CHECK(server.reactor().consumed(row.slot, row.generation, 4, 0, false));
  };
  say(a, "used-a");
  say(b, "all-b");
  server.js().diesBefore = "1 received all-b";
  server.until([&] { return server.js().dead; });
  CHECK(server.js().saw("0 received used-a"));
  server.replaceDead();
  server.until([&] { return server.js().saw("0 received -a") && server.js().saw("1 received all-b"); });
}

TEST("connections that a promise or a deferred reply holds close when the thread leaves") {
  Reactors server(lines(false));
  const Fd held = server.connect(), deferred = server.connect(), released = server.connect(), free = server.connect();
  Names names(server.js());
  for (const Fd* fd : {&held, &deferred, &released, &free}) say(*fd, "x\n");
  server.until([&] { return server.js().saw("3 frame x"); });
  uint64_t sequence;
  CHECK(server.reactor().hold(0, names.generation(0), true) != Reactor::kNoPlace);
  CHECK(server.reactor().defer(1, names.generation(1), &sequence));
  CHECK(server.reactor().hold(2, names.generation(2), true) != Reactor::kNoPlace);
  CHECK(server.reactor().hold(2, names.generation(2), false) != Reactor::kNoPlace);
  server.leave();
  CHECK_EQ(server.closed(CloseReason::kThreadLost), 2u);
  CHECK_EQ(server.admitted(), 2u);
  server.takeOver(true);
  CHECK_EQ(server.read(held, 1), "");
  CHECK_EQ(server.read(deferred, 1), "");
  say(released, "y\n");
  say(free, "z\n");
  server.until([&] { return server.js().saw("2 frame y") && server.js().saw("3 frame z"); });
}

TEST("connections that a thread holds which ends without a word close when the next one begins") {
  Reactors server(lines(false));
  Names names(server.js());
  const Fd held = server.connect("held\n"), free = server.connect("free\n");
  server.until([&] { return server.js().saw("1 frame free"); });
  server.reactor().detach();
  std::thread dies([&] {
    CHECK(server.reactor().attach(server.threads[0].get()));
    CHECK(server.reactor().hold(0, names.generation(0), true) != Reactor::kNoPlace);
  });
  dies.join();
  server.reactor().forgetDeadThread();
  server.takeOver(true);
  CHECK_EQ(server.read(held, 1), "");
  CHECK_EQ(server.closed(CloseReason::kThreadLost), 1u);
  say(free, "more\n");
  server.until([&] { return server.js().saw("1 frame more"); });
}

TEST("a connection whose call was answered before its thread could hear of it closes") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect();
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    uint64_t sequence;
    if (frame == "call") server.reactor().submit(row.slot, row.generation, spanOf(frame), Task::kRun, &sequence);
  };
  say(a, "call\n");
  say(b, "call\n");
  const FrameRef first = server.task(), second = server.task();
  server.reply(first, "result", Reply::kLast | Reply::kRun);
  server.until([&] { return server.js().saw("0 result"); });
  server.js().diesBefore = "1 result";
  server.reply(second, "result", Reply::kLast | Reply::kRun);
  server.replaceDead();
  CHECK_EQ(server.read(b, 1), "");
  CHECK_EQ(server.closed(CloseReason::kThreadLost), 1u);
  say(a, "x\n");
  server.until([&] { return server.js().saw("0 frame x"); });
  CHECK_EQ(server.admitted(), 1u);
}

TEST("data is lost with the thread: no restore hook, no connection") {
  for (const bool hasHook : {false, true}) {
    ListenerConfig config = lines(false);
    if (hasHook) config.hooks |= kHookRestore;
    Reactors server(config);
    const Fd a = server.connect(), b = server.connect();
    Names names(server.js());
    say(a, "x\n");
    say(b, "x\n");
    server.until([&] { return server.js().saw("0 frame x") && server.js().saw("1 frame x"); });
    CHECK(server.reactor().setHasData(0, names.generation(0), true));
    CHECK(server.reactor().setHasData(1, names.generation(1), true));
    CHECK(server.reactor().setHasData(1, names.generation(1), false));
    server.leave();
    server.takeOver(true);
    server.until([&] { return server.js().saw("1 restore"); });
    CHECK_EQ(server.closed(CloseReason::kThreadLost), hasHook ? 0u : 1u);
    CHECK_EQ(server.js().saw("0 restore lost"), hasHook);
    if (!hasHook) CHECK_EQ(server.read(a, 1), "");
    CHECK_EQ(server.admitted(), hasHook ? 2u : 1u);
  }
}

TEST("a state that no hook has seen is for the thread after the next, with a restore hook or without") {
  for (const bool hasHook : {false, true}) {
    ListenerConfig config = lines(false);
    if (hasHook) config.hooks |= kHookRestore;
    Reactors server(config);
    const Fd a = server.connect(), b = server.connect();
    Names names(server.js());
    say(a, "x\n");
    say(b, "x\n");
    server.until([&] { return server.js().saw("0 frame x") && server.js().saw("1 frame x"); });
    for (const uint32_t slot : {0u, 1u}) CHECK(server.reactor().setHasData(slot, names.generation(slot), true));
    server.reactor().quiesce();
    server.until([&] { return server.js().saw("0 quiet"); });
    CHECK(server.reactor().keepState(0, names.generation(0), spanOf("mine")));
    CHECK(server.reactor().keepState(1, names.generation(1), spanOf("yours")));
    server.leave();
    server.takeOver(false);
    server.js().diesBefore = "1 restore with yours";
    server.until([&] { return server.js().dead; });
    CHECK_EQ(server.js().all("0 "), "restore with mine|");
    CHECK(server.reactor().setHasData(0, names.generation(0), true));  // as `conn.data = state` does
    server.leave();
    // Threads that end before they have seen anything do not change it.
    server.takeOver(true);
    server.leave();
    server.takeOver(true);
    server.until([&] { return server.js().saw("1 restore with yours"); });
    CHECK_EQ(server.js().all("1 "), "restore with yours|");
    CHECK_EQ(server.js().all("0 "), hasHook ? "restore lost|" : "close thread-lost|");
    CHECK_EQ(server.closed(CloseReason::kThreadLost), hasHook ? 0u : 1u);
    // Seen once, it is the thread's own, and goes with it.
    server.leave();
    server.takeOver(true);
    server.until([&] { return server.js().saw("1 restore"); });
    CHECK_EQ(server.js().all("1 "), "restore|");
  }
}

TEST("data that is lost stays lost when the next thread dies before it is told") {
  ListenerConfig config = lines(false);
  config.hooks |= kHookRestore;
  Reactors server(config);
  const Fd a = server.connect();
  Names names(server.js());
  say(a, "x\n");
  server.until([&] { return server.js().saw("0 frame x"); });
  CHECK(server.reactor().setHasData(0, names.generation(0), true));
  server.leave();
  server.takeOver(true);
  server.js().diesBefore = "0 restore lost";
  server.replaceDead();
  server.until([&] { return server.js().saw("0 restore lost"); });
  CHECK_EQ(server.js().all("0 "), "restore lost|");
}

TEST("half a PROXY header is no frame for whoever takes over, and says who it is when it is whole") {
  for (const bool toPool : {false, true}) {
    Reactors server(lines(toPool), 1, {}, {.proxyFrom = std::make_shared<CidrSet>()});
    const Fd a = server.connect(kProxyHead);
    server.until([&] { return server.reactor().counters().bytesRead.get() == kProxyHead.size(); });
    server.reactor().quiesce();
    server.until([&] { return server.js().saw("0 quiet"); });
    server.leave();
    server.takeOver(false);
    server.reactor().updateListener(0, lines(toPool));
    server.turns(3);
    Names names(server.js());
    say(a, std::string(kProxyRest) + "hello\nand");
    if (toPool) {
      const FrameRef frame = server.task();
      CHECK_EQ(Reactors::bodyOf(frame), "hello");
      CHECK_EQ(frame.task->header().peer.port, 56324u);
    } else {
      server.until([&] { return server.js().saw("0 frame hello"); });
      CHECK_EQ(server.js().all("0 "), "open|frame hello|");
      Reactor::Details details{};
      CHECK(server.reactor().details(0, names.generation(0), &details));
      CHECK_EQ(details.peer.port, 56324u);
    }
    CHECK_EQ(server.open(), 1u);
  }
}

TEST("quiesce: hooks are fed no more, it is quiet when the last promise is, and the next thread gets the state") {
  ListenerConfig config = lines(false);
  config.hooks |= kHookRestore;
  Reactors server(config);
  const Fd a = server.connect(), b = server.connect();
  Names names(server.js());
  say(a, "a1\n");
  say(b, "b1\n");
  server.until([&] { return server.js().saw("0 frame a1") && server.js().saw("1 frame b1"); });
  CHECK(server.reactor().hold(0, names.generation(0), true) != Reactor::kNoPlace);
  CHECK(server.reactor().setHasData(0, names.generation(0), true));
  server.reactor().quiesce();
  say(a, "a2\n");
  say(b, "b2\nhalf");
  server.turns(5);
  CHECK(!server.js().saw("0 quiet"));
  CHECK_EQ(server.js().frames(0) + server.js().frames(1), "a1|b1|");
  CHECK(server.reactor().hold(0, names.generation(0), false) != Reactor::kNoPlace);
  server.until([&] { return server.js().saw("0 quiet"); });
  CHECK(server.reactor().keepState(0, names.generation(0), spanOf("mine")));
  server.leave();
  server.takeOver(false);
  server.until([&] { return server.js().saw("0 frame a2") && server.js().saw("1 frame b2"); });
  CHECK_EQ(server.js().all("0 "), "restore with mine|frame a2|");
  CHECK_EQ(server.js().all("1 "), "restore|frame b2|");
  say(b, "\n");
  server.until([&] { return server.js().saw("1 frame half"); });
  CHECK_EQ(server.admitted(), 2u);
}

TEST("a connection that comes while the hooks are quiesced is opened, and fed by the next thread") {
  Reactors server(lines(false));
  const Fd a = server.connect();
  Names names(server.js());
  say(a, "a1\n");
  server.until([&] { return server.js().saw("0 frame a1"); });
  CHECK(server.reactor().hold(0, names.generation(0), true) != Reactor::kNoPlace);
  server.reactor().quiesce();
  const Fd b = server.connect();
  say(b, "b1\n");
  server.turns(5);
  CHECK_EQ(server.js().frames(1), "");
  CHECK(server.reactor().hold(0, names.generation(0), false) != Reactor::kNoPlace);
  server.until([&] { return server.js().saw("0 quiet"); });
  server.leave();
  server.takeOver(false);
  server.until([&] { return server.js().saw("1 frame b1"); });
}

TEST("a reply that comes while nobody drives leaves with the next thread, and frames wait") {
  Reactors server(lines(true));
  const Fd a = server.connect();
  say(a, "one\ntwo\nhalf");
  const FrameRef one = server.task(), two = server.task();
  server.leave();
  server.reply(two, "2\n");
  server.reply(one, "1\n");
  say(a, " whole\n");
  CHECK_EQ(received(a.get()), "");
  server.takeOver(true);
  CHECK_EQ(server.read(a, 4), "1\n2\n");
  const FrameRef half = server.task();
  CHECK_EQ(Reactors::bodyOf(half), "half whole");
  server.echo(half);
  CHECK_EQ(server.read(a, 11), "half whole\n");
  CHECK_EQ(server.admitted(), 1u);
}

TEST("what a hook wrote before the thread died leaves, and what the peer has not read too") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect();
  const std::string much(4 << 20, 'm');
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (frame == "a1") server.reactor().write(row.slot, row.generation, spanOf(much), Reactor::Place::kInOrder);
  };
  say(a, "a1\n");
  server.until([&] { return server.js().saw("0 frame a1"); });
  say(b, "b1\n");
  server.js().diesIn = "1 frame b1";
  server.replaceDead();
  CHECK(server.read(a, much.size()) == much);
  CHECK_EQ(server.closed(CloseReason::kThreadLost), 1u);
}

TEST("threads die one after the other, each in the batch that the last one left") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect();
  std::string text, expected;
  for (int i = 0; i < 20; ++i) text += std::to_string(i) + "\n", expected += std::to_string(i) + "|";
  say(a, text);
  say(b, text);
  std::string framesOfA, framesOfB;
  for (int i = 0; i < 20; ++i) {
    server.js().diesBefore = "1 frame " + std::to_string(i);
    server.until([&] { return server.js().dead; });
    framesOfA += server.js().frames(0);
    framesOfB += server.js().frames(1);
    server.replaceDead();
  }
  server.until([&] { return framesOfA + server.js().frames(0) == expected && framesOfB + server.js().frames(1) == expected; });
  CHECK_EQ(server.open(), 2u);
}
