// Publications: which subscribers they reach, in which order, once each, and their fate for subscribers that do not read.
#include <malloc.h>

#include <atomic>
#include <cstring>
#include <map>
#include <thread>

#include "exchange/publications.h"
#include "net/out_buffer.h"
#include "reactor/topics.h"
#include "reactors.h"
#include "steps.h"

using namespace mr;
using namespace mr::test;

namespace {

ListenerConfig raw() {
  ListenerConfig config = lines(false);
  config.outHighBytes = 64 << 10;
  config.outLowBytes = 16 << 10;
  config.outMaxBytes = 4 << 20;
  return config;
}

// Each connection says the topic it wants: "+news" subscribes, "-news" unsubscribes, ">1" moves to reactor 1.
struct Audience {
  explicit Audience(Reactors& server, SlowPolicy policy = SlowPolicy::kClose) : server_(server), policy_(policy) {
    for (uint32_t i = 0; i < server.reactors.size(); ++i) watch(i);
  }
  void watch(uint32_t i) {
    server_.js(i).hook = [this, i](const EventRow& row, std::string_view bytes) {
      Reactor& reactor = server_.reactor(i);
      if (row.event == Event::kHandover) CHECK(reactor.moveNow(row.slot, row.generation, {}, false));
      if (row.event != Event::kFrame) return;
      const std::string_view topic = bytes.substr(1);
      if (bytes[0] == '+') last = reactor.subscribe(row.slot, row.generation, topic, policy_);
      if (bytes[0] == '-') was = reactor.unsubscribe(row.slot, row.generation, topic);
      if (bytes[0] == '>') {
        CHECK(reactor.moveTo(row.slot, row.generation, static_cast<uint32_t>(topic[0] - '0'), Reactor::kOutsideMessage));
      }
      ++frames;
    };
  }
  void tell(const Fd& fd, std::string_view text) {
    const int before = frames;
    say(fd, std::string(text) + "\n");
    server_.until([&] { return frames != before; });
  }

  Reactor::Subscribed last = Reactor::Subscribed::kGone;
  bool was = false;
  int frames = 0;

 private:
  Reactors& server_;
  const SlowPolicy policy_;
};

PublicationRef publication(std::string_view topic, std::string_view text, uint16_t replyTo = 0, uint32_t request = 0) {
  auto made = std::make_shared<Publication>();
  made->topic = topic;
  made->bytes = SharedBytesRef::copyOf(spanOf(text));
  made->replyTo = replyTo;
  made->request = request;
  return made;
}

uint64_t reached(Reactors& server, uint16_t port) {
  std::unique_ptr<Message> message;
  server.until([&] { return message || (message = server.exchange->mailbox(port).take()); });
  CHECK(message->kind == Message::Kind::kPublished);
  return static_cast<Published&>(*message).reached;
}

uint64_t sum(Reactors& server, Counter ReactorCounters::*counter) {
  uint64_t all = 0;
  for (const auto& reactor : server.reactors) all += (reactor->counters().*counter).get();
  return all;
}

}  // namespace

TEST("a publication reaches the subscribers of its topic, and says how many") {
  Reactors server(raw());
  Audience subscribers(server);
  const Fd a = server.connect(), b = server.connect(), c = server.connect();
  for (const Fd* fd : {&a, &b}) subscribers.tell(*fd, "+news");
  subscribers.tell(c, "+sport");
  const uint16_t port = server.exchange->openPort();
  CHECK(server.exchange->publish(publication("news", "one\n", port, 7)) == Exchange::Publishing::kSent);
  CHECK_EQ(reached(server, port), 2u);
  CHECK_EQ(*server.reactor().publishHere("sport", spanOf("two\n")), 1u);
  CHECK_EQ(server.read(a, 4), "one\n");
  CHECK_EQ(server.read(b, 4), "one\n");
  CHECK_EQ(server.read(c, 4), "two\n");
  CHECK_EQ(server.reactor().counters().subscriptions.get(), 3u);
  CHECK_EQ(server.reactor().counters().publications.get(), 3u);
}

TEST("without any subscriber a publication costs nothing and is told so") {
  Reactors server(raw());
  CHECK(server.exchange->publish(publication("news", "one")) == Exchange::Publishing::kNobody);
  CHECK_EQ(server.exchange->publications().bytes(), 0u);
}

TEST("subscribing twice changes the policy, unsubscribing ends it, and closing ends all") {
  ListenerConfig config = raw();
  config.maxSubscriptions = 2;
  Reactors server(config);
  Audience subscribers(server);
  Fd a = server.connect();
  subscribers.tell(a, "+x");
  CHECK(subscribers.last == Reactor::Subscribed::kDone);
  subscribers.tell(a, "+x");
  CHECK(subscribers.last == Reactor::Subscribed::kAlready);
  subscribers.tell(a, "+y");
  subscribers.tell(a, "+z");
  CHECK(subscribers.last == Reactor::Subscribed::kTooMany);
  subscribers.tell(a, "-x");
  CHECK(subscribers.was);
  subscribers.tell(a, "-x");
  CHECK(!subscribers.was);
  CHECK_EQ(server.reactor().counters().subscriptions.get(), 1u);
  a.reset();
  server.until([&] { return server.reactor().counters().subscriptions.get() == 0; });
  server.turns(3);
  CHECK(server.exchange->publish(publication("y", "one")) == Exchange::Publishing::kNobody);
}

TEST("a topic's publications come in one order to all, with what other publishers say between them") {
  Reactors server(raw(), 2);
  Audience subscribers(server);
  const Fd a = server.connect(), b = server.connect();
  subscribers.tell(a, "+n");
  subscribers.tell(b, "+n");
  subscribers.tell(b, ">1");
  server.until([&] { return server.open(1) == 1; });
  constexpr int kEach = 2000;
  std::vector<std::thread> publishers;
  for (int p = 0; p < 3; ++p) {
    publishers.emplace_back([&server, p] {
      for (int i = 0; i < kEach; ++i) {
        char text[32];  // the compiler does not know how many digits there are
        std::snprintf(text, sizeof(text), "%d%06d\n", p, i);
        CHECK(server.exchange->publish(publication("n", text)) == Exchange::Publishing::kSent);
      }
    });
  }
  const size_t size = 3 * kEach * 8;
  const std::string atA = server.read(a, size), atB = server.read(b, size);
  for (std::thread& publisher : publishers) publisher.join();
  CHECK(atA == atB);
  std::map<char, int> next;
  for (size_t at = 0; at < size; at += 8) CHECK_EQ(std::stoi(atA.substr(at + 1, 6)), next[atA[at]]++);
}

TEST("the bytes of a publication exist once, however many wait for them on however many reactors") {
  Reactors server(raw(), 3);
  Audience subscribers(server);
  std::vector<Fd> clients;
  for (int i = 0; i < 9; ++i) {
    clients.push_back(server.connect());
    subscribers.tell(clients.back(), "+n");
    subscribers.tell(clients.back(), ">" + std::to_string(i % 3));
  }
  server.until([&] { return server.open(1) == 3 && server.open(2) == 3; });
  const uint64_t before = SharedBytes::bytesAlive();
  const std::string much(3 << 20, 'm');
  const uint16_t port = server.exchange->openPort();
  CHECK(server.exchange->publish(publication("n", much, port, 1)) == Exchange::Publishing::kSent);
  CHECK_EQ(reached(server, port), 9u);
  CHECK_EQ(SharedBytes::bytesAlive() - before, much.size());
  // It is not theirs, so that none of them is shed for it.
  for (uint32_t i = 0; i < 3; ++i) CHECK(server.reactor(i).counters().buffered.get() < 1 << 20);
  for (const Fd& client : clients) CHECK(server.read(client, much.size()) == much);
  server.until([&] { return SharedBytes::bytesAlive() == before; });
}

TEST("it goes between two replies, never inside one") {
  ListenerConfig config = lines(true);
  config.hooks = kHookMessage | kHookOpen;
  Reactors server(config);
  std::optional<EventRow> opened;
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kOpen) opened = row;
  };
  const Fd a = server.connect();
  server.until([&] { return opened.has_value(); });
  CHECK(server.reactor().subscribe(opened->slot, opened->generation, "n", SlowPolicy::kClose) == Reactor::Subscribed::kDone);
  say(a, "x\ny\n");
  const FrameRef first = server.task();
  server.reply(first, "begin-", 0);
  server.turns(3);
  CHECK_EQ(*server.reactor().publishHere("n", spanOf("[news]")), 1u);
  server.turns(3);
  server.reply(first, "end ");
  CHECK_EQ(server.read(a, 16), "begin-end [news]");
}

TEST("slow subscribers: 'drop' gets what fits, 'latest' the newest, 'close' all or closes") {
  for (const SlowPolicy policy : {SlowPolicy::kDrop, SlowPolicy::kLatest, SlowPolicy::kClose}) {
    Reactors server(raw());
    Audience subscribers(server, policy);
    const Fd a = server.connect();
    subscribers.tell(a, "+n");
    const int count = policy == SlowPolicy::kClose ? 60 : 200;
    for (int i = 0; i < count; ++i) {
      CHECK(server.reactor().publishHere("n", spanOf(std::string(40 << 10, static_cast<char>('0' + i % 10)) + "\n")));
      server.turns(2);
    }
    const uint64_t dropped = server.reactor().counters().publicationsDropped.get();
    if (policy == SlowPolicy::kClose) {
      CHECK_EQ(dropped, 0u);
      for (int i = 0; i < 100; ++i) {
        CHECK(server.reactor().publishHere("n", spanOf(std::string(40 << 10, 'x'))));
        server.turns(2);
      }
      CHECK_EQ(server.closed(CloseReason::kSlowConsumer), 1u);
      continue;
    }
    CHECK(dropped > 100);
    CHECK_EQ(server.reactor().counters().closed[static_cast<size_t>(CloseReason::kSlowConsumer)].get(), 0u);
    // Whole ones only, in order; the newest is the last one if it asked for that.
    CHECK(server.reactor().publishHere("n", spanOf("last\n")));
    server.turns(2);
    std::string text;
    const auto complete = [&] { return text.size() >= 5 && text.substr(text.size() - 5) == "last\n"; };
    if (policy == SlowPolicy::kLatest) {
      while (!complete()) text += server.read(a, 1);
    } else {
      const size_t whole = static_cast<size_t>(count - dropped) * ((40 << 10) + 1);
      text = server.read(a, whole);
    }
    size_t at = 0;
    while (at < text.size() && text[at] != 'l') {
      const size_t end = text.find('\n', at);
      CHECK_EQ(end - at, size_t{40} << 10);
      CHECK(text.find_first_not_of(text[at], at) == end);
      at = end + 1;
    }
  }
}

TEST("a pin keeps what comes behind it in its topic, also when every reactor has come to its end") {
  PublicationList list(1, 1 << 20);
  list.join("n", 0);
  const PublicationRef before = publication("n", "1"), behind = publication("n", "2");
  CHECK(list.add(before).has_value());
  PublicationList::Pin pin(list, "n", before->number);
  CHECK(list.add(behind).has_value());
  const std::vector<PublicationRef> finished = {before, behind};
  for (const PublicationRef& one : finished) one->unfinished = 0;
  list.drop(finished);
  std::vector<PublicationRef> missed;
  CHECK_EQ(list.since("n", 0, &missed), behind->number);
  CHECK_EQ(missed.size(), 1u);
  CHECK(missed[0] == behind);
  pin = {};
  CHECK_EQ(list.bytes(), 0u);
}

TEST("a connection that moves while much is published misses nothing and gets nothing twice") {
  Reactors server(raw(), 3);
  Audience subscribers(server);
  const Fd a = server.connect();
  // Others on each reactor, so that all of them are busy with the topic.
  std::vector<Fd> others;
  for (int i = 0; i < 6; ++i) {
    others.push_back(server.connect());
    subscribers.tell(others.back(), "+other");
    subscribers.tell(others.back(), ">" + std::to_string(i % 3));
  }
  subscribers.tell(a, "+n");
  // As much for each move, for any share of the cores: a lead would be carried along from move to move.
  constexpr int kForEachMove = 500;
  std::atomic<bool> stop{false};
  std::atomic<int> published{0}, wanted{kForEachMove};
  std::thread publisher([&] {
    while (!stop) {
      if (published == wanted) {
        std::this_thread::yield();
        continue;
      }
      char text[9];
      std::snprintf(text, sizeof(text), "%07d\n", published.load());
      // No subscriber here: it is on its way, and gets the message where it arrives.
      if (server.exchange->publish(publication("n", text)) == Exchange::Publishing::kFull) continue;
      ++published;
      (void)server.exchange->publish(publication("other", "."));
      if (published % 50 == 0) std::this_thread::yield();
    }
  });
  std::string got;
  for (int i = 0; i < 60; ++i) {
    const uint64_t before = sum(server, &ReactorCounters::moved);
    wanted += kForEachMove;
    say(a, ">" + std::to_string((i + 1) % 3) + "\n");
    server.until([&] { return sum(server, &ReactorCounters::moved) > before; });
    got += server.read(a, 8 * 20);
  }
  stop = true;
  publisher.join();
  got += server.read(a, static_cast<size_t>(published) * 8 - got.size());
  for (int i = 0; i < published; ++i) CHECK_EQ(std::stoi(got.substr(static_cast<size_t>(i) * 8, 7)), i);
}

TEST("subscriptions stay when the driving thread dies, and what was published meanwhile comes") {
  ListenerConfig config = raw();
  config.hooks |= kHookRestore;
  Reactors server(config);
  Audience subscribers(server);
  const Fd a = server.connect();
  subscribers.tell(a, "+n");
  server.leave();
  CHECK(server.exchange->publish(publication("n", "meanwhile\n")) == Exchange::Publishing::kSent);
  server.takeOver(true);
  CHECK_EQ(server.read(a, 10), "meanwhile\n");
}

TEST("too much for a reactor that does not come to it is refused, and counted") {
  ExchangeOptions options;
  options.maxMailboxBytes = 1 << 20;
  Reactors server(raw(), 1, options);
  Audience subscribers(server, SlowPolicy::kDrop);
  const Fd a = server.connect();
  subscribers.tell(a, "+n");
  const std::string text(300 << 10, 'x');
  for (int i = 0; i < 2; ++i) CHECK(server.exchange->publish(publication("n", text)) == Exchange::Publishing::kSent);
  CHECK(server.exchange->publish(publication("n", text)) == Exchange::Publishing::kFull);
  CHECK_EQ(server.exchange->publicationsRefused.load(), 1u);
  server.turns(5);
  CHECK(server.exchange->publish(publication("n", text)) == Exchange::Publishing::kSent);
}

TEST("a topic of many is delivered over several turns, also when they come and go meanwhile") {
  Reactors server(raw());
  Audience subscribers(server);
  // One connection with many topics is no topic of many: this takes connections.
  std::vector<Fd> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(server.connect());
    say(clients.back(), "+n\n");
  }
  server.until([&] { return subscribers.frames == 300; });
  CHECK_EQ(*server.reactor().publishHere("n", spanOf("one\n")), 300u);
  server.turns(1);
  const uint64_t first = server.reactor().counters().publications.get();
  CHECK(first > 0 && first < 300);
  clients.erase(clients.begin() + 150, clients.begin() + 160);
  server.until([&] { return server.reactor().counters().subscriptions.get() == 290; });
  for (const Fd& client : clients) CHECK_EQ(server.read(client, 4), "one\n");
  server.turns(3);
  for (const Fd& client : clients) {
    char byte;
    CHECK_EQ(sock::receive(client.get(), &byte, 1).error, EAGAIN);
  }
}

TEST("what waits of one topic leaves room for the others, and a reactor keeps only what it has subscribers of") {
  ExchangeOptions options;
  options.maxMailboxBytes = 1 << 20;
  Reactors server(raw(), 2, options);
  Audience subscribers(server, SlowPolicy::kDrop);
  const Fd a = server.connect(), b = server.connect();
  subscribers.tell(a, "+flood");
  subscribers.tell(b, "+other");
  subscribers.tell(b, ">1");
  server.until([&] { return server.open(1) == 1; });
  PublicationList& list = server.exchange->publications();
  const std::string text(10 << 10, 'x');
  const auto publishes = [&](std::string_view topic) { return server.exchange->publish(publication(topic, text)); };
  int sent = 0;
  while (publishes("flood") == Exchange::Publishing::kSent) ++sent;
  CHECK(sent >= 45 && sent <= 51);
  // Only reactor 1 drives from here on: messages waiting for reactor 0 do not delay the other topic.
  for (int i = 0; i < 200; ++i) {
    CHECK(publishes("other") == Exchange::Publishing::kSent);
    server.reactor(1).turn(0);
  }
  CHECK(!list.hasFor(1));
  CHECK(list.bytes() < size_t{600} << 10);
  server.until([&] { return list.bytes() == 0; });
}

TEST("one topic's flood does not keep another topic's subscribers waiting, who get theirs in order") {
  Reactors server(raw());
  Audience subscribers(server, SlowPolicy::kDrop);
  std::vector<Fd> flooded;
  for (int i = 0; i < 40; ++i) {
    flooded.push_back(server.connect());
    subscribers.tell(flooded.back(), "+flood");
  }
  const Fd a = server.connect();
  subscribers.tell(a, "+quiet");
  // A subscriber of both gets both in the order in which they were published.
  const Fd both = server.connect();
  subscribers.tell(both, "+flood");
  subscribers.tell(both, "+quiet");
  constexpr int kFlood = 2000;
  std::string expected;
  const auto flood = [&](int from, int to) {
    for (int i = from; i < to; ++i) {
      const std::string text = std::to_string(i) + ".";
      expected += text;
      CHECK(server.exchange->publish(publication("flood", text)) == Exchange::Publishing::kSent);
    }
  };
  flood(0, kFlood / 2);
  CHECK(server.exchange->publish(publication("quiet", "quiet")) == Exchange::Publishing::kSent);
  expected += "quiet";
  flood(kFlood / 2, kFlood);
  const uint64_t before = server.reactor().counters().publications.get();
  CHECK_EQ(server.read(a, 5), "quiet");
  // Before it were 1,000 publications to 41 subscribers.
  const uint64_t delivered = server.reactor().counters().publications.get() - before;
  CHECK(delivered <= 41 * 2 * 16);
  CHECK(server.read(both, expected.size()) == expected);
  server.until([&] { return server.exchange->publications().bytes() == 0; });
}

TEST("a connection that falls behind in many topics gets all in one order, also when it leaves some and moves meanwhile") {
  Reactors server(raw(), 2);
  Audience subscribers(server);
  std::vector<Fd> others;
  for (int i = 0; i < 20; ++i) {
    others.push_back(server.connect());
    for (int t = 0; t < 4; ++t) subscribers.tell(others.back(), "+" + std::to_string(t));
  }
  const Fd a = server.connect();
  for (int t = 0; t < 4; ++t) subscribers.tell(a, "+" + std::to_string(t));
  std::string expected;
  const auto publish = [&](int from, int to, int leftOut) {
    for (int i = from; i < to; ++i) {
      const int topic = i * 7 % 4;
      char text[16];  // the compiler does not know how many digits there are
      std::snprintf(text, sizeof(text), "%07d\n", i);
      if (topic != leftOut) expected += text;
      CHECK(server.exchange->publish(publication(std::to_string(topic), text)) == Exchange::Publishing::kSent);
    }
  };
  publish(0, 400, -1);
  server.turns(1);
  // It has got some of them, and moves there and back with the rest, while more come.
  for (int round = 0; round < 6; ++round) {
    const uint64_t before = sum(server, &ReactorCounters::moved);
    say(a, std::string(">") + (round % 2 == 0 ? "1" : "0") + "\n");
    publish(400 + round * 100, 500 + round * 100, -1);
    server.until([&] { return sum(server, &ReactorCounters::moved) > before; });
  }
  CHECK(server.read(a, expected.size()) == expected);
  expected.clear();
  subscribers.tell(a, "-2");
  publish(1000, 1400, 2);
  CHECK(server.read(a, expected.size()) == expected);
  // Audience that hang up in the middle leave nothing behind.
  publish(1400, 1800, 2);
  server.turns(1);
  others.clear();
  server.until([&] { return server.exchange->publications().bytes() == 0; });
  server.until([&] { return sum(server, &ReactorCounters::subscriptions) == 3; });
}

TEST("whoever ends a subscription while it is behind in it gets no more of it, and is counted no more") {
  Reactors server(raw());
  Audience subscribers(server);
  std::vector<Fd> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(server.connect());
    subscribers.tell(clients.back(), "+n");
  }
  const uint16_t port = server.exchange->openPort();
  for (const char* text : {"one\n", "two\n"}) {
    CHECK(server.exchange->publish(publication("n", text, port, 1)) == Exchange::Publishing::kSent);
  }
  server.turns(1);
  for (size_t i = 0; i < clients.size(); i += 2) say(clients[i], "-n\n");
  const uint64_t first = reached(server, port), second = reached(server, port);
  CHECK(first >= 150 && first <= 300);
  CHECK(second >= 150 && second <= first);
  for (size_t i = 1; i < clients.size(); i += 2) CHECK_EQ(server.read(clients[i], 8), "one\ntwo\n");
  // Where hooks count as slow, a turn takes few frames: the last ones may still wait to be read.
  server.until([&] { return server.reactor().counters().subscriptions.get() == 150; });
  CHECK_EQ(server.exchange->publications().bytes(), 0u);
}

namespace {

// Moves a connection of n subscriptions while 8 n publications wait on reactor 1, one in eight for a topic of its own. The steps
// of the turns in which it arrives and gets its missed messages.
uint64_t stepsOfMove(size_t n) {
  ListenerConfig config = raw();
  config.maxSubscriptions = 1 << 20;
  config.maxSubscriptionBytes = 1 << 20;
  ExchangeOptions options;
  options.maxMailboxBytes = 1 << 30;
  Reactors server(config, 2, options);
  Audience subscribers(server);
  const Fd busy = server.connect(), a = server.connect();
  subscribers.tell(busy, "+busy");
  subscribers.tell(busy, ">1");
  server.until([&] { return server.open(1) == 1; });
  for (size_t i = 0; i < n; ++i) subscribers.tell(a, "+" + std::to_string(i));
  for (size_t i = 0; i < 8 * n; ++i) {
    const std::string topic = i % 8 == 0 ? std::to_string(i / 8) : "busy";
    CHECK(server.exchange->publish(publication(topic, "x")) == Exchange::Publishing::kSent);
  }
  const uint64_t before = sum(server, &ReactorCounters::moved);
  say(a, ">1\n");
  while (sum(server, &ReactorCounters::moved) == before) server.reactor(0).turn(0);
  const Steps steps;
  while (server.reactor(1).turn(0)) {
  }
  const uint64_t taken = steps.taken();
  CHECK_EQ(server.read(a, n), std::string(n, 'x'));
  return taken;
}

}  // namespace

TEST("a move costs in proportion to the subscriptions and to what was missed") { CHECK_GROWTH(300, stepsOfMove); }

TEST("spreading costs in proportion to the publications, not to those who are behind") {
  // One subscriber that is behind, or many: the flood of their topic costs another topic the same.
  CHECK_GROWTH(100, [](size_t n) {
    Reactors server(raw());
    Audience subscribers(server, SlowPolicy::kDrop);
    std::vector<Fd> clients;
    for (size_t i = 0; i < n; ++i) {
      clients.push_back(server.connect());
      subscribers.tell(clients.back(), "+n");
    }
    for (size_t i = 0; i < 20 * n; ++i) (void)server.exchange->publish(publication("n", "x"));
    const Fd a = server.connect();
    subscribers.tell(a, "+quiet");
    CHECK(server.exchange->publish(publication("quiet", "quiet")) == Exchange::Publishing::kSent);
    const Steps steps;
    CHECK_EQ(server.read(a, 5), "quiet");
    return steps.taken();
  });
}

namespace {

// Connections whose subscriptions the test makes itself, without a frame that says so.
struct Direct {
  explicit Direct(Reactors& server) : server_(server) {
    server.js().hook = [this](const EventRow& row, std::string_view) {
      if (row.event == Event::kOpen) rows_.push_back(row);
    };
  }
  Fd open() {
    const size_t before = rows_.size();
    Fd fd = server_.connect();
    server_.until([&] { return rows_.size() > before; });
    return fd;
  }
  Reactor::Subscribed subscribe(size_t which, std::string_view topic) {
    return server_.reactor().subscribe(rows_[which].slot, rows_[which].generation, topic, SlowPolicy::kClose);
  }
  bool unsubscribe(size_t which, std::string_view topic) {
    return server_.reactor().unsubscribe(rows_[which].slot, rows_[which].generation, topic);
  }

 private:
  Reactors& server_;
  std::vector<EventRow> rows_;
};

std::string name(size_t number, size_t length) {
  const std::string text = std::to_string(number);
  return text + std::string(length - text.size(), 'n');
}

}  // namespace

TEST("subscriptions count as memory of their connection: names, nodes and places, and each topic once") {
  ListenerConfig config = raw();
  config.maxSubscriptions = 1 << 20;
  config.maxSubscriptionBytes = 1 << 30;
  Reactors server(config);
  Direct direct(server);
  const Fd a = direct.open(), b = direct.open();
  const auto counted = [&] { return server.reactor().counters().buffered.get(); };
  for (const size_t which : {0, 1}) CHECK(direct.subscribe(which, "one") == Reactor::Subscribed::kDone);
  constexpr size_t kMany = 3000;
  for (const size_t length : {size_t{10}, size_t{100}, size_t{1000}}) {
    std::vector<std::string> names;
    for (size_t i = 0; i < kMany; ++i) names.push_back(name(i, length));
    const uint64_t before = counted();
    const size_t allocated = mallinfo2().uordblks;
    for (const std::string& each : names) CHECK(direct.subscribe(0, each) == Reactor::Subscribed::kDone);
    const auto own = static_cast<double>(counted() - before);
    if (allocated != 0) {  // the allocator of a sanitizer does not say
      const auto real = static_cast<double>(mallinfo2().uordblks - allocated);
      const Note figures([&] { return std::to_string(own / kMany) + " counted, " + std::to_string(real / kMany) + " real"; });
      CHECK(own > 0.85 * real);
      CHECK(own < 1.15 * real);
    }
    // Another subscriber of the same topics costs its own part, and pays for all when the first one has left.
    const uint64_t one = counted();
    for (const std::string& each : names) CHECK(direct.subscribe(1, each) == Reactor::Subscribed::kDone);
    CHECK(counted() - one < kMany * 200);
    for (const std::string& each : names) CHECK(direct.unsubscribe(0, each));
    CHECK_EQ(counted(), one);
    for (const std::string& each : names) CHECK(direct.unsubscribe(1, each));
    CHECK_EQ(counted(), before);
  }
}

TEST("names are shed as other memory is: the connection that has thought up most closes as memory-limit") {
  ExchangeOptions options;
  options.maxMemoryBytes = 8 << 20;
  ListenerConfig config = raw();
  config.maxSubscriptionBytes = 1 << 20;
  Reactors server(config, 1, options);
  Direct direct(server);
  const Fd polite = direct.open();
  CHECK(direct.subscribe(0, "news") == Reactor::Subscribed::kDone);
  std::vector<Fd> others;
  for (size_t c = 1; c <= 8; ++c) {
    others.push_back(direct.open());
    for (size_t i = 0; i < 1000; ++i) (void)direct.subscribe(c, name(c * 1000 + i, 1000));
    server.turns(2);
  }
  server.turns(3);
  CHECK(server.closed(CloseReason::kMemoryLimit) >= 4);
  CHECK(server.reactor().counters().buffered.get() <= options.maxMemoryBytes);
  CHECK_EQ(*server.reactor().publishHere("news", spanOf("here")), 1u);
  CHECK_EQ(server.read(polite, 4), "here");
}

TEST("the bytes of a connection's topic names have a limit of their own") {
  ListenerConfig config = raw();
  config.maxSubscriptionBytes = 10;
  Reactors server(config);
  Audience subscribers(server);
  const Fd a = server.connect();
  subscribers.tell(a, "+12345");
  CHECK(subscribers.last == Reactor::Subscribed::kDone);
  subscribers.tell(a, "+123456");
  CHECK(subscribers.last == Reactor::Subscribed::kTooLong);
  subscribers.tell(a, "+abcde");
  CHECK(subscribers.last == Reactor::Subscribed::kDone);
  subscribers.tell(a, "-12345");
  subscribers.tell(a, "+6789");
  CHECK(subscribers.last == Reactor::Subscribed::kDone);
}

TEST("shared bytes go out in the order of the appends, and are let go as they leave") {
  OutBuffer buffer;
  const SharedBytesRef large = SharedBytesRef::copyOf(spanOf(std::string(5000, 'L')));
  const SharedBytesRef small = SharedBytesRef::copyOf(spanOf("small"));
  buffer.append("a", 1);
  buffer.append(large);
  buffer.append(small);
  buffer.append(large);
  buffer.append("z", 1);
  CHECK_EQ(large->holders(), 3u);
  CHECK_EQ(small->holders(), 1u);
  CHECK_EQ(buffer.size(), 10007u);
  CHECK_EQ(buffer.sharedSize(), 10000u);
  const Pair pair = unixPair();
  CHECK_EQ(buffer.flush(pair.near.get()).value, 10007u);
  CHECK_EQ(large->holders(), 1u);
  std::string got(10007, '\0');
  CHECK_EQ(::recv(pair.far.get(), got.data(), got.size(), MSG_WAITALL), 10007);
  CHECK(got == "a" + std::string(5000, 'L') + "small" + std::string(5000, 'L') + "z");
}

TEST("shared bytes whose beginning has left already go on from there: held when much is left, copied when little is") {
  std::string text(5000, ' ');
  for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>('a' + i % 26);
  const SharedBytesRef bytes = SharedBytesRef::copyOf(spanOf(text));
  for (const size_t from : {size_t{1}, size_t{100}, size_t{4990}}) {
    OutBuffer buffer;
    buffer.append(bytes, from);
    const size_t rest = text.size() - from;
    const bool held = from != 4990;
    CHECK_EQ(buffer.size(), rest);
    CHECK_EQ(buffer.sharedSize(), held ? rest : 0u);
    CHECK_EQ(bytes->holders(), held ? 2u : 1u);
    buffer.append("z", 1);
    const Pair pair = unixPair();
    CHECK_EQ(buffer.flush(pair.near.get()).value, rest + 1);
    CHECK_EQ(bytes->holders(), 1u);
    std::string got(rest + 1, '\0');
    CHECK_EQ(::recv(pair.far.get(), got.data(), got.size(), MSG_WAITALL), static_cast<ssize_t>(got.size()));
    CHECK(got == text.substr(from) + "z");
  }
}
