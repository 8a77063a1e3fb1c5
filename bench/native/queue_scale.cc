// The meeting point of reactors and pool alone, without sockets and without Node: N threads push tasks as reactors do, M threads
// take them and send a reply to the mailbox of the one that pushed, as pool workers do. Prints one JSON line for each pair.
//
//   queue_scale [--messages N]
//
// It is built twice from the same sources: plainly, for nanoseconds, and with every atomic counted (counted_atomic.h), for the
// operations of a message that more cores would queue for. The counted build runs each pair twice: as the machine lets it
// run, and with threads that give way between reading and replacing a word, as real cores in parallel do to each
// other.

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "exchange/exchange.h"
#include "exchange/reply_batches.h"

namespace {

constexpr size_t kFrameBytes = 64;
constexpr uint32_t kMostFrames = 64;
constexpr uint64_t kCostNs = 2'000;        // the assumed cost of a frame: it is a light one
constexpr uint64_t kMostUnanswered = 256;  // of one pusher

#ifdef COUNTED
constexpr bool kCounted = true;
void begin_thread(uint32_t number) {
  counted::self = number;
  counted::state = number * 0x9e3779b9u | 1;
  counted::counts = {};
}
#else
constexpr bool kCounted = false;
void begin_thread(uint32_t) {}
#endif

struct Total {
  std::mutex mutex;
  uint64_t operations = 0, transfers = 0, lost = 0;
  void add() {
#ifdef COUNTED
    std::lock_guard lock(mutex);
    operations += counted::counts.operations, transfers += counted::counts.transfers, lost += counted::counts.lost;
#endif
  }
};

// As a reactor: pushes frames of its connection, and takes the replies out of its mailbox.
void push_all(mr::Exchange& exchange, uint32_t reactor, mr::ConnectionId id, uint64_t messages) {
  const std::vector<uint8_t> frame(kFrameBytes, 'x');
  mr::Mailbox& box = exchange.mailbox(exchange.reactorMailbox(reactor));
  mr::Recycler& recycler = exchange.recycler(exchange.reactorMailbox(reactor));
  uint64_t pushed = 0, answered = 0;
  while (answered < messages) {
    bool idle = true;
    if (pushed < messages && pushed - answered < kMostUnanswered) {
      mr::Task::Header header;
      header.connection = id;
      header.firstSequence = pushed;
      mr::Task* task = mr::Task::create(header, 1, frame.size(), &recycler);
      task->append(frame);
      task->costNs = kCostNs;
      if (exchange.submit(task))
        pushed++, idle = false;
      else
        task->release();
    }
    while (std::unique_ptr<mr::Message> message = box.take()) {
      idle = false;
      mr::Reply reply;
      std::span<const uint8_t> bytes;
      while (static_cast<mr::ReplyBatch&>(*message).take(&reply, &bytes)) answered++;
    }
    if (idle) sched_yield();
  }
}

// As a pool worker: a batch of frames, and one message to each reactor that has replies in it.
void answer_all(mr::Exchange& exchange, uint32_t worker, const std::atomic<bool>& done) {
  std::vector<mr::FrameRef> frames;
  const std::vector<uint8_t> reply_bytes(kFrameBytes, 'y');
  mr::ReplyBatches replies(exchange, exchange.workerMailbox(worker));
  while (!done.load(std::memory_order_acquire)) {
    frames.clear();
    exchange.takeFrames(worker, kMostFrames, &frames);
    if (frames.empty()) {
      sched_yield();
      continue;
    }
    replies.expect(frames.size() * mr::ReplyBatch::sizeOf(reply_bytes.size()));
    for (const mr::FrameRef& frame : frames) {
      const uint16_t owner = exchange.directory().owner(frame.task->header().connection).value();
      mr::Reply reply;
      reply.connection = frame.task->header().connection;
      reply.sequence = frame.task->sequence(frame.index);
      reply.length = static_cast<uint32_t>(reply_bytes.size());
      reply.flags = mr::Reply::kLast;
      replies.add(owner, reply, reply_bytes);
    }
    replies.send();
  }
}

void measure(uint32_t pushers, uint32_t takers, uint64_t messages, [[maybe_unused]] uint32_t give_way_one_in) {
  mr::ExchangeOptions options;
  options.reactors = pushers;
  options.workers = takers;
  mr::Exchange exchange(options);
  std::vector<mr::ConnectionId> ids;
  for (uint32_t i = 0; i < pushers; i++) {
    ids.push_back(mr::ConnectionId::of(i, 0, 1));
    exchange.directory().publish(ids.back(), exchange.reactorMailbox(i));
  }
#ifdef COUNTED
  for (auto& owner : counted::last_owner) owner.store(0, std::memory_order_relaxed);
  counted::giveWayOneIn = give_way_one_in;
  counted::counting = true;
#endif
  Total total;
  std::atomic<bool> done{false};
  const uint64_t each = messages / pushers;
  std::vector<std::thread> pushing, taking;
  const uint64_t begun = mr::monotonicNs();
  for (uint32_t i = 0; i < takers; i++)
    taking.emplace_back([&, i] {
      begin_thread(1 + i);
      answer_all(exchange, i, done);
      total.add();
    });
  for (uint32_t i = 0; i < pushers; i++)
    pushing.emplace_back([&, i] {
      begin_thread(1 + takers + i);
      push_all(exchange, i, ids[i], each);
      total.add();
    });
  for (std::thread& thread : pushing) thread.join();
  const uint64_t ended = mr::monotonicNs();
  done.store(true, std::memory_order_release);
  for (std::thread& thread : taking) thread.join();
  const double count = static_cast<double>(each * pushers);
  std::printf("{\"pushers\":%u,\"takers\":%u,\"messages\":%.0f,\"counted\":%s,\"givesWay\":%s,\"ns\":%.1f", pushers, takers,
              count, kCounted ? "true" : "false", give_way_one_in > 0 ? "true" : "false",
              static_cast<double>(ended - begun) / count);
  if (kCounted)
    std::printf(",\"operations\":%.3f,\"transfers\":%.3f,\"lost\":%.4f", static_cast<double>(total.operations) / count,
                static_cast<double>(total.transfers) / count, static_cast<double>(total.lost) / count);
  std::printf("}\n");
  std::fflush(stdout);
}

// Measures the transfer of a cache line from one core to another: the best of many tries, since other programs only add to it.
void measure_transfer() {
  constexpr uint64_t kTries = 50, kCrossings = 10'000;
  if (std::thread::hardware_concurrency() < 2) return;
  alignas(64) static std::atomic<uint64_t> ball{0};
  uint64_t best = UINT64_MAX;
  const auto play = [&best](uint64_t mine, int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) return;
    uint64_t begun = mr::monotonicNs();
    for (uint64_t i = mine; i < kTries * kCrossings; i += 2) {
      uint64_t spins = 0;
      while (ball.load(std::memory_order_acquire) != i)
        if (++spins % 100'000 == 0) sched_yield();
      ball.store(i + 1, std::memory_order_release);
      if (mine != 0 || (i + 2) % kCrossings != 0) continue;
      const uint64_t now = mr::monotonicNs();
      best = std::min(best, now - begun);
      begun = now;
    }
  };
  std::thread other(play, 1, 1);
  std::thread one(play, 0, 0);
  one.join();
  other.join();
  std::printf("{\"transferNs\":%.1f}\n", static_cast<double>(best) / kCrossings);
}

}  // namespace

int main(int argc, char** argv) {
  uint64_t messages = 400'000;
  if (argc == 3 && std::string(argv[1]) == "--messages") messages = std::strtoull(argv[2], nullptr, 10);
  if (messages < 1'000) {
    std::fprintf(stderr, "usage: queue_scale [--messages N], from 1000 on\n");
    return 2;
  }
  if (!kCounted) measure_transfer();
  const std::pair<uint32_t, uint32_t> pairs[] = {{1, 1}, {2, 2}, {4, 4}, {8, 8}, {16, 16}, {1, 16}, {16, 1}};
  for (const auto& [pushers, takers] : pairs) {
    measure(pushers, takers, messages, 0);
    if (kCounted) measure(pushers, takers, messages, 16);
  }
}
