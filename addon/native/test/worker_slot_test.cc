// Replies that a dead worker had written and not handed over.
#include "exchange/worker_slot.h"

#include <cstring>

#include "exchange/exchange.h"
#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

const auto kConnection = ConnectionId::of(0, 1, 1);

Task* taskOf(uint32_t frames, size_t bytesEach, uint8_t flags = Task::kNone) {
  Task* task = Task::create({kConnection, 0, 0, flags, {}}, frames, frames * bytesEach);
  const std::vector<uint8_t> frame(bytesEach, 'f');
  for (uint32_t i = 0; i < frames; ++i) task->append(frame);
  return task;
}

struct Worker {
  explicit Worker(WorkerSlot& of, std::vector<FrameRef> frames) : slot(of), epoch(of.attach()) {
    slot.claim(epoch, frames, &claimed, 1);
  }
  explicit Worker(WorkerSlot& of, uint32_t count) : Worker(of, framesOf(count)) {}
  static std::vector<FrameRef> framesOf(uint32_t count) {
    const TaskRef task(taskOf(count, 8));
    std::vector<FrameRef> frames;
    for (uint32_t i = 0; i < count; ++i) frames.push_back({task, i, 0});
    return frames;
  }
  // As JS does.
  void start(uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) slot.batchState()->fetch_add(1, std::memory_order_seq_cst);
  }
  void write(uint32_t token, std::string_view text, uint32_t flags = Reply::kLast) {
    OutBox& box = slot.outBox();
    std::memcpy(box.bytes.data() + used, text.data(), text.size());
    box.rows[box.count++] = {token, flags, used, static_cast<uint32_t>(text.size())};
    used += static_cast<uint32_t>(text.size());
  }
  uint32_t token(size_t frame) const { return claimed.at(frame).token; }

  WorkerSlot& slot;
  uint32_t epoch;
  uint32_t used = 0;
  std::vector<WorkerSlot::Claimed> claimed;
};

std::string textOf(const WorkerSlot::Ready& ready) { return {ready.bytes.begin(), ready.bytes.end()}; }
uint64_t sequenceOf(const FrameRef& frame) { return frame.task->sequence(frame.index); }

}  // namespace

TEST("takeReady gives what lies in the out box, in its order, and those frames leave the slot") {
  WorkerSlot slot;
  Worker worker(slot, 4);
  worker.start(3);
  worker.write(worker.token(1), "second");
  worker.write(worker.token(0), "first", Reply::kLast | Reply::kEnd);
  const auto ready = slot.takeReady();
  CHECK_EQ(ready.size(), 2u);
  CHECK_EQ(textOf(ready[0]), "second");
  CHECK_EQ(sequenceOf(ready[0].frame), 1u);
  CHECK_EQ(textOf(ready[1]), "first");
  CHECK(ready[1].flags == (Reply::kLast | Reply::kEnd));
  CHECK(slot.takeReady().empty());
  const auto lost = slot.reap();
  CHECK_EQ(lost.size(), 2u);
  for (const LostFrame& each : lost) CHECK_EQ(each.started, sequenceOf(each.frame) == 2);
  CHECK_EQ(sequenceOf(lost[0].frame) + sequenceOf(lost[1].frame), 5u);
}

TEST("takeReady settles a frame once, and ignores tokens that are settled, stolen or were never given") {
  WorkerSlot slot;
  Worker worker(slot, 4);
  worker.start(2);
  FrameRef frame;
  CHECK(slot.settle(worker.epoch, worker.token(0), &frame));
  std::vector<FrameRef> stolen;
  slot.steal(&stolen, 10, 5);  // sees that the second frame has begun
  slot.steal(&stolen, 20, 5);
  CHECK_EQ(stolen.size(), 1u);
  CHECK_EQ(sequenceOf(stolen[0]), 3u);
  worker.write(worker.token(0), "settled");
  worker.write(worker.token(3), "stolen");
  worker.write(4711, "no token");
  worker.write(UINT32_MAX, "no token");
  worker.write(worker.token(1), "good");
  worker.write(worker.token(1), "twice");
  const auto ready = slot.takeReady();
  CHECK_EQ(ready.size(), 1u);
  CHECK_EQ(textOf(ready[0]), "good");
  CHECK_EQ(slot.reap().size(), 1u);
}

namespace {

// Rows that no working writer leaves, in the place of the second of three.
std::vector<OutBox::Row> corruptRows(uint32_t token) {
  return {{token, Reply::kLast, OutBox::kBytes + 1, 0},
          {token, Reply::kLast, 5, OutBox::kBytes - 4},
          {token, Reply::kLast, UINT32_MAX, UINT32_MAX},
          {token, Reply::kLast, OutBox::kBytes, 0},
          {token, Reply::kLast, 0, 5},  // the bytes of another frame
          {token, Reply::kLast, 6, 1},  // a hole before it
          {token, Reply::kEnd, 5, 6},   // a frame that would never settle
          {token, 0, 5, 6}};
}

}  // namespace

TEST("takeReady believes no number that JS wrote: from the first corrupt row on, frames are lost") {
  for (size_t which = 0; which < corruptRows(0).size(); ++which) {
    WorkerSlot slot;
    Worker worker(slot, 3);
    worker.start(3);
    worker.write(worker.token(0), "first");
    worker.write(worker.token(1), "second");
    worker.write(worker.token(2), "third");
    OutBox& box = slot.outBox();
    const bool follows = (box.rows[1] = corruptRows(worker.token(1))[which]).offset == 5 && box.rows[1].length == 6;
    for (uint32_t i = 3; i < OutBox::kRows; ++i) box.rows[i] = {worker.token(0), 0, UINT32_MAX, 1};
    box.count = UINT32_MAX;
    const auto ready = slot.takeReady();
    CHECK_EQ(textOf(ready.at(0)), "first");
    // A row of which only the flags are wrong does not hide where the next one begins.
    CHECK_EQ(ready.size(), follows ? 2u : 1u);
    if (follows) CHECK_EQ(textOf(ready.at(1)), "third");
    CHECK_EQ(slot.reap().size(), follows ? 1u : 2u);
  }
}

TEST("settleBox settles the frames of corrupt rows as lost, without a byte, and each frame once") {
  for (size_t which = 0; which < corruptRows(0).size(); ++which) {
    WorkerSlot slot;
    Worker worker(slot, 3);
    worker.start(3);
    worker.write(worker.token(0), "first");
    worker.write(worker.token(1), "second");
    worker.write(UINT32_MAX, "nobody");
    slot.outBox().rows[1] = corruptRows(worker.token(1))[which];
    std::vector<std::pair<uint64_t, std::string>> settled;
    slot.settleBox(worker.epoch, [&](const FrameRef& frame, uint16_t flags, std::span<const uint8_t> bytes) {
      const bool lost = flags == (Reply::kLast | Reply::kError | Reply::kDestroy | Reply::kLost);
      CHECK(lost ? bytes.empty() : flags == Reply::kLast);
      settled.emplace_back(sequenceOf(frame), lost ? "lost" : std::string(bytes.begin(), bytes.end()));
    });
    CHECK_EQ(settled.size(), 2u);
    CHECK_EQ(settled[0].first, 0u);
    CHECK_EQ(settled[0].second, "first");
    CHECK_EQ(settled[1].first, 1u);
    CHECK_EQ(settled[1].second, "lost");
    CHECK_EQ(slot.outBox().count, 0u);
    CHECK_EQ(slot.reap().size(), 1u);
  }
}

TEST("no flag that JS writes makes a call of a frame, or says that its thread is lost") {
  WorkerSlot slot;
  Worker worker(slot, 1);
  worker.start(1);
  worker.write(worker.token(0), "x", UINT32_MAX);
  const auto ready = slot.takeReady();
  CHECK_EQ(ready.size(), 1u);
  CHECK(ready[0].flags == Reply::kOfParse);
  CHECK_EQ(Reply::kOfParse & (Reply::kRun | Reply::kLost), 0);
}

TEST("steal takes nothing by a batch word that names more frames than the batch has") {
  for (const uint32_t word : {0xffff'0000u, 0x0004'0000u, 0x0100'0001u}) {
    WorkerSlot slot;
    Worker worker(slot, 3);
    slot.batchState()->store(word, std::memory_order_seq_cst);
    std::vector<FrameRef> stolen;
    slot.steal(&stolen, 10, 5);
    slot.steal(&stolen, 20, 5);
    CHECK(stolen.empty());
    CHECK_EQ(slot.reap().size(), 3u);
  }
}

TEST("takeReady gives nothing where nobody ever worked, and the next thread starts with an empty out box") {
  WorkerSlot slot;
  CHECK(slot.takeReady().empty());
  Worker worker(slot, 1);
  worker.write(worker.token(0), "old");
  slot.reap();
  CHECK(slot.takeReady().empty());  // its frame has gone with the epoch
  Worker again(slot, 1);
  CHECK(again.epoch != worker.epoch);
  CHECK_EQ(slot.outBox().count, 0u);
  CHECK(slot.takeReady().empty());
  CHECK_EQ(slot.reap().size(), 1u);
}

TEST("reapWorker sends what was written, loses what was started and gives back the rest") {
  Exchange exchange({.reactors = 1, .workers = 1, .queue = {}});
  exchange.directory().publish(kConnection, exchange.reactorMailbox(0));
  exchange.costs().learnInPool(CostTable::keyOf(0, 5), 1, 1000, 0);
  exchange.costs().learnInPool(CostTable::keyOf(0, 7), 1, 1000, 0);
  CHECK(exchange.submit(taskOf(3, 5)));
  CHECK(exchange.submit(taskOf(1, 7, Task::kRun)));
  std::vector<FrameRef> frames;
  exchange.takeFrames(0, 64, &frames);
  CHECK_EQ(frames.size(), 4u);
  Worker worker(exchange.worker(0), std::move(frames));
  worker.start(2);
  worker.write(worker.token(0), "written");
  worker.write(worker.token(3), "result");
  const Exchange::Reaped reaped = exchange.reapWorker(0, false, false);
  CHECK_EQ(reaped.lost, 1u);
  CHECK_EQ(reaped.requeued, 1u);
  CHECK_EQ(exchange.worker(0).counters.framesSettled.get(), 2u);
  const auto next = [&](std::string* text) {
    const auto message = exchange.mailbox(0).take();
    CHECK(message && message->kind == Message::Kind::kReplies);
    Reply reply;
    std::span<const uint8_t> bytes;
    CHECK(static_cast<ReplyBatch&>(*message).take(&reply, &bytes));
    text->assign(bytes.begin(), bytes.end());
    return reply;
  };
  std::string text;
  Reply reply = next(&text);
  CHECK_EQ(text, "written");
  CHECK_EQ(reply.sequence, 0u);
  CHECK_EQ(reply.flags, Reply::kLast);
  CHECK_EQ(reply.frameBytes, 5u);
  reply = next(&text);
  CHECK_EQ(text, "result");
  CHECK(reply.flags == (Reply::kLast | Reply::kRun));
  CHECK_EQ(reply.frameBytes, 7u);
  reply = next(&text);
  CHECK_EQ(text, "");
  CHECK_EQ(reply.sequence, 1u);
  CHECK(reply.flags == (Reply::kLast | Reply::kDestroy | Reply::kError | Reply::kLost));
  CHECK(!exchange.mailbox(0).take());
  exchange.takeFrames(0, 64, &frames);
  CHECK_EQ(frames.size(), 1u);
  CHECK_EQ(sequenceOf(frames[0]), 2u);
}
