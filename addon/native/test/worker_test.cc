// A pool worker without Node.
#include "worker/worker.h"

#include <string>
#include <vector>

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr uint64_t kMs = 1'000'000;
const auto kConnection = ConnectionId::of(0, 1, 1);

uint64_t fakeNowNs = 0;
uint64_t fakeClock() { return fakeNowNs; }

ExchangeOptions options(uint64_t maxWaitNs, uint32_t workers) {
  ExchangeOptions options;
  options.reactors = 1;
  options.workers = workers;
  options.maxWaitNs = maxWaitNs;
  return options;
}

struct Fixture {
  explicit Fixture(uint64_t maxWaitNs = 0, uint32_t workers = 1) : exchange(options(maxWaitNs, workers)) {
    fakeNowNs = 1'000 * kMs;
    exchange.directory().publish(kConnection, exchange.reactorMailbox(0));
  }

  Task* task(const std::string& text, uint8_t flags = Task::kNone, ConnectionId connection = kConnection) {
    Task* made = Task::create({connection, next++, 5, flags, {}}, 1, text.size());
    made->append({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
    made->queuedAtNs = fakeNowNs;
    return made;
  }
  void submit(const std::string& text, uint8_t flags = Task::kNone, ConnectionId connection = kConnection) {
    const CostTable::Key key = CostTable::keyOf(5, text.size());
    if (exchange.costs().costNs(key) == 0) exchange.costs().learnInPool(key, 1, 1'000, fakeNowNs);  // cheap ones go together
    CHECK(exchange.submit(task(text, flags, connection)));
  }
  uint32_t take(size_t used = 0) {
    const auto taken = worker.take(rows, slab, used, 64);
    usedOfSlab = taken.used;
    return taken.frames;
  }
  std::string textOf(uint32_t row) const {
    const auto* from = reinterpret_cast<const char*>(slab.data()) + rows[row].offset;
    return {from, rows[row].length};
  }
  void start(uint32_t frames) {
    for (uint32_t i = 0; i < frames; ++i) worker.slot().batchState()->fetch_add(1, std::memory_order_seq_cst);
  }
  void answer(uint32_t row, const std::string& text, uint32_t flags = Reply::kLast) {
    OutBox& box = worker.slot().outBox();
    uint32_t at = 0;
    for (uint32_t i = 0; i < box.count; ++i) at += box.rows[i].length;
    std::copy(text.begin(), text.end(), box.bytes.begin() + at);
    box.rows[box.count++] = {rows[row].token, flags, at, static_cast<uint32_t>(text.size())};
  }
  struct Sent {
    Reply reply;
    std::string text;
  };
  std::vector<Sent> sent() {
    std::vector<Sent> all;
    while (const auto message = exchange.mailbox(exchange.reactorMailbox(0)).take()) {
      if (message->kind != Message::Kind::kReplies) continue;
      Sent one;
      std::span<const uint8_t> bytes;
      while (static_cast<ReplyBatch&>(*message).take(&one.reply, &bytes)) {
        one.text = {bytes.begin(), bytes.end()};
        all.push_back(one);
      }
    }
    return all;
  }

  Exchange exchange;
  Worker worker{exchange, 0, fakeClock};
  std::vector<TaskRow> rows = std::vector<TaskRow>(WorkerSlot::kMaxBatch);
  std::vector<uint8_t> slab = std::vector<uint8_t>(1 << 10);
  size_t usedOfSlab = 0;
  uint64_t next = 100;
};

}  // namespace

TEST("a taken frame is described by its row, and lies aligned in the slab") {
  Fixture fixture;
  fixture.submit("first");
  fixture.submit("second", Task::kRun);
  CHECK_EQ(fixture.take(8), 2u);
  const TaskRow& row = fixture.rows[0];
  CHECK_EQ(row.key, CostTable::keyOf(5, 5));
  CHECK_EQ(row.offset, 8u);
  CHECK_EQ(row.idLow, static_cast<uint32_t>(kConnection.value));
  CHECK_EQ(row.idHigh, static_cast<uint32_t>(kConnection.value >> 32));
  CHECK_EQ(row.sequence, 100u);
  CHECK_EQ(row.flags, 0u);
  CHECK_EQ(fixture.textOf(0), "first");
  CHECK_EQ(fixture.rows[1].offset, 16u);
  CHECK_EQ(fixture.rows[1].flags, uint32_t{Task::kRun});
  CHECK_EQ(fixture.textOf(1), "second");
  CHECK_EQ(fixture.usedOfSlab, 24u);
  CHECK(fixture.worker.hasUnstarted());
  fixture.start(2);
  CHECK(!fixture.worker.hasUnstarted());
}

TEST("a frame that does not fit into the slab is named without bytes, and those behind it still get theirs") {
  Fixture fixture;
  fixture.submit(std::string(2'000, 'x'));
  fixture.submit("small");
  CHECK_EQ(fixture.take(), 2u);
  CHECK_EQ(fixture.rows[0].offset, TaskRow::kElsewhere);
  CHECK_EQ(fixture.rows[0].length, 2'000u);
  CHECK_EQ(fixture.worker.inFlight(fixture.rows[0].token)->task->frame(0).size(), size_t{2'000});
  CHECK_EQ(fixture.textOf(1), "small");
  fixture.slab.clear();  // without a slab
  fixture.start(2);
  fixture.submit("small");
  CHECK_EQ(fixture.take(4'711), 1u);
  CHECK_EQ(fixture.rows[0].offset, TaskRow::kElsewhere);
  CHECK_EQ(fixture.usedOfSlab, size_t{0});
}

TEST("frames of a connection that has closed are not run") {
  Fixture fixture;
  fixture.submit("gone", Task::kNone, ConnectionId::of(0, 2, 1));
  fixture.submit("here");
  CHECK_EQ(fixture.take(), 1u);
  CHECK_EQ(fixture.textOf(0), "here");
  CHECK_EQ(fixture.worker.slot().counters.framesCancelled.get(), uint64_t{1});
}

TEST("refuses a frame that has waited longer than maxWaitNs, and those that the queue had refused") {
  Fixture fixture(20 * kMs);
  fixture.submit("late");
  fakeNowNs += 10 * kMs;
  fixture.submit("in time");
  fakeNowNs += 15 * kMs;
  CHECK_EQ(fixture.take(), 2u);
  CHECK_EQ(fixture.rows[0].flags, uint32_t{Task::kRefused});
  CHECK_EQ(fixture.rows[1].flags, 0u);
  fixture.start(2);
  CHECK(fixture.exchange.submitRefused(fixture.task("refused")));
  CHECK_EQ(fixture.take(), 1u);
  CHECK_EQ(fixture.rows[0].flags, uint32_t{Task::kRefused});
  CHECK_EQ(fixture.worker.slot().counters.framesShed.get(), uint64_t{2});
}

TEST("a frame that runs again after a worker's death is not refused for its wait") {
  Fixture fixture(20 * kMs);
  const TaskRef task(fixture.task("again"));
  fixture.exchange.requeue({task, 0, 1});
  fakeNowNs += 1'000 * kMs;
  CHECK_EQ(fixture.take(), 1u);
  CHECK_EQ(fixture.rows[0].flags, 1u << TaskRow::kAttemptShift);
}

TEST("settled frames go to the owner of their connection in one message, once") {
  Fixture fixture;
  fixture.submit("one");
  fixture.submit("three", Task::kRun);
  CHECK_EQ(fixture.take(), 2u);
  fixture.start(2);
  fixture.answer(0, "eins");
  fixture.answer(1, "drei", Reply::kLast | Reply::kError);
  fixture.answer(0, "twice");
  fixture.worker.settle();
  const auto sent = fixture.sent();
  CHECK_EQ(sent.size(), size_t{2});
  CHECK_EQ(sent[0].text, "eins");
  CHECK_EQ(sent[0].reply.sequence, uint64_t{100});
  CHECK_EQ(sent[0].reply.frameBytes, 3u);
  CHECK_EQ(sent[0].reply.worker, fixture.exchange.workerMailbox(0));
  CHECK_EQ(sent[1].reply.flags, uint16_t{Reply::kLast | Reply::kError | Reply::kRun});
  CHECK_EQ(fixture.worker.slot().counters.framesSettled.get(), uint64_t{2});
  CHECK_EQ(fixture.worker.slot().counters.framesFailed.get(), uint64_t{1});
  fixture.worker.settle();
  CHECK(fixture.sent().empty());
}

TEST("a reply to a connection that has closed is counted, and its credit comes back as gone") {
  Fixture fixture;
  fixture.submit("one");
  CHECK_EQ(fixture.take(), 1u);
  fixture.start(1);
  fixture.exchange.directory().retract(kConnection);
  const uint8_t byte = 'x';
  fixture.worker.part(fixture.rows[0].token, 0, {&byte, 1}, 1, 77);
  CHECK_EQ(fixture.exchange.repliesUnrouted.load(), uint64_t{1});
  const auto message = fixture.worker.mailbox().take();
  CHECK(message && message->kind == Message::Kind::kCredit);
  CHECK_EQ(static_cast<Credit&>(*message).token, 77u);
  CHECK(static_cast<Credit&>(*message).gone);
}

TEST("a part that is not the last leaves its frame in flight, and flags that are not the frame's own are dropped") {
  Fixture fixture;
  fixture.submit("one");
  CHECK_EQ(fixture.take(), 1u);
  fixture.start(1);
  const uint32_t token = fixture.rows[0].token;
  const uint8_t byte = 'x';
  fixture.worker.part(token, Reply::kRun | Reply::kLost, {&byte, 1}, 5, 77);
  CHECK(fixture.worker.inFlight(token));
  fixture.worker.part(token, Reply::kLast, {&byte, 1}, 0, 77);
  CHECK(!fixture.worker.inFlight(token));
  fixture.worker.part(token, Reply::kLast, {&byte, 1}, 0, 77);
  const auto sent = fixture.sent();
  CHECK_EQ(sent.size(), size_t{2});
  CHECK_EQ(sent[0].reply.flags, uint16_t{0});
  CHECK_EQ(sent[0].reply.credit, 5u);
  CHECK_EQ(sent[0].reply.creditToken, 77u);
  CHECK_EQ(sent[0].reply.frameBytes, 0u);
  CHECK_EQ(sent[1].reply.frameBytes, 3u);
}

TEST("marks the rows of frames that lose their room while their batch runs, and gives them back") {
  Fixture fixture;
  fixture.submit("one");
  fixture.submit("two");
  CHECK_EQ(fixture.take(), 2u);
  fixture.start(1);
  fixture.exchange.room().setFull(kConnection, true);
  fixture.answer(0, "eins");
  fixture.worker.settle();
  CHECK_EQ(fixture.rows[0].flags, 0u);
  CHECK_EQ(fixture.rows[1].flags, TaskRow::kSetAside);
  CHECK(!fixture.worker.inFlight(fixture.rows[1].token));
  uint32_t aside = 0;
  while (const auto message = fixture.exchange.mailbox(0).take()) aside += message->kind == Message::Kind::kSetAside;
  CHECK_EQ(aside, 1u);
}

TEST("frames without room are given back before they are taken") {
  Fixture fixture;
  fixture.submit("one");
  fixture.exchange.room().setFull(kConnection, true);
  CHECK_EQ(fixture.take(), 0u);
  const auto message = fixture.exchange.mailbox(0).take();
  CHECK(message && message->kind == Message::Kind::kSetAside);
}

TEST("a batch of one cheap kind is measured as a whole, and the pause before goOn() is not its cost") {
  Fixture fixture;
  constexpr CostTable::Key kKey = CostTable::keyOf(5, 3);
  fixture.submit("one");
  fixture.submit("two");
  CHECK_EQ(fixture.take(), 2u);
  OutBox& box = fixture.worker.slot().outBox();
  CHECK_EQ(box.measured, uint32_t{OutBox::kAsWhole});
  fixture.start(1);
  fakeNowNs += 1'000;
  fixture.worker.finish(1);
  CHECK_EQ(box.samples, 0u);
  fakeNowNs += 900 * kMs;
  fixture.worker.goOn();
  fixture.start(1);
  fakeNowNs += 1'000;
  fixture.worker.finish(1);
  CHECK_EQ(fixture.exchange.costs().costNs(kKey), uint64_t{1'000});
  CHECK_EQ(fixture.worker.slot().counters.framesStarted.get(), uint64_t{2});
  CHECK_EQ(fixture.worker.slot().counters.busyNs.get(), uint64_t{2'000});
}

TEST("JavaScript measures a batch of several kinds, and one that may be dear") {
  Fixture fixture;
  constexpr CostTable::Key kSmall = CostTable::keyOf(5, 3), kLarge = CostTable::keyOf(5, 300);
  OutBox& box = fixture.worker.slot().outBox();
  fixture.submit("one");
  fixture.submit(std::string(300, 'x'));
  CHECK_EQ(fixture.take(), 2u);
  CHECK_EQ(box.measured, uint32_t{OutBox::kByKind});
  fixture.start(2);
  box.sampleRows[0] = {kLarge, 1, 2'000, CostSample::kAsynchronous};
  box.samples = 1;
  fixture.worker.finish(2);
  CHECK(fixture.exchange.costs().isBanned(kLarge));
  CHECK(!fixture.exchange.costs().isBanned(kSmall));
  CHECK(fixture.exchange.submit(fixture.task(std::string(30, 'x'))));  // its cost is unknown
  CHECK_EQ(fixture.take(), 1u);
  CHECK_EQ(box.measured, uint32_t{OutBox::kMayBeDear});
}

TEST("a worker that finds nothing sleeps until there is work, and one that takes none passes its wake-up on") {
  Fixture fixture(0, 2);
  Worker other(fixture.exchange, 1, fakeClock);
  CHECK(fixture.worker.park(true));
  CHECK(other.park(true));
  fixture.submit("one");
  const bool isFirst = isReady(fixture.worker.mailbox().fd(), POLLIN, 0);
  Worker& woken = isFirst ? fixture.worker : other;
  Worker& asleep = isFirst ? other : fixture.worker;
  CHECK(isReady(woken.mailbox().fd(), POLLIN, 0));
  CHECK(!isReady(asleep.mailbox().fd(), POLLIN, 0));
  woken.wake();
  CHECK(woken.park(false));
  CHECK(isReady(asleep.mailbox().fd(), POLLIN, 0));
  asleep.wake();
  CHECK(!asleep.park(true));  // there is work
}

TEST("a worker whose slot was reaped is not current") {
  Fixture fixture;
  CHECK(fixture.worker.isCurrent());
  fixture.exchange.reapWorker(0, false, false);
  CHECK(!fixture.worker.isCurrent());
}
