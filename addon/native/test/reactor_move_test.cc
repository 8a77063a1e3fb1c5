// Connections go from one reactor to a sibling and back.
#include <cstring>
#include <map>
#include <random>
#include <thread>

#include "exchange/message.h"
#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

// Where each connection is now, by the id for other threads, as the hooks see it. Answers kHandover with `state`.
struct Places {
  struct Place {
    uint32_t reactor, slot, generation;
  };
  explicit Places(Reactors& server, std::string state = "s") : server_(server), state_(std::move(state)) {
    for (uint32_t i = 0; i < server.reactors.size(); ++i) watch(i);
  }
  void watch(uint32_t i) {
    server_.js(i).hook = [this, i](const EventRow& row, std::string_view bytes) {
      uint64_t id;
      switch (row.event) {
        case Event::kOpen:
          order.push_back(ConnectionId::of(i, row.slot, row.generation).value);
          at[order.back()] = {i, row.slot, row.generation};
          break;
        case Event::kRestore:
          std::memcpy(&id, bytes.data(), sizeof(id));
          at[id] = {i, row.slot, row.generation};
          break;
        case Event::kHandover:
          if (answers) CHECK(server_.reactor(i).moveNow(row.slot, row.generation, spanOf(state_), true));
          break;
        case Event::kFrame:
          if (onFrame) onFrame(i, row, bytes);
          break;
        default:
          break;
      }
    };
  }
  Place of(size_t connection) const { return at.at(order.at(connection)); }
  bool move(size_t connection, uint32_t target) {
    const Place from = of(connection);
    return server_.reactor(from.reactor).moveTo(from.slot, from.generation, target, Reactor::kOutsideMessage);
  }
  void moveAndWait(size_t connection, uint32_t target) {
    CHECK(move(connection, target));
    server_.until([&] { return of(connection).reactor == target; });
  }

  std::vector<uint64_t> order;  // ids in the order in which they came
  std::map<uint64_t, Place> at;
  std::function<void(uint32_t, const EventRow&, std::string_view)> onFrame;
  bool answers = true;

 private:
  Reactors& server_;
  std::string state_;
};

void echoFrames(Places& places, Reactors& server) {
  places.onFrame = [&server](uint32_t reactor, const EventRow& row, std::string_view frame) {
    const std::string answer = std::string(frame) + "\n";
    (void)server.reactor(reactor).write(row.slot, row.generation, spanOf(answer), Reactor::Place::kInOrder);
  };
}

void moveFrom(Reactors& server, uint32_t reactor, ConnectionId id, uint32_t target) {
  CHECK(server.reactor(reactor).moveTo(id.slot(), id.generation(), target, Reactor::kOutsideMessage));
}

uint64_t moved(Reactors& server, uint32_t reactor = 0) { return server.reactor(reactor).counters().moved.get(); }

void post(Reactors& server, uint16_t mailbox, ConnectionId id, std::string_view text, uint16_t replyTo) {
  auto send = std::make_unique<Send>();
  send->connection = id;
  send->data.assign(text.begin(), text.end());
  send->replyTo = replyTo;
  server.exchange->mailbox(mailbox).send(std::move(send));
}

SendOutcome outcome(Reactors& server, uint16_t port) {
  std::unique_ptr<Message> message;
  server.until([&] { return message || (message = server.exchange->mailbox(port).take()); });
  CHECK(message->kind == Message::Kind::kSendResult);
  return static_cast<SendResult&>(*message).outcome;
}

}  // namespace

TEST("half a frame, unsent bytes and the state go along") {
  Reactors server(lines(false), 2);
  Places places(server, "mine");
  const std::string much(4 << 20, 'm');
  places.onFrame = [&](uint32_t reactor, const EventRow& row, std::string_view frame) {
    if (frame == "x") server.reactor(reactor).write(row.slot, row.generation, spanOf(much), Reactor::Place::kInOrder);
  };
  const Fd a = server.connect();
  say(a, "x\nhalf");
  server.until([&] { return server.js().saw("0 frame x"); });
  CHECK(server.reactor().counters().buffered.get() > 3 << 20);
  places.moveAndWait(0, 1);
  CHECK(server.js(1).saw("0 restore with mine"));
  server.until([&] { return server.js().saw("0 moved"); });
  CHECK_EQ(server.reactor(0).counters().buffered.get(), 0u);
  CHECK(server.reactor(1).counters().buffered.get() > 3 << 20);
  CHECK(server.read(a, much.size()) == much);
  say(a, " whole\n");
  server.until([&] { return server.js(1).saw("0 frame half whole"); });
  CHECK_EQ(server.open(0), 0u);
  CHECK_EQ(server.open(1), 1u);
  CHECK_EQ(moved(server), 1u);
  CHECK_EQ(server.admitted(), 1u);
  server.until([&] { return server.reactor(1).counters().buffered.get() == 0; });
}

TEST("a state that the sibling's thread dies before it has seen is for its next thread") {
  Reactors server(lines(false), 2);
  Places places(server, "mine");
  const Fd a = server.connect();
  server.until([&] { return !places.order.empty(); });
  const Places::Place from = places.of(0);
  CHECK(server.reactor().setHasData(from.slot, from.generation, true));
  server.js(1).diesBefore = "0 restore with mine";
  CHECK(places.move(0, 1));
  server.replaceDead(1);
  server.until([&] { return server.js(1).saw("0 restore with mine"); });
  CHECK_EQ(server.js(1).all("0 "), "restore with mine|");
  CHECK_EQ(server.open(1), 1u);
}

TEST("a state comes back with its connection when the reactor it went to is given up before a hook has seen it") {
  for (const bool dies : {false, true}) {
    Reactors server(lines(false), 2);
    Places places(server, "mine");
    const Fd a = server.connect();
    server.until([&] { return !places.order.empty(); });
    const Places::Place from = places.of(0);
    CHECK(server.reactor().setHasData(from.slot, from.generation, true));
    if (dies) {
      server.js(1).diesBefore = "0 restore with mine";
      CHECK(places.move(0, 1));
      server.until([&] { return server.js(1).dead; });
      server.leave(1);
    } else {
      server.leave(1);
      CHECK(places.move(0, 1));
      server.until([&] { return server.js().saw("0 moved"); });
    }
    server.exchange->setActive(1, false);
    CHECK(server.reactor(1).attach(nullptr));
    server.reactor(1).retire(true);
    server.until([&] { return server.js().saw("0 restore with mine"); });
    CHECK_EQ(server.js().all("0 restore"), " with mine|");
    CHECK_EQ(server.open(), 1u);
  }
}

TEST("half a PROXY header goes along, and is no frame there") {
  Reactors server(lines(false), 2, {}, {.proxyFrom = std::make_shared<CidrSet>()});
  const Fd a = server.connect(kProxyHead);
  server.until([&] { return server.reactor().counters().bytesRead.get() == kProxyHead.size(); });
  server.reactor().retire(false);
  server.until([&] { return server.open(1) == 1; });
  server.turns(3);
  say(a, std::string(kProxyRest) + "hello\n");
  server.until([&] { return server.js(1).saw("0 frame hello"); });
  CHECK_EQ(server.js(1).all("0 "), "open|frame hello|");
  CHECK_EQ(server.closed(CloseReason::kProxyHeader, 1), 0u);
}

TEST("a move waits for what is in flight, and the order goes on behind it") {
  Reactors server(lines(true), 2);
  const Fd a = server.connect();
  say(a, "one\ntwo\n");
  const FrameRef one = server.task(), two = server.task();
  const ConnectionId id = one.task->header().connection;
  moveFrom(server, 0, id, 1);
  say(a, "three\nfour\nhal");
  server.turns(5);
  CHECK_EQ(moved(server), 0u);
  server.echo(two);
  server.turns(5);
  CHECK_EQ(moved(server), 0u);
  server.echo(one);
  server.until([&] { return server.open(1) == 1; });
  CHECK_EQ(server.open(0), 0u);
  CHECK_EQ(server.read(a, 8), "one\ntwo\n");
  const FrameRef three = server.task(), four = server.task();
  CHECK(three.task->header().connection == id);
  CHECK_EQ(three.task->sequence(three.index), 2u);
  server.echo(four);
  server.echo(three);
  CHECK_EQ(server.read(a, 11), "three\nfour\n");
  say(a, "f\n");
  server.echo(server.task());
  CHECK_EQ(server.read(a, 5), "half\n");
  CHECK_EQ(server.exchange->repliesUnrouted.load(), 0u);
  CHECK_EQ(server.reactor(0).counters().repliesLate.get() + server.reactor(1).counters().repliesLate.get(), 0u);
}

TEST("a hook that moves in the middle of a batch: what is behind its frame is for the sibling") {
  Reactors server(lines(false), 2);
  Places places(server);
  places.onFrame = [&](uint32_t reactor, const EventRow& row, std::string_view frame) {
    if (frame != "b") return;
    CHECK(server.reactor(reactor).moveTo(row.slot, row.generation, 1, row.d));
    server.js(reactor).stop(row);
  };
  const Fd a = server.connect();
  say(a, "a\nb\nc\nd\ne");
  server.until([&] { return server.js(1).saw("0 frame d"); });
  CHECK_EQ(server.js(0).frames(0), "a|b|");
  CHECK_EQ(server.js(1).frames(0), "c|d|");
  say(a, "\n");
  server.until([&] { return server.js(1).saw("0 frame e"); });
}

TEST("comes home to its own slot and name") {
  Reactors server(lines(false), 3);
  Places places(server);
  echoFrames(places, server);
  const Fd other = server.connect(), a = server.connect();
  const Places::Place home = places.of(1);
  for (const uint32_t target : {1u, 2u, 0u, 2u, 1u, 0u}) {
    places.moveAndWait(1, target);
    say(a, "x\n");
    CHECK_EQ(server.read(a, 2), "x\n");
    const ConnectionId id{places.order[1]};
    CHECK_EQ(*server.exchange->directory().owner(id), server.exchange->reactorMailbox(target));
    CHECK_EQ(server.admitted(), 2u);
  }
  CHECK_EQ(places.of(1).slot, home.slot);
  CHECK_EQ(places.of(1).generation, home.generation);
  CHECK(server.reactor().isOpen(home.slot, home.generation));
  server.until([&] { return server.js(1).all("0 moved") == "|" || server.open(1) == 0; });
  CHECK_EQ(server.open(0), 2u);
  CHECK_EQ(server.open(1) + server.open(2), 0u);
}

TEST("bytes for the old owner are forwarded, and the sender hears of it") {
  Reactors server(lines(false), 2);
  Places places(server);
  const uint16_t port = server.exchange->openPort();
  Fd a = server.connect();
  places.moveAndWait(0, 1);
  const ConnectionId id{places.order[0]};
  post(server, 0, id, "away", port);
  CHECK_EQ(outcome(server, port), SendOutcome::kSent);
  CHECK_EQ(server.read(a, 4), "away");
  CHECK_EQ(server.reactor(1).counters().sends.get(), 1u);
  CHECK_EQ(server.reactor(0).counters().sends.get(), 0u);
  // While it is on its way: behind the request to move, and before the sibling has turned.
  CHECK(places.move(0, 0));
  post(server, 1, id, "home", port);
  post(server, 0, id, "town", port);
  CHECK_EQ(outcome(server, port), SendOutcome::kSent);
  CHECK_EQ(outcome(server, port), SendOutcome::kSent);
  const std::string both = server.read(a, 8);
  CHECK(both == "hometown" || both == "townhome");
  server.until([&] { return places.of(0).reactor == 0; });
  a.reset();
  server.until([&] { return server.open(0) == 0; });
  post(server, 1, id, "late", port);
  CHECK_EQ(outcome(server, port), SendOutcome::kGone);
}

TEST("a connection that moved before its reactor was chosen leaves no name where it was born") {
  ListenerConfig config = lines(false);
  config.balance = Balance::Policy::kApp;
  ExchangeOptions options;
  options.maxReactors = 3;
  Reactors server(config, 3, options, {.proxyFrom = std::make_shared<CidrSet>()});
  for (uint32_t i = 0; i < 2; ++i) {
    server.js(i).hook = [&, i](const EventRow& row, std::string_view) {
      if (row.event == Event::kBalance) CHECK(server.reactor(i).assign(row.slot, row.generation, 2));
    };
  }
  const Fd a = server.connect(kProxyHead);
  server.until([&] { return server.reactor().counters().bytesRead.get() == kProxyHead.size(); });
  // Away, as those of a reactor that retires are; and then it stays.
  server.exchange->setActive(2, false);
  server.reactor().retire(false);
  server.until([&] { return server.open(1) == 1; });
  server.until([&] { return server.js().saw("0 drained"); });
  server.exchange->setActive(2, true);
  say(a, std::string(kProxyRest) + "hello\n");
  server.until([&] { return server.js(2).saw("0 frame hello"); });
  server.turns(3);
  CHECK_EQ(server.open(1), 0u);
  // Wanted again, it gives the same slot to the next one.
  server.leave();
  server.takeOver(false);
  Fd ends[2];
  {
    int pair[2];
    CHECK_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    ends[0] = Fd(pair[0]);
    ends[1] = Fd(pair[1]);
  }
  server.exchange->balance().enter(0);
  CHECK(server.exchange->admission().enter());
  CHECK(server.exchange->admission().enterAddress(Peer{}));
  server.exchange->mailbox(0).send(std::make_unique<Handover>(std::move(ends[0]), Peer{}, uint16_t{0}, Handover::State::kPlaced));
  say(ends[1], "next\n");
  server.until([&] { return server.js().saw("0 frame next") || server.js().saw("1 frame next"); });
  CHECK(server.js().saw("0 frame next"));
}

TEST("a slot keeps its name while its connection is away, and is given out again when that has closed") {
  Reactors server(lines(false), 2);
  Places places(server);
  Fd a = server.connect();
  places.moveAndWait(0, 1);
  Fd b = server.connect();
  CHECK_EQ(places.of(1).slot, 1u);
  a.reset();
  server.until([&] { return server.js(1).saw("0 close end"); });
  server.turns(3);
  CHECK_EQ(server.admitted(), 1u);
  CHECK(!server.exchange->directory().owner(ConnectionId{places.order[0]}));
  Fd c = server.connect();
  CHECK_EQ(places.of(2).slot, 0u);
  CHECK(places.order[2] != places.order[0]);
  // The immigrant's slot is free as well.
  places.moveAndWait(2, 1);
  CHECK_EQ(places.of(2).slot, 0u);
  b.reset();
  c.reset();
  server.until([&] { return server.admitted() == 0; });
  CHECK_EQ(server.open(0) + server.open(1), 0u);
}

TEST("a connection whose peer goes while it moves closes with the sibling") {
  Reactors server(lines(true), 2);
  Fd a = server.connect();
  say(a, "x\n");
  const FrameRef x = server.task();
  server.echo(x);
  CHECK_EQ(server.read(a, 2), "x\n");
  moveFrom(server, 0, x.task->header().connection, 1);
  a.reset();
  server.until([&] { return server.admitted() == 0; });
  CHECK_EQ(server.open(0) + server.open(1), 0u);
}

TEST("goes to another sibling, or stays and is read again, when its target is active no more") {
  for (const bool hasOther : {false, true}) {
    Reactors server(lines(true), hasOther ? 3 : 2);
    const Fd a = server.connect();
    say(a, "x\n");
    const FrameRef x = server.task();
    moveFrom(server, 0, x.task->header().connection, 1);
    server.turns(2);
    server.exchange->setActive(1, false);
    server.echo(x);
    CHECK_EQ(server.read(a, 2), "x\n");
    server.until([&] { return server.open(2 * hasOther) == 1; });
    say(a, "y\n");
    server.echo(server.task());
    CHECK_EQ(server.read(a, 2), "y\n");
    CHECK_EQ(server.open(0), hasOther ? 0u : 1u);
    CHECK_EQ(moved(server), hasOther ? 1u : 0u);
  }
}

TEST("retire: everything goes to the sibling, the listening socket too, and then it has drained") {
  Reactors server(lines(false), 2);
  Places places(server);
  echoFrames(places, server);
  const Fd idle = server.connect(), busy = server.connect(), half = server.connect();
  say(busy, "b\n");
  say(half, "ha");
  CHECK_EQ(server.read(busy, 2), "b\n");
  const Places::Place held = places.of(1);
  CHECK(server.reactor().hold(held.slot, held.generation, true) != Reactor::kNoPlace);
  server.exchange->setActive(0, false);
  server.reactor().retire(false);
  server.until([&] { return server.open(1) == 2; });
  server.turns(5);
  CHECK(!server.js().saw("0 drained"));
  CHECK(server.reactor().hold(held.slot, held.generation, false) != Reactor::kNoPlace);
  server.until([&] { return server.js().saw("0 drained"); });
  CHECK_EQ(server.open(0), 0u);
  CHECK_EQ(server.open(1), 3u);
  const Fd fresh = connected(server.address);
  for (const Fd* fd : {&idle, &busy, &half, &fresh}) say(*fd, "lf\n");
  for (const Fd* fd : {&idle, &busy, &fresh}) CHECK_EQ(server.read(*fd, 3), "lf\n");
  CHECK_EQ(server.read(half, 5), "half\n");
  CHECK_EQ(server.admitted(), 4u);
  CHECK_EQ(server.open(1), 4u);
  CHECK_EQ(server.js().all("0 drained"), "|");
}

TEST("retire: a reactor whose last connections had to be closed serves like a fresh one when it comes back") {
  Reactors server(lines(false), 2);
  Places places(server);
  echoFrames(places, server);
  const Fd held = server.connect();
  places.moveAndWait(0, 1);
  const Places::Place there = places.of(0);
  CHECK(server.reactor(1).hold(there.slot, there.generation, true) != Reactor::kNoPlace);
  server.exchange->setActive(1, false);
  server.reactor(1).retire(false);
  server.turns(5);
  CHECK_EQ(server.open(1), 1u);
  CHECK_EQ(server.reactor(1).destroyAll(CloseReason::kServerClosing), 1u);
  server.until([&] { return server.js(1).saw("0 drained"); });
  server.leave(1);
  server.exchange->setActive(1, true);
  server.takeOver(false, 1);
  places.watch(1);
  const Fd fresh = server.connect();
  places.moveAndWait(1, 1);
  say(fresh, "one\n");
  CHECK_EQ(server.read(fresh, 4), "one\n");
  say(fresh, "two\n");
  CHECK_EQ(server.read(fresh, 4), "two\n");
  CHECK_EQ(server.open(1), 1u);
}

TEST("retire: a pool's connections leave when their frames are answered") {
  Reactors server(lines(true), 2);
  const Fd a = server.connect(), b = server.connect();
  say(a, "a\n");
  const FrameRef frame = server.task();
  server.exchange->setActive(0, false);
  server.reactor().retire(false);
  server.until([&] { return server.open(1) == 1; });
  server.turns(3);
  CHECK(!server.js().saw("0 drained"));
  server.echo(frame);
  CHECK_EQ(server.read(a, 2), "a\n");
  server.until([&] { return server.js().saw("0 drained") && server.open(1) == 2; });
  // Closed elsewhere, it is not missed at home, where a name was kept.
  server.reactor(1).destroyAll(CloseReason::kServerClosing);
  server.until([&] { return server.admitted() == 0; });
}

TEST("retire: abandoned by its thread, it asks no hook, and what lived in the thread is lost") {
  for (const bool hasHook : {false, true}) {
    ListenerConfig config = lines(false);
    if (hasHook) config.hooks |= kHookRestore;
    Reactors server(config, 2);
    Places places(server);
    const Fd a = server.connect(), b = server.connect();
    say(a, "a1\n");
    say(b, "b1\nb2\nhalf");
    CHECK(server.reactor().setHasData(places.of(0).slot, places.of(0).generation, true));
    server.js().diesBefore = "1 frame b2";
    server.until([&] { return server.js().dead; });
    const std::string framesOfA = server.js(0).frames(0);
    server.leave();
    server.exchange->setActive(0, false);
    CHECK(server.reactor().attach(nullptr));
    server.reactor().retire(true);
    server.until([&] {
      return server.js(1).all("0 frame ").find("b2") != std::string::npos ||
             server.js(1).all("1 frame ").find("b2") != std::string::npos;
    });
    say(b, " whole\n");
    const std::string slotOfB = std::to_string(places.of(1).slot);
    server.until([&] { return server.js(1).saw(slotOfB + " frame half whole"); });
    CHECK_EQ(server.js(1).all(slotOfB + " frame "), "b2|half whole|");
    CHECK_EQ(server.open(1), hasHook ? 2u : 1u);
    CHECK_EQ(server.open(0), 0u);
    CHECK_EQ(server.closed(CloseReason::kThreadLost), hasHook ? 0u : 1u);
    CHECK_EQ(server.admitted(), hasHook ? 2u : 1u);
    if (hasHook) CHECK(server.js(1).saw(std::to_string(places.of(0).slot) + " restore lost"));
    if (!hasHook) CHECK_EQ(server.read(a, 1), "");
    server.reactor().detach();
  }
}

TEST("retire: a thread that dies with a handover unanswered leaves nothing behind") {
  for (const bool abandoned : {true, false}) {
    Reactors server(lines(false), 2);
    Places places(server);
    places.answers = false;
    const Fd a = server.connect();
    server.exchange->setActive(0, false);
    server.reactor().retire(false);
    server.until([&] { return server.js().saw("0 handover"); });
    server.leave();
    if (abandoned) {
      CHECK(server.reactor().attach(nullptr));
    } else {
      server.takeOver(true);
      places.watch(0);
    }
    places.answers = true;
    server.reactor().retire(abandoned);
    server.until([&] { return server.open(1) == 1; });
    CHECK_EQ(server.open(0), 0u);
    say(a, "a1\n");
    server.until([&] { return server.js(1).saw("0 frame a1"); });
    if (abandoned) server.reactor().detach();
  }
}

TEST("mail for a retired reactor without a thread goes on to whom it is for") {
  Reactors server(lines(true), 2);
  const uint16_t port = server.exchange->openPort();
  const Fd a = server.connect();
  say(a, "x\n");
  const FrameRef x = server.task();
  const ConnectionId id = x.task->header().connection;
  server.echo(x);
  CHECK_EQ(server.read(a, 2), "x\n");
  // It is on its way to a reactor that turns no more.
  server.reactor(1).detach();
  moveFrom(server, 0, id, 1);
  server.until([&] { return moved(server) == 1; });
  CHECK_EQ(*server.exchange->directory().owner(id), server.exchange->reactorMailbox(1));
  post(server, 1, id, "sent", port);
  Pair fresh = unixPair();
  server.exchange->balance().enter(1);
  server.exchange->mailbox(1).send(std::make_unique<Handover>(std::move(fresh.near), Peer{}, 0, Handover::State::kNew));
  server.exchange->setActive(1, false);
  server.reactor(1).forwardMail();
  CHECK_EQ(outcome(server, port), SendOutcome::kSent);
  CHECK_EQ(server.read(a, 4), "sent");
  say(a, "y\n");
  server.echo(server.task());
  CHECK_EQ(server.read(a, 2), "y\n");
  say(fresh.far, "z\n");
  server.echo(server.task());
  CHECK_EQ(server.read(fresh.far, 2), "z\n");
  CHECK_EQ(server.open(0), 2u);
  CHECK_EQ(server.admitted(), 2u);
}

TEST("a connection on its way to nobody leaves the count of the process") {
  Reactors server(lines(true), 2);
  const Fd a = server.connect();
  say(a, "x\n");
  const FrameRef x = server.task();
  const ConnectionId id = x.task->header().connection;
  server.echo(x);
  CHECK_EQ(server.read(a, 2), "x\n");
  server.reactor(1).detach();
  moveFrom(server, 0, id, 1);
  server.until([&] { return moved(server) == 1; });
  server.exchange->setActive(0, false);
  server.exchange->setActive(1, false);
  server.reactor(1).forwardMail();
  CHECK_EQ(server.admitted(), 0u);
  CHECK(!server.exchange->directory().owner(id));
  CHECK_EQ(server.read(a, 1), "");
}

TEST("any mixture of moves, frames and closes loses nothing, and every count ends at zero") {
  constexpr uint32_t kReactors = 3, kClients = 12;
  Reactors server(lines(false), kReactors);
  Places places(server);
  echoFrames(places, server);
  std::mt19937 random(20261124);
  std::vector<Fd> clients;
  std::vector<std::string> sent(kClients), got(kClients);
  for (uint32_t i = 0; i < kClients; ++i) clients.push_back(server.connect());
  const auto collect = [&](uint32_t i) { got[i] += received(clients[i].get()); };
  for (int step = 0; step < 2000; ++step) {
    const uint32_t i = random() % kClients;
    switch (random() % 4) {
      case 0:
        (void)places.move(i, random() % kReactors);  // false while it is between two
        break;
      case 1: {
        const std::string text = std::to_string(step) + (random() % 2 ? "\n" : "-") + std::to_string(i) + "\n";
        sent[i] += text;
        say(clients[i], text);
        break;
      }
      case 2:
        server.turns(1);
        break;
      default:
        collect(i);
    }
    CHECK_EQ(server.admitted(), kClients);
  }
  for (uint32_t i = 0; i < kClients; ++i) {
    server.until([&] { return collect(i), got[i].size() >= sent[i].size(); });
    CHECK_EQ(got[i], sent[i]);
  }
  uint64_t open = 0, moves = 0;
  for (uint32_t r = 0; r < kReactors; ++r) open += server.open(r), moves += moved(server, r);
  CHECK_EQ(open, kClients);
  CHECK(moves > 100);
  clients.clear();
  server.until([&] { return server.admitted() == 0; });
  for (uint32_t r = 0; r < kReactors; ++r) {
    CHECK_EQ(server.open(r), 0u);
    server.exchange->setActive(r, false);
  }
  // No name is left anywhere: all of them drain.
  for (uint32_t r = 0; r < kReactors; ++r) server.reactor(r).drain(0);
  server.until([&] { return server.js(0).saw("0 drained") && server.js(1).saw("0 drained") && server.js(2).saw("0 drained"); });
}

TEST("two reactors on threads of their own pass a connection to and fro, and lose neither frames nor sends") {
  constexpr uint32_t kRounds = 300;
  Reactors server(lines(false), 2);
  const uint16_t port = server.exchange->openPort();
  std::atomic<uint64_t> id{0};
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> wrong{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < 2; ++i) {
    Reactor& reactor = server.reactor(i);
    Js& js = server.js(i);
    js.hook = [&, i](const EventRow& row, std::string_view frame) {
      if (row.event == Event::kOpen) id.store(ConnectionId::of(i, row.slot, row.generation).value);
      if (row.event == Event::kHandover) wrong.fetch_add(!reactor.moveNow(row.slot, row.generation, {}, false));
      if (row.event != Event::kFrame) return;
      const std::string answer = std::string(frame) + "\n";
      (void)reactor.write(row.slot, row.generation, spanOf(answer), Reactor::Place::kInOrder);
      if (frame != "move") return;
      wrong.fetch_add(!reactor.moveTo(row.slot, row.generation, 1 - i, row.d));
      js.stop(row);
    };
    reactor.detach();
    threads.emplace_back([&] {
      wrong.fetch_add(!reactor.attach(&js));
      while (!stop.load()) reactor.turn(1);
      reactor.detach();
    });
  }
  const auto finish = [&] {
    stop.store(true);
    for (std::thread& thread : threads) thread.join();
    threads.clear();
  };
  std::string got, sent;
  uint32_t posted = 0, arrived = 0, gone = 0;
  Mailbox& box = server.exchange->mailbox(port);
  const auto collect = [&] {
    for (std::unique_ptr<Message> message = box.take(); message; message = box.take()) {
      const SendOutcome outcome = static_cast<SendResult&>(*message).outcome;
      ++(outcome == SendOutcome::kSent || outcome == SendOutcome::kBuffered ? arrived : gone);
    }
  };
  bool timely = true;
  {
    const Fd a = connected(server.address);
    timely = becomes([&] { return id.load() != 0; });
    for (uint32_t round = 0; timely && round < kRounds; ++round) {
      const std::string text = "a" + std::to_string(round) + "\nmove\nb\n";
      sent += text;
      if (::send(a.get(), text.data(), text.size(), MSG_NOSIGNAL) < 0) break;
      for (int i = 0; i < 3; ++i, ++posted) {
        const auto owner = server.exchange->directory().owner({id.load()});
        post(server, owner ? *owner : 0, {id.load()}, "S", port);
      }
      timely = becomes([&] {
        for (const char c : received(a.get())) {
          if (c != 'S') got += c;
        }
        collect();
        return got.size() == sent.size() && arrived + gone == posted;
      });
    }
  }
  timely = timely && becomes([&] { return server.admitted() == 0; });
  finish();
  CHECK(timely);
  CHECK_EQ(wrong.load(), 0u);
  CHECK_EQ(gone, 0u);
  CHECK_EQ(arrived, 3 * kRounds);
  CHECK(got == sent);
  CHECK_EQ(moved(server, 0) + moved(server, 1), kRounds);
  CHECK_EQ(server.open(0) + server.open(1), 0u);
}
