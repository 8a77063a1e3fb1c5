// Calls of other threads, told to an app and answered.
#include "reactor/incoming_calls.h"

#include <memory>
#include <string>

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

struct Sink final : EventSink {
  std::vector<uint8_t> slab = std::vector<uint8_t>(1 << 20);
  bool hasMemory = true;
  Delivered deliver(const std::vector<EventRow>& rows) override { return {true, rows.size(), false}; }
  Slab newSlab(size_t) override { return hasMemory ? Slab{slab.data(), slab.size(), 1} : Slab{}; }
};

ExchangeOptions oneReactor() {
  ExchangeOptions options;
  options.reactors = 1;
  return options;
}

struct Fixture {
  Fixture() { batch.attach(&sink); }
  std::unique_ptr<Call> call(const std::string& text, uint32_t request) {
    auto call = std::make_unique<Call>();
    call->data.assign(text.begin(), text.end());
    call->replyTo = caller;
    call->request = request;
    return call;
  }
  // The next result: its request, outcome and text.
  std::string result() {
    const auto message = exchange.mailbox(caller).take();
    if (!message) return "none";
    CHECK(message->kind == Message::Kind::kCallResult);
    const auto& result = static_cast<CallResult&>(*message);
    return std::to_string(result.request) + " " + std::to_string(static_cast<int>(result.outcome)) + " " +
           std::string(result.data.begin(), result.data.end());
  }

  Exchange exchange{oneReactor()};
  uint16_t caller = exchange.openPort();
  TurnBudget budget;
  Sink sink;
  EventBatch batch{budget};
  IncomingCalls calls{exchange, batch};
};

std::span<const uint8_t> bytesOf(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

}  // namespace

TEST("a call crosses as a row about no connection, and is answered once") {
  Fixture fixture;
  fixture.calls.tell(*fixture.call("question", 7));
  CHECK(!fixture.calls.empty());
  const EventRow row = fixture.batch.last();
  CHECK(row.event == Event::kCalled);
  CHECK_EQ(row.slot, 0u);
  CHECK_EQ(row.generation, 0u);
  CHECK_EQ(row.c, 8u);
  CHECK(fixture.calls.answer(row.d, CallOutcome::kAnswered, bytesOf("yes")));
  CHECK_EQ(fixture.result(), "7 0 yes");
  CHECK(fixture.calls.empty());
  CHECK(!fixture.calls.answer(row.d, CallOutcome::kAnswered, bytesOf("again")));
  CHECK_EQ(fixture.result(), "none");
}

TEST("a call is lost with its thread, and without memory or a thread") {
  Fixture fixture;
  fixture.calls.tell(*fixture.call("one", 1));
  fixture.calls.tell(*fixture.call("two", 2));
  fixture.calls.loseAll();
  CHECK(fixture.calls.empty());
  std::string results[] = {fixture.result(), fixture.result()};
  std::sort(std::begin(results), std::end(results));
  CHECK_EQ(results[0], "1 2 ");
  CHECK_EQ(results[1], "2 2 ");
  fixture.batch.detach();
  fixture.calls.tell(*fixture.call("three", 3));
  CHECK(fixture.calls.empty());
  CHECK_EQ(fixture.result(), "3 2 ");
}

TEST("a call that is kept for the next thread is taken once, in its order") {
  Fixture fixture;
  fixture.calls.keep(fixture.call("one", 1));
  fixture.calls.keep(fixture.call("two", 2));
  auto kept = fixture.calls.takeKept();
  CHECK_EQ(kept.size(), size_t{2});
  CHECK_EQ(static_cast<Call&>(*kept.front()).request, 1u);
  CHECK(fixture.calls.takeKept().empty());
  CHECK(fixture.calls.empty());
}
