// Light tasks do not wait behind heavy ones, heavy ones are not starved, and one worker is kept free of long ones.
#include "exchange/lanes.h"

#include <atomic>
#include <thread>
#include <vector>

#include "exchange/exchange.h"
#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr uint64_t kLight = 2'000, kHeavy = 1'500'000, kLong = 50'000'000;
constexpr uint64_t kSecond = 1'000'000'000;

Task* costing(uint64_t costNs, uint64_t sequence = 0) {
  Task* task = Task::create({{}, sequence, 0, Task::kNone, {}}, 1, 1);
  const uint8_t byte = 'f';
  task->append({&byte, 1});
  task->costNs = costNs;
  return task;
}

struct Queue {
  TaskQueue queue{{.maxTasks = 1024}, Lanes::kLanes};
  Lanes lanes{queue, 8};
  uint32_t workers = 2;
  uint64_t nowNs = kSecond;

  void push(uint64_t costNs, uint64_t sequence = 0) {
    const Lanes::Lane lane = Lanes::laneOf(costNs);
    CHECK(queue.push(costing(costNs, sequence), lane));
    lanes.pushed(lane, nowNs);
  }
  // The next task of a worker: its predicted cost, or 1 when there is nothing for it.
  uint64_t take(uint32_t worker = 0) {
    lanes.done(worker);
    Lanes::Lane lane;
    const TaskRef task = lanes.take(worker, workers, nowNs, &lane);
    return task ? task->costNs : 1;
  }
};

}  // namespace

TEST("lanes: a light task goes before heavy ones that came earlier, an unknown one does not") {
  Queue queue;
  for (int i = 0; i < 10; ++i) queue.push(kHeavy);
  queue.push(0);
  queue.push(kLight);
  CHECK_EQ(queue.take(), kLight);
  for (int i = 0; i < 10; ++i) CHECK_EQ(queue.take(), kHeavy);
  CHECK_EQ(queue.take(), 0u);
  CHECK_EQ(queue.take(), 1u);
}

TEST("lanes: tasks of one lane leave in the order in which they came") {
  Queue queue;
  for (uint64_t i = 0; i < 100; ++i) queue.push(i % 2 == 0 ? kLight : kHeavy, i);
  uint64_t lastLight = 0, lastHeavy = 0;
  for (int i = 0; i < 100; ++i) {
    Lanes::Lane lane;
    const TaskRef task = queue.lanes.take(0, 2, queue.nowNs, &lane);
    uint64_t& last = lane == Lanes::kLight ? lastLight : lastHeavy;
    CHECK(last == 0 || task->header().firstSequence > last);
    last = task->header().firstSequence;
  }
}

TEST("lanes: under an endless stream of light tasks the heavy ones get a quarter of the time, the long ones theirs") {
  Queue queue;
  queue.workers = 1;
  uint64_t light = 0, heavy = 0, longer = 0;
  for (int i = 0; i < 200'000; ++i) {
    while (queue.queue.depth(Lanes::kLight) < 4) queue.push(kLight * 50);
    if (queue.queue.depth(Lanes::kHeavy) == 0) queue.push(kHeavy);
    if (queue.queue.depth(Lanes::kLong) == 0) queue.push(kLong);
    const uint64_t cost = queue.take();
    (cost == kHeavy ? heavy : cost == kLong ? longer : light) += cost;
  }
  const uint64_t all = light + heavy + longer;
  CHECK(heavy > all / 8);
  CHECK(longer > all / 8);
  CHECK(light > all / 4);
}

TEST("lanes: of heavy tasks that wait, none waits for more than three times its own cost of light ones") {
  Queue queue;
  queue.push(kHeavy);
  CHECK_EQ(queue.take(), kHeavy);  // their cost is known now
  queue.push(kHeavy);
  uint64_t before = 0;
  for (;;) {
    queue.push(kLight);
    const uint64_t cost = queue.take();
    if (cost == kHeavy) break;
    before += cost;
    CHECK(before <= 3 * kHeavy + kLight);
  }
  CHECK(before > kHeavy);
}

TEST("lanes: while light work is about, one worker is kept free of long tasks, and not longer") {
  Queue queue;
  queue.push(kLight);
  CHECK_EQ(queue.take(0), kLight);
  for (int i = 0; i < 3; ++i) queue.push(kLong);
  CHECK_EQ(queue.take(0), kLong);
  CHECK(!queue.lanes.hasWork(queue.workers, queue.nowNs));
  CHECK_EQ(queue.take(1), 1u);
  queue.push(kLight);
  CHECK(queue.lanes.hasWork(queue.workers, queue.nowNs));
  CHECK_EQ(queue.take(1), kLight);
  CHECK_EQ(queue.take(1), 1u);
  CHECK_EQ(queue.take(0), kLong);  // the worker that runs them goes on
  queue.lanes.done(0);
  CHECK_EQ(queue.take(1), kLong);  // any of them, but one
  queue.push(kLong);
  CHECK_EQ(queue.take(0), 1u);
  queue.nowNs += 2 * kSecond;
  CHECK(queue.lanes.hasWork(queue.workers, queue.nowNs));
  CHECK_EQ(queue.take(0), kLong);
}

TEST("lanes: without light work every worker runs long tasks, and so does a single one always") {
  Queue queue;
  queue.workers = 3;
  for (int i = 0; i < 3; ++i) queue.push(kLong);
  for (uint32_t worker = 0; worker < 3; ++worker) CHECK_EQ(queue.take(worker), kLong);
  Queue single;
  single.workers = 1;
  single.push(kLight);
  single.push(kLong);
  CHECK_EQ(single.take(), kLight);
  CHECK_EQ(single.take(), kLong);
}

TEST("exchange: a worker that died in a long task has left its place") {
  Exchange exchange({.reactors = 1, .workers = 2, .queue = {}});
  std::vector<FrameRef> frames;
  CHECK(exchange.submit(costing(kLight)));
  exchange.takeFrames(0, 1, &frames);
  for (int i = 0; i < 2; ++i) CHECK(exchange.submit(costing(kLong)));
  frames.clear();
  exchange.takeFrames(0, 1, &frames);
  CHECK_EQ(frames.size(), 1u);
  frames.clear();
  exchange.takeFrames(1, 1, &frames);
  CHECK(frames.empty());
  CHECK(exchange.parkWorker(1));
  exchange.reapWorker(0, false, false);
  // The sleeping one was woken for the rest of the other one's tasks.
  CHECK(isReady(exchange.mailbox(exchange.workerMailbox(1)).fd(), POLLIN, 0));
  exchange.unparkWorker(1);
  exchange.takeFrames(1, 1, &frames);
  CHECK_EQ(frames.size(), 1u);
}

TEST("exchange: with mixed work of many feeders no worker sleeps over a task, and each runs once") {
  constexpr uint64_t kTasks = 4'000;
  constexpr uint32_t kFeeders = 2, kWorkers = 3;
  Exchange exchange({.reactors = kFeeders, .workers = kWorkers, .queue = {.maxTasks = 1 << 14}});
  std::atomic<uint64_t> done{0};
  std::vector<std::atomic<uint32_t>> runs(kTasks * kFeeders);
  std::atomic<bool> stop{false};
  std::vector<std::thread> threads;
  for (uint32_t w = 0; w < kWorkers; ++w) {
    threads.emplace_back([&, w] {
      Mailbox& box = exchange.mailbox(exchange.workerMailbox(w));
      while (!stop.load()) {
        std::vector<FrameRef> frames;
        exchange.takeFrames(w, 64, &frames);
        for (const FrameRef& frame : frames) {
          runs[frame.task->header().firstSequence].fetch_add(1);
          done.fetch_add(1);
        }
        if (frames.empty() && exchange.parkWorker(w)) {
          (void)isReady(box.fd(), POLLIN, kPatienceMs);
          exchange.unparkWorker(w);
        }
      }
    });
  }
  for (uint32_t f = 0; f < kFeeders; ++f) {
    threads.emplace_back([&, f] {
      for (uint64_t i = 0; i < kTasks; ++i) {
        const uint64_t cost = i % 7 == 0 ? kLong : i % 3 == 0 ? kHeavy : i % 11 == 0 ? 0 : kLight;
        CHECK(exchange.submit(costing(cost, f * kTasks + i)));
        if (i % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  }
  CHECK(becomes([&] { return done.load() == kTasks * kFeeders; }));
  stop.store(true);
  for (uint32_t w = 0; w < kWorkers; ++w) {
    Mailbox& box = exchange.mailbox(exchange.workerMailbox(w));
    while (box.parked()) box.wake();
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& times : runs) CHECK_EQ(times.load(), 1u);
}
