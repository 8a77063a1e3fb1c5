// Who gets which publication, without a socket that is written to.
#include "reactor/subscribers.h"

#include <string>
#include <utility>
#include <vector>

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

struct Core : ReactorCore {
  explicit Core(std::shared_ptr<Exchange> exchange) : ReactorCore(std::move(exchange), 0) {
    owner_.attach();
    ListenerConfig config;
    config.maxSubscriptions = 2;
    listeners_.push_back(config);
    listenerFramings_.push_back(framings_.add(config.framing, 0, [](auto&&) {}));
    budget_.begin();
  }
  ~Core() { owner_.detach(); }
};

struct Output final : PublicationOutput {
  bool admitsPublication(uint32_t, size_t) override { return admits; }
  void sendShared(uint32_t slot, const SharedBytesRef& bytes, bool) override { appendShared(slot, bytes); }
  void appendShared(uint32_t slot, const SharedBytesRef& bytes) override {
    const auto all = bytes.span();
    put.emplace_back(slot, std::string(all.begin(), all.end()));
  }
  bool admits = true;
  std::vector<std::pair<uint32_t, std::string>> put;
};

using Put = std::vector<std::pair<uint32_t, std::string>>;

std::shared_ptr<Exchange> ofOneReactor() {
  ExchangeOptions options;
  options.reactors = 1;
  return std::make_shared<Exchange>(options);
}

struct Fixture {
  ~Fixture() {
    for (uint32_t slot = 0; slot < core.table().highest(); ++slot) {
      subscribers.drop(core.table().at(slot));
      core.table().at(slot).fd.reset();
    }
    while (subscribers.deliver())
      ;
  }
  uint32_t open() {
    const uint32_t slot = core.table().open();
    core.table().at(slot).fd = must(sock::connect(listening));
    return slot;
  }
  Subscribers::Subscribed subscribe(uint32_t slot, std::string_view topic, SlowPolicy policy = SlowPolicy::kClose) {
    return subscribers.subscribe(slot, core.table().at(slot).generation, topic, policy);
  }
  uint64_t publish(std::string_view topic, std::string_view text) {
    const std::span bytes(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    return subscribers.publish(topic, SharedBytesRef::copyOf(bytes), {}, 0).value_or(UINT64_MAX);
  }

  Fd listener = must(sock::bindStream(loopback(), {}));
  bool listens = (must(sock::listen(listener.get(), 16)), true);
  Address listening = must(sock::localAddress(listener.get()));
  std::shared_ptr<Exchange> exchange = ofOneReactor();
  Core core{exchange};
  Output output;
  Subscribers subscribers{core, output};
};

}  // namespace

TEST("a publication is put out once for each subscriber of its topic, and for nobody else") {
  Fixture fixture;
  const uint32_t a = fixture.open(), b = fixture.open(), c = fixture.open();
  CHECK(fixture.subscribe(a, "news") == Subscribers::Subscribed::kDone);
  CHECK(fixture.subscribe(b, "news") == Subscribers::Subscribed::kDone);
  CHECK(fixture.subscribe(c, "sport") == Subscribers::Subscribed::kDone);
  CHECK_EQ(fixture.publish("news", "one"), uint64_t{2});
  CHECK(fixture.subscribers.hasWork());
  CHECK(!fixture.subscribers.deliver());
  CHECK_EQ(fixture.output.put.size(), size_t{2});
  for (const uint32_t slot : {a, b}) CHECK_EQ(std::erase(fixture.output.put, Put::value_type{slot, "one"}), size_t{1});
}

TEST("a publication that finds no room is not put out, and the next one is") {
  Fixture fixture;
  const uint32_t slot = fixture.open();
  fixture.subscribe(slot, "news");
  fixture.output.admits = false;
  fixture.publish("news", "one");
  fixture.subscribers.deliver();
  fixture.output.admits = true;
  fixture.publish("news", "two");
  fixture.subscribers.deliver();
  CHECK(fixture.output.put == Put{{slot, "two"}});
}

TEST("subscriptions and their memory are counted until they are dropped, and the last one takes its topic along") {
  Fixture fixture;
  const uint32_t slot = fixture.open();
  fixture.subscribe(slot, "a");
  CHECK(fixture.subscribe(slot, "a") == Subscribers::Subscribed::kAlready);
  fixture.subscribe(slot, "b");
  CHECK(fixture.subscribe(slot, "c") == Subscribers::Subscribed::kTooMany);
  CHECK_EQ(fixture.core.counters().subscriptions.get(), uint64_t{2});
  CHECK(fixture.core.counters().buffered.get() != 0);
  fixture.subscribers.drop(fixture.core.table().at(slot));
  fixture.core.account(slot);
  CHECK_EQ(fixture.core.counters().subscriptions.get(), uint64_t{0});
  CHECK(fixture.subscribers.hasOnlyRests());
  CHECK(!fixture.subscribers.deliver());
  CHECK(!fixture.subscribers.hasOnlyRests());
}

TEST("what waited for a subscriber goes with it to a sibling") {
  Fixture fixture;
  const uint32_t from = fixture.open(), to = fixture.open();
  fixture.subscribe(from, "news");
  fixture.publish("news", "one");
  Subscribers::Packed packed;
  fixture.subscribers.pack(from, &packed);
  CHECK(!fixture.core.table().at(from).subscriptions());
  fixture.subscribers.unpack(to, packed);
  fixture.subscribers.deliver();
  CHECK(fixture.output.put == Put{{to, "one"}});
}
