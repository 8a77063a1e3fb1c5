#include "exchange/exchange.h"

#include <memory>
#include <thread>

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

Task* taskOf(uint64_t sequence, uint32_t frames = 1, size_t bytesEach = 8, ConnectionId connection = {}) {
  Task* task = Task::create({connection, sequence, 0, Task::kNone, {}}, frames, frames * bytesEach);
  const std::vector<uint8_t> frame(bytesEach, 'f');
  for (uint32_t i = 0; i < frames; ++i) task->append(frame);
  return task;
}

std::vector<FrameRef> framesOf(uint64_t first, uint32_t count) {
  const TaskRef task(taskOf(first, count));
  std::vector<FrameRef> frames;
  for (uint32_t i = 0; i < count; ++i) frames.push_back({task, i, 0});
  return frames;
}

uint64_t sequenceOf(const FrameRef& frame) { return frame.task->sequence(frame.index); }

std::unique_ptr<SendResult> numbered(uint32_t number) {
  auto message = std::make_unique<SendResult>();
  message->request = number;
  return message;
}

// The next frame of the batch, or nothing: as JS does with Atomics.add.
int startNext(WorkerSlot& slot) {
  const uint32_t state = slot.batchState()->fetch_add(1, std::memory_order_seq_cst);
  return (state & 0xffff) < state >> 16 ? static_cast<int>(state & 0xffff) : -1;
}

// A pool of real threads that counts how often each frame ran.
class CountingPool {
 public:
  CountingPool(Exchange& exchange, uint32_t frames) : exchange_(exchange), seen_(new std::atomic<uint32_t>[frames]()) {
    for (uint32_t i = 0; i < exchange.options().workers; ++i) threads_.emplace_back([this, i] { work(i); });
  }
  ~CountingPool() {
    stop_.store(true);
    for (uint32_t i = 0; i < threads_.size(); ++i) exchange_.mailbox(exchange_.workerMailbox(i)).wake();
    for (std::thread& thread : threads_) thread.join();
  }
  uint32_t done() const { return done_.load(); }
  uint32_t timesRun(uint32_t sequence) const { return seen_[sequence].load(); }
  uint32_t refused() const { return refused_.load(); }
  uint64_t slowEvery = 0;  // each so-manyth frame takes 2 ms

 private:
  void work(uint32_t index) {
    WorkerSlot& slot = exchange_.worker(index);
    const uint32_t epoch = slot.attach();
    std::vector<FrameRef> frames;
    std::vector<WorkerSlot::Claimed> claimed;
    for (;;) {
      exchange_.takeFrames(index, 64, &frames);
      if (frames.empty()) {
        if (stop_.load()) return;
        if (!exchange_.parkWorker(index)) continue;
        if (!stop_.load()) isReady(exchange_.mailbox(exchange_.workerMailbox(index)).fd(), POLLIN, kPatienceMs);
        exchange_.unparkWorker(index);
        continue;
      }
      claimed.clear();
      slot.claim(epoch, frames, &claimed, monotonicNs());
      for (int i = startNext(slot); i >= 0; i = startNext(slot)) run(slot, epoch, claimed[static_cast<size_t>(i)]);
      slot.setRunning(false);
    }
  }
  void run(WorkerSlot& slot, uint32_t epoch, const WorkerSlot::Claimed& claimed) {
    const uint64_t sequence = sequenceOf(claimed.frame);
    if (slowEvery != 0 && sequence % slowEvery == 0) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    seen_[sequence].fetch_add(1);
    FrameRef frame;
    if (!slot.settle(epoch, claimed.token, &frame)) refused_.fetch_add(1);
    done_.fetch_add(1);
  }

  Exchange& exchange_;
  std::unique_ptr<std::atomic<uint32_t>[]> seen_;
  std::atomic<uint32_t> done_{0}, refused_{0};
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

}  // namespace

TEST("directory: names the owner until the connection is retracted, and never for another tenant of its slot") {
  Directory directory;
  const auto first = ConnectionId::of(3, 5000, 7), next = ConnectionId::of(3, 5000, 8);
  CHECK(!directory.owner(first));
  directory.publish(first, 0);
  CHECK_EQ(directory.owner(first).value(), 0);
  CHECK(!directory.owner(next));
  CHECK(!directory.owner(ConnectionId::of(4, 5000, 7)));
  directory.retract(first);
  CHECK(!directory.owner(first));
  directory.publish(next, 12);
  CHECK_EQ(directory.owner(next).value(), 12);
  CHECK(!directory.owner(first));
}

TEST("task queue: refuses the task past its limit and keeps the order") {
  TaskQueue queue({.maxTasks = 3, .maxBytes = 1000});
  for (uint64_t i = 0; i < 3; ++i) CHECK(queue.push(taskOf(i)));
  const TaskRef fourth(taskOf(3));
  CHECK(queue.full());
  CHECK(!queue.push(fourth.get()));
  CHECK_EQ(queue.depth(), 3u);
  for (uint64_t i = 0; i < 3; ++i) CHECK_EQ(queue.take()->sequence(0), i);
  CHECK(!queue.take());
  CHECK_EQ(queue.depth(), 0u);
  CHECK_EQ(queue.frames(), 0u);
}

TEST("task queue: refuses bytes past its limit, but passes one task of any size when it is low") {
  TaskQueue queue({.maxTasks = 100, .maxBytes = 100});
  CHECK(queue.push(taskOf(0, 1, 500)));
  const TaskRef small(taskOf(1, 1, 1));
  CHECK(!queue.push(small.get()));
  CHECK_EQ(queue.bytes(), 500u);
  queue.take();
  small->retain();
  CHECK(queue.push(small.get()));
  CHECK(queue.push(taskOf(2, 1, 99)));
  CHECK_EQ(queue.bytes(), 100u);
  const TaskRef large(taskOf(3, 1, 500));
  CHECK(!queue.push(large.get()));
  queue.take();
  queue.take();
  CHECK(queue.push(taskOf(4, 1, 50)));
  CHECK(queue.low());
  large->retain();
  CHECK(queue.push(large.get()));
  CHECK_EQ(queue.bytes(), 550u);
}

TEST("task queue: gives each task of many producers to exactly one of many consumers") {
  constexpr uint32_t kEach = 20'000, kProducers = 3, kConsumers = 3;
  TaskQueue queue({.maxTasks = 64});
  std::vector<std::atomic<uint32_t>> seen(kEach * kProducers);
  std::atomic<uint32_t> taken{0};
  std::vector<std::thread> threads;
  for (uint32_t p = 0; p < kProducers; ++p) {
    threads.emplace_back([&, p] {
      for (uint32_t i = 0; i < kEach; ++i) {
        Task* task = taskOf(p * kEach + i);
        while (!queue.push(task)) sched_yield();
      }
    });
  }
  for (uint32_t c = 0; c < kConsumers; ++c) {
    threads.emplace_back([&] {
      while (taken.load() < kEach * kProducers) {
        const TaskRef task = queue.take();
        if (!task) {
          sched_yield();
          continue;
        }
        seen[task->sequence(0)].fetch_add(1);
        taken.fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& times : seen) CHECK_EQ(times.load(), 1u);
  CHECK_EQ(queue.depth(), 0u);
}

TEST("mailbox: keeps the order of each sender") {
  constexpr uint32_t kEach = 20'000;
  Mailbox box;
  std::vector<std::thread> senders;
  for (uint32_t s = 0; s < 3; ++s) {
    senders.emplace_back([&, s] {
      for (uint32_t i = 0; i < kEach; ++i) box.send(numbered(s * kEach + i));
    });
  }
  uint32_t next[3] = {0, 0, 0};
  bool ordered = true;
  for (uint32_t got = 0; got < 3 * kEach;) {
    const auto message = box.take();
    if (!message) {
      sched_yield();
      continue;
    }
    const uint32_t number = static_cast<SendResult&>(*message).request;
    ordered = ordered && next[number / kEach]++ == number % kEach;
    ++got;
  }
  for (std::thread& sender : senders) sender.join();
  CHECK(ordered);
  CHECK(box.empty());
}

TEST("mailbox: wakes a parked owner, and only a parked one") {
  Mailbox box;
  box.send(numbered(1));
  CHECK(!isReady(box.fd(), POLLIN, 0));
  box.park();
  box.send(numbered(2));
  CHECK(isReady(box.fd(), POLLIN, 0));
  CHECK(!box.parked());
  box.unpark();
  CHECK(!isReady(box.fd(), POLLIN, 0));
}

// The sender of a message has been interrupted between ending the park and writing: its write is taken out, and put back
// later.
void interruptSender(Mailbox& box) {
  uint64_t one = 0;
  CHECK_EQ(::read(box.fd(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
}
void resumeSender(Mailbox& box) {
  const uint64_t one = 1;
  CHECK_EQ(::write(box.fd(), &one, sizeof(one)), static_cast<ssize_t>(sizeof(one)));
  CHECK(isReady(box.fd(), POLLIN, 0));
}

TEST("mailbox: reads a wake-up away that is written after its owner has woken for another reason and sleeps again") {
  Mailbox box;
  box.park();
  box.send(numbered(1));
  interruptSender(box);
  box.unpark();
  box.park();
  resumeSender(box);
  box.unpark();
  CHECK(!isReady(box.fd(), POLLIN, 0));
}

TEST("mailbox: reads it away, too, when its owner has asked for another turn meanwhile") {
  Mailbox box;
  box.park();
  box.send(numbered(1));
  interruptSender(box);
  box.park();
  box.wake();
  box.unpark();
  box.park();
  resumeSender(box);
  box.unpark();
  CHECK(!isReady(box.fd(), POLLIN, 0));
}

TEST("mailbox: asks the kernel for nothing when nobody has ended a park") {
  Mailbox box;
  const uint64_t foreign = 1;  // would be gone after a read
  CHECK_EQ(::write(box.fd(), &foreign, sizeof(foreign)), static_cast<ssize_t>(sizeof(foreign)));
  box.unpark();
  box.park();
  box.park();
  box.unpark();
  box.unpark();
  CHECK(isReady(box.fd(), POLLIN, 0));
}

TEST("mailbox: loses no wake-up in 100,000 rounds") {
  constexpr uint32_t kRounds = 100'000;
  Mailbox box;
  std::atomic<uint32_t> answered{0};
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    for (uint32_t i = 1; i <= kRounds && !stop.load(); ++i) {
      box.send(numbered(i));
      while (answered.load() < i && !stop.load()) sched_yield();
    }
  });
  bool lost = false;
  while (answered.load() < kRounds && !lost) {
    box.park();
    if (box.empty()) lost = !isReady(box.fd(), POLLIN, kPatienceMs);
    box.unpark();
    while (box.take()) answered.fetch_add(1);
  }
  stop.store(true);
  sender.join();
  CHECK(!lost);
}

TEST("worker slot: settles a frame once, and not in a later epoch") {
  WorkerSlot slot;
  const uint32_t epoch = slot.attach();
  std::vector<FrameRef> frames = framesOf(0, 2);
  std::vector<WorkerSlot::Claimed> claimed;
  slot.claim(epoch, frames, &claimed, 1);
  CHECK_EQ(claimed.size(), 2u);
  CHECK_EQ(slot.unstarted(), 2u);
  CHECK_EQ(startNext(slot), 0);
  FrameRef frame;
  CHECK(slot.settle(epoch, claimed[0].token, &frame));
  CHECK_EQ(sequenceOf(frame), 0u);
  CHECK(!slot.settle(epoch, claimed[0].token, &frame));
  CHECK(!slot.inFlight(claimed[0].token));
  CHECK_EQ(startNext(slot), 1);
  CHECK_EQ(startNext(slot), -1);
  CHECK_EQ(slot.unstarted(), 0u);
  slot.reap();
  CHECK(!slot.isCurrent(epoch));
  CHECK(!slot.settle(epoch, claimed[1].token, &frame));
  const uint32_t next = slot.attach();
  CHECK(next != epoch);
  // The next thread has a frame by the same token, which is none of the last one's.
  frames = framesOf(0, 1);
  claimed.clear();
  slot.claim(next, frames, &claimed, 1);
  CHECK(!slot.settle(epoch, claimed[0].token, &frame));
  CHECK(slot.settle(next, claimed[0].token, &frame));
}

TEST("worker slot: a sibling takes back half of what waits behind a slow frame, and nothing sooner") {
  WorkerSlot slot;
  const uint32_t epoch = slot.attach();
  std::vector<FrameRef> frames = framesOf(0, 5), stolen;
  std::vector<WorkerSlot::Claimed> claimed;
  slot.claim(epoch, frames, &claimed, 1000);
  CHECK_EQ(startNext(slot), 0);
  slot.steal(&stolen, 1500, 1000);
  CHECK(stolen.empty());
  slot.steal(&stolen, 2000, 1000);
  CHECK_EQ(stolen.size(), 2u);
  CHECK_EQ(sequenceOf(stolen[0]), 3u);
  CHECK_EQ(sequenceOf(stolen[1]), 4u);
  FrameRef frame;
  CHECK(!slot.settle(epoch, claimed[4].token, &frame));
  CHECK_EQ(startNext(slot), 1);
  CHECK_EQ(startNext(slot), 2);
  CHECK_EQ(startNext(slot), -1);
}

TEST("worker slot: reaping tells what was started from what was not") {
  WorkerSlot slot;
  const uint32_t epoch = slot.attach();
  std::vector<FrameRef> frames = framesOf(0, 4);
  std::vector<WorkerSlot::Claimed> claimed;
  slot.claim(epoch, frames, &claimed, 1);
  CHECK_EQ(startNext(slot), 0);
  CHECK_EQ(startNext(slot), 1);
  slot.markStreamed(claimed[1].token);
  FrameRef frame;
  CHECK(slot.settle(epoch, claimed[0].token, &frame));
  const std::vector<LostFrame> lost = slot.reap();
  CHECK_EQ(lost.size(), 3u);
  for (const LostFrame& each : lost) {
    CHECK_EQ(each.started, sequenceOf(each.frame) == 1);
    CHECK_EQ(each.streamed, sequenceOf(each.frame) == 1);
  }
}

TEST("exchange: parks, wakes and steals without losing a frame or running one twice") {
  constexpr uint32_t kTasks = 6'000, kFrames = 4, kFeeders = 2;
  Exchange exchange({.reactors = kFeeders, .workers = 4, .queue = {.maxTasks = 256}});
  exchange.costs().learnInPool(CostTable::keyOf(0, 8), 1, 1000,
                               0);  // cheap, so that workers claim many at once and there is something to steal
  CountingPool pool(exchange, kTasks * kFrames * kFeeders);
  pool.slowEvery = 500;
  std::vector<std::thread> feeders;
  std::atomic<bool> stuck{false};
  for (uint32_t f = 0; f < kFeeders; ++f) {
    feeders.emplace_back([&, f] {
      Mailbox& box = exchange.mailbox(exchange.reactorMailbox(f));
      for (uint32_t i = 0; i < kTasks; ++i) {
        Task* task = taskOf(uint64_t{f * kTasks + i} * kFrames, kFrames);
        while (!exchange.submit(task)) {
          box.park();
          exchange.stopUntilLow(exchange.reactorMailbox(f));
          // As a reactor does: workers that are stuck have to be noticed while it waits.
          for (int waits = 0; !isReady(box.fd(), POLLIN, 2); ++waits) {
            if (waits > kPatienceMs / 2) stuck.store(true);
            if (stuck.load()) break;
            exchange.wakeIfStalled();
          }
          box.unpark();
          if (stuck.load()) return task->release();
        }
        if (i % 1000 == 999) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // let the workers fall asleep
      }
    });
  }
  for (std::thread& feeder : feeders) feeder.join();
  CHECK(!stuck.load());
  CHECK(becomes([&] {
    exchange.wakeIfStalled();
    return pool.done() == kTasks * kFrames * kFeeders;
  }));
  for (uint32_t i = 0; i < kTasks * kFrames * kFeeders; ++i) CHECK_EQ(pool.timesRun(i), 1u);
  CHECK_EQ(pool.refused(), 0u);
}

TEST("exchange: a worker that is woken and does not come keeps nobody else asleep") {
  Exchange exchange({.reactors = 1, .workers = 3, .queue = {}});
  for (uint32_t worker = 0; worker < 3; ++worker) CHECK(exchange.parkWorker(worker));
  const auto awake = [&](uint32_t worker) { return !exchange.mailbox(exchange.workerMailbox(worker)).parked(); };
  CHECK(exchange.submit(taskOf(0)));
  CHECK(awake(0));
  CHECK(becomes([&] {
    exchange.wakeIfStalled();
    return awake(1);
  }));
  CHECK(!awake(2));
  std::vector<FrameRef> frames;
  exchange.takeFrames(1, 64, &frames);
  CHECK_EQ(frames.size(), 1u);
  CHECK(exchange.submit(taskOf(1)));
  CHECK(awake(2));
}

TEST("exchange: of a dead worker, unstarted frames go back and started ones settle as lost") {
  Exchange exchange({.reactors = 1, .workers = 2, .queue = {}});
  const auto connection = ConnectionId::of(0, 1, 1);
  exchange.directory().publish(connection, exchange.reactorMailbox(0));
  exchange.costs().learnInPool(CostTable::keyOf(0, 8), 1, 1000, 0);
  CHECK(exchange.submit(taskOf(0, 3, 8, connection)));
  std::vector<FrameRef> frames;
  std::vector<WorkerSlot::Claimed> claimed;
  exchange.takeFrames(0, 64, &frames);
  CHECK_EQ(frames.size(), 3u);
  WorkerSlot& slot = exchange.worker(0);
  slot.claim(slot.attach(), frames, &claimed, monotonicNs());
  CHECK_EQ(startNext(slot), 0);
  const Exchange::Reaped reaped = exchange.reapWorker(0, false, false);
  CHECK_EQ(reaped.lost, 1u);
  CHECK_EQ(reaped.requeued, 2u);
  CHECK_EQ(reaped.retried, 0u);
  const auto message = exchange.mailbox(0).take();
  CHECK(message && message->kind == Message::Kind::kReplies);
  Reply reply;
  std::span<const uint8_t> bytes;
  CHECK(static_cast<ReplyBatch&>(*message).take(&reply, &bytes));
  CHECK_EQ(reply.sequence, 0u);
  CHECK(reply.flags == (Reply::kLast | Reply::kDestroy | Reply::kError | Reply::kLost));
  for (uint64_t sequence = 1; sequence < 3; ++sequence) {
    exchange.takeFrames(1, 64, &frames);
    CHECK_EQ(frames.size(), 1u);
    CHECK_EQ(sequenceOf(frames[0]), sequence);
    frames.clear();
  }
  exchange.takeFrames(1, 64, &frames);
  CHECK(frames.empty());
}

TEST("exchange: a frame is retried once, and lost when it kills a second worker") {
  Exchange exchange({.reactors = 1, .workers = 1, .queue = {}});
  CHECK(exchange.submit(taskOf(0)));
  for (int death = 0; death < 2; ++death) {
    std::vector<FrameRef> frames;
    std::vector<WorkerSlot::Claimed> claimed;
    exchange.takeFrames(0, 64, &frames);
    CHECK_EQ(frames.size(), 1u);
    exchange.worker(0).claim(exchange.worker(0).attach(), frames, &claimed, 1);
    CHECK_EQ(startNext(exchange.worker(0)), 0);
    const Exchange::Reaped reaped = exchange.reapWorker(0, true, false);
    CHECK_EQ(reaped.retried, death == 0 ? 1u : 0u);
    CHECK_EQ(reaped.lost, death == 0 ? 0u : 1u);
  }
  CHECK_EQ(exchange.repliesUnrouted.load(), 1u);  // it had no connection
}

TEST("exchange: wakes a feeder that stopped when the queue is low again, not before") {
  Exchange exchange({.reactors = 1, .workers = 1, .queue = {.maxTasks = 4}});
  for (uint64_t i = 0; i < 4; ++i) CHECK(exchange.submit(taskOf(i)));
  Mailbox& box = exchange.mailbox(exchange.reactorMailbox(0));
  box.park();
  exchange.stopUntilLow(exchange.reactorMailbox(0));
  std::vector<FrameRef> frames;
  exchange.takeFrames(0, 1, &frames);
  CHECK(!isReady(box.fd(), POLLIN, 0));
  exchange.takeFrames(0, 2, &frames);
  CHECK(isReady(box.fd(), POLLIN, 0));
  box.unpark();
  // Low already when it stops: nothing else would wake it.
  box.park();
  exchange.stopUntilLow(exchange.reactorMailbox(0));
  CHECK(isReady(box.fd(), POLLIN, 0));
}

TEST("memory: shares of many threads add up, whoever takes away") {
  MemoryShares shares;
  std::vector<std::thread> threads;
  for (int t = 0; t < 40; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 1'000; ++i) shares.add(t % 2 ? -3 : 5);
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(shares.sum(), 20u * 1'000u * 2u);
  shares.add(-50'000);
  CHECK_EQ(shares.sum(), 0u);  // never less than nothing
}

TEST("memory: a task counts from the queue to its last reference") {
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  options.queue.maxTasks = 1;
  Exchange exchange(options);
  CHECK(exchange.submit(taskOf(0, 2, 1'000)));
  const uint64_t one = exchange.memoryUse().tasks;
  CHECK(one >= 2'000 && one < 2'200);
  // Refused: the caller's, and counted as long as he has it.
  TaskRef waiting(taskOf(2, 2, 1'000));
  CHECK(!exchange.submit(waiting.get()));
  CHECK(!exchange.submit(waiting.get()));
  CHECK_EQ(exchange.memoryUse().tasks, 2 * one);
  std::vector<FrameRef> frames;
  exchange.takeFrames(0, 8, &frames);
  CHECK_EQ(frames.size(), 2u);
  CHECK_EQ(exchange.queue().bytes(), 0u);
  CHECK_EQ(exchange.memoryUse().tasks, 2 * one);
  frames.erase(frames.begin());
  waiting = {};
  CHECK_EQ(exchange.memoryUse().tasks, one);
  frames.clear();
  CHECK_EQ(exchange.memoryUse().sum(), 0u);
}

TEST("memory: what lies in any mailbox counts") {
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  Exchange exchange(options);
  const uint16_t port = exchange.openPort();
  for (const uint16_t index : {exchange.reactorMailbox(0), exchange.workerMailbox(0), port}) {
    auto send = std::make_unique<Send>();
    send->data.assign(10'000, 's');
    exchange.mailbox(index).send(std::move(send));
  }
  CHECK_EQ(exchange.memoryUse().messages, 30'000u);
  (void)exchange.mailbox(port).take();
  CHECK_EQ(exchange.memoryUse().messages, 20'000u);
}

TEST("memory: collectors are asked before the limit, and have their time before what JS holds counts") {
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  options.maxMemoryBytes = 800;
  Exchange exchange(options);
  exchange.publishBuffered(0, 100);
  exchange.received()->add(600);
  CHECK(exchange.memoryState(1'000) == MemoryState::kFine);
  CHECK_EQ(exchange.collectionsAsked(), 0u);
  exchange.received()->add(60);  // over seven eighths
  CHECK(exchange.memoryState(1'001) == MemoryState::kFine);
  CHECK(exchange.memoryIsShort());
  CHECK_EQ(exchange.collectionsAsked(), 1u);
  exchange.received()->add(500);
  CHECK(exchange.memoryState(1'200) == MemoryState::kFine);
  CHECK_EQ(exchange.collectionsAsked(), 1u);
  CHECK(exchange.memoryState(1'201) == MemoryState::kFine);
  CHECK_EQ(exchange.collectionsAsked(), 2u);
  CHECK(exchange.memoryState(2'000) == MemoryState::kFine);
  CHECK(exchange.memoryState(2'001) == MemoryState::kHeld);
  CHECK_EQ(exchange.collectionsAsked(), 3u);
  // Without any part of JS's memory it would be too much.
  exchange.publishBuffered(0, 801);
  CHECK(exchange.memoryState(2'002) == MemoryState::kFull);
  exchange.publishBuffered(0, 0);
  exchange.received()->add(-1'160);
  CHECK(exchange.memoryState(2'003) == MemoryState::kFine);
  CHECK(!exchange.memoryIsShort());
  // The next time begins anew.
  exchange.received()->add(801);
  CHECK(exchange.memoryState(5'000) == MemoryState::kFine);
  CHECK_EQ(exchange.collectionsAsked(), 4u);
}

TEST("memory: it has ebbed when not even half of what was held is wanted between two looks, once") {
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  Exchange exchange(options);
  const auto hold = [&](uint64_t mebibytes) {
    exchange.publishBuffered(0, mebibytes << 20);
    (void)exchange.memoryState(1'000);
  };
  CHECK(!exchange.memoryEbbed());
  hold(100);
  hold(0);
  CHECK(!exchange.memoryEbbed());  // it was wanted a moment ago
  CHECK(exchange.memoryEbbed());
  CHECK(!exchange.memoryEbbed());
  // Filled and emptied between any two looks: it is kept.
  for (int i = 0; i < 5; ++i) {
    hold(100);
    hold(0);
    CHECK(!exchange.memoryEbbed());
  }
  hold(51);  // more than half of it, still
  CHECK(!exchange.memoryEbbed());
  CHECK(!exchange.memoryEbbed());
  hold(50);
  CHECK(!exchange.memoryEbbed());
  CHECK(exchange.memoryEbbed());
  // Slabs are nothing that the allocator could keep.
  exchange.received()->add(int64_t{100} << 20);
  hold(50);
  exchange.received()->add(-(int64_t{100} << 20));
  hold(36);
  CHECK(!exchange.memoryEbbed());
  CHECK(!exchange.memoryEbbed());
  // From 50 to 20, little by little: 20 are more than half of 36, and not of 50.
  hold(20);
  CHECK(!exchange.memoryEbbed());
  CHECK(exchange.memoryEbbed());
  hold(5);
  CHECK(!exchange.memoryEbbed());
  CHECK(!exchange.memoryEbbed());  // 15 MiB are not worth it
}

TEST("memory: above half of the limit, what is free goes back at every look, however quickly it fills and empties") {
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  options.maxMemoryBytes = uint64_t{128} << 20;
  Exchange exchange(options);
  const auto hold = [&](uint64_t mebibytes) {
    exchange.publishBuffered(0, mebibytes << 20);
    (void)exchange.memoryState(1'000);
  };
  for (int i = 0; i < 3; ++i) {
    hold(64);
    hold(0);
    CHECK(exchange.memoryEbbed());
  }
  CHECK(exchange.memoryEbbed());   // it has ebbed
  CHECK(!exchange.memoryEbbed());  // and nothing is left to give back
  hold(63);
  CHECK(!exchange.memoryEbbed());
}

TEST("memory: what no collection could give back is no reason for one") {
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  options.maxMemoryBytes = 1'600;
  Exchange exchange(options);
  exchange.publishBuffered(0, 1'450);
  exchange.received()->add(100);
  CHECK(exchange.memoryState(1'000) == MemoryState::kFine);
  CHECK(exchange.memoryIsShort());
  CHECK_EQ(exchange.collectionsAsked(), 0u);
  exchange.received()->add(1);
  (void)exchange.memoryState(1'001);
  CHECK_EQ(exchange.collectionsAsked(), 1u);
}

TEST("memory: it is tight from a quarter of the limit on, until less than an eighth is held") {
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  options.maxMemoryBytes = uint64_t{128} << 20;
  Exchange exchange(options);
  const auto hold = [&](uint64_t mebibytes) {
    exchange.publishBuffered(0, mebibytes << 20);
    (void)exchange.memoryState(1'000);
  };
  hold(32);
  CHECK(!exchange.memoryIsTight());
  hold(33);
  CHECK(exchange.memoryIsTight());
  hold(0);
  CHECK(!exchange.memoryEbbed());
  CHECK(exchange.memoryIsTight());
  CHECK(exchange.memoryEbbed());
  CHECK(!exchange.memoryIsTight());
}

TEST("memory: a server at rest collects what JS holds, once, and not while bytes come in") {
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  options.maxMemoryBytes = uint64_t{128} << 20;
  Exchange exchange(options);
  const auto receive = [&](int64_t mebibytes) { exchange.received()->add(mebibytes << 20); };
  receive(9);
  exchange.collectWhenIdle();
  CHECK_EQ(exchange.collectionsAsked(), 0u);  // they have just come
  receive(1);
  exchange.collectWhenIdle();
  CHECK_EQ(exchange.collectionsAsked(), 0u);
  exchange.collectWhenIdle();
  CHECK_EQ(exchange.collectionsAsked(), 1u);
  exchange.collectWhenIdle();  // the app keeps them
  CHECK_EQ(exchange.collectionsAsked(), 1u);
  receive(-2);
  exchange.collectWhenIdle();
  exchange.collectWhenIdle();
  CHECK_EQ(exchange.collectionsAsked(), 1u);  // a sixteenth is not worth it
  receive(2);
  exchange.collectWhenIdle();
  exchange.collectWhenIdle();
  CHECK_EQ(exchange.collectionsAsked(), 2u);
  receive(-10);
}
