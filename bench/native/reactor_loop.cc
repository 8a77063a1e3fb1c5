// The reactor without Node: the cost of our own C++ for a message, with the least possible handler behind it.
//
//   reactor_loop --work echo|lines [--workers N]      prints {"addresses":[port]}; ends on SIGTERM
//
// `echo` returns bytes as they come; `lines` cuts lines and returns each. Without workers the frames go to a sink that stands
// where the JavaScript of an app would be; with workers they go through the task queue, and threads that stand where the pool's
// JavaScript would be answer them. Everything else is the code of the addon, as it is compiled for it.

#include <poll.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/slab_pool.h"
#include "exchange/exchange.h"
#include "exchange/reply_batches.h"
#include "net/listener_group.h"
#include "reactor/reactor.h"

namespace {

constexpr int kBacklog = 4096;
constexpr uint32_t kMostFrames = 64;

std::atomic<bool> stopping{false};

[[noreturn]] void die(const char* what, int error) {
  std::fprintf(stderr, "reactor_loop: %s: %s\n", what, std::strerror(error));
  std::exit(1);
}

// Where the hooks of an app would be.
class Echo final : public mr::EventSink {
 public:
  explicit Echo(bool framed) : framed_(framed) {}
  void drive(mr::Reactor* reactor) {
    reactor_ = reactor;
    box_ = reactor->writeBox().get();
  }

  Delivered deliver(const std::vector<mr::EventRow>& rows) override {
    for (const mr::EventRow& row : rows) {
      if (row.event != mr::Event::kFrame) continue;
      const uint8_t* frame = slabs_[row.a % slabs_.size()].data + row.b;
      if (!fits(row.c + 1)) {
        reactor_->emptyWriteBox();  // its bytes were written before
        reactor_->write(row.slot, row.generation, {frame, row.c}, mr::Reactor::Place::kInOrder);
        if (framed_) reactor_->write(row.slot, row.generation, kNewline, mr::Reactor::Place::kInOrder);
        continue;
      }
      uint8_t* to = box_->bytes.data() + used_;
      std::memcpy(to, frame, row.c);
      if (framed_) to[row.c] = kNewline[0];
      const uint32_t length = row.c + (framed_ ? 1 : 0);
      box_->rows[box_->count++] = {row.slot, row.generation, static_cast<uint32_t>(used_), length};
      used_ += length;
    }
    return {true, rows.size(), false};
  }

  // A collector would give slabs back when they are unreferenced; here they are when a few newer ones are in use.
  mr::Slab newSlab(size_t atLeast) override {
    const uint32_t id = ++ids_;
    mr::Slab& slab = slabs_[id % slabs_.size()];
    if (slab.data != nullptr) mr::SlabPool::instance().giveBack(slab.data, slab.size);
    slab = {static_cast<uint8_t*>(mr::SlabPool::instance().take(atLeast)), atLeast, id};
    return slab;
  }

 private:
  static constexpr std::array<uint8_t, 1> kNewline{'\n'};

  // Small writes lie in the memory that the reactor reads behind the hooks, as those of JavaScript do.
  bool fits(size_t length) {
    if (box_->count == 0) used_ = 0;
    return box_->count < mr::WriteBox::kRows && used_ + length <= mr::WriteBox::kBytes;
  }

  const bool framed_;
  mr::Reactor* reactor_ = nullptr;
  mr::WriteBox* box_ = nullptr;
  size_t used_ = 0;
  std::vector<mr::Slab> slabs_ = std::vector<mr::Slab>(8);
  uint32_t ids_ = 0;
};

// Where a pool worker's JavaScript would be: the same steps as in bindings/worker_bindings.cc.
class Worker {
 public:
  Worker(mr::Exchange& exchange, uint32_t index)
      : exchange_(exchange),
        index_(index),
        epoch_(exchange.worker(index).attach()),
        replies_(exchange, exchange.workerMailbox(index)),
        thread_([this] { run(); }) {}
  ~Worker() {
    exchange_.mailbox(exchange_.workerMailbox(index_)).wake();
    thread_.join();
  }

 private:
  void run() {
    mr::Mailbox& box = exchange_.mailbox(exchange_.workerMailbox(index_));
    while (!stopping.load(std::memory_order_relaxed)) {
      if (answerSome()) continue;
      if (!exchange_.parkWorker(index_)) continue;
      pollfd ready{box.fd(), POLLIN, 0};
      poll(&ready, 1, 100);
      exchange_.unparkWorker(index_);
    }
  }

  bool answerSome() {
    taken_.clear();
    claimed_.clear();
    exchange_.takeFrames(index_, kMostFrames, &taken_);
    if (taken_.empty()) return false;
    mr::WorkerSlot& slot = exchange_.worker(index_);
    const uint64_t begun = mr::monotonicNs();
    const mr::FrameRef& first = taken_.front();
    const auto key = mr::CostTable::keyOf(first.task->header().listener, first.task->frame(first.index).size());
    slot.claim(epoch_, taken_, &claimed_, begun);
    size_t expected = 0;
    for (const mr::WorkerSlot::Claimed& claim : claimed_) {
      expected += mr::ReplyBatch::sizeOf(claim.frame.task->frame(claim.frame.index).size() + 1);
    }
    replies_.expect(expected);
    for (const mr::WorkerSlot::Claimed& claim : claimed_) {
      slot.batchState()->fetch_add(1, std::memory_order_seq_cst);
      mr::FrameRef frame;
      if (!slot.settle(epoch_, claim.token, &frame)) continue;
      answer(frame);
    }
    replies_.send();
    const uint64_t ended = mr::monotonicNs();
    const auto runs = static_cast<uint32_t>(claimed_.size());
    exchange_.costs().learnInPool(key, runs, (ended - begun) / runs, ended);
    return true;
  }

  void answer(const mr::FrameRef& frame) {
    const mr::Task& task = *frame.task.get();
    const auto to = exchange_.directory().owner(task.header().connection);
    if (!to) return;
    const auto bytes = task.frame(frame.index);
    reply_.assign(bytes.begin(), bytes.end());
    reply_.push_back('\n');
    mr::Reply reply;
    reply.connection = task.header().connection;
    reply.sequence = task.sequence(frame.index);
    reply.length = static_cast<uint32_t>(reply_.size());
    reply.frameBytes = static_cast<uint32_t>(bytes.size());
    reply.worker = exchange_.workerMailbox(index_);
    reply.flags = mr::Reply::kLast;
    replies_.add(*to, reply, reply_);
  }

  mr::Exchange& exchange_;
  const uint32_t index_;
  const uint32_t epoch_;
  std::vector<mr::FrameRef> taken_;
  std::vector<mr::WorkerSlot::Claimed> claimed_;
  std::vector<uint8_t> reply_;
  mr::ReplyBatches replies_;
  std::thread thread_;
};

void serve(bool framed, uint32_t workers) {
  mr::ExchangeOptions options;
  options.reactors = 1;
  options.workers = workers;
  auto exchange = std::make_shared<mr::Exchange>(options);
  mr::Reactor reactor(exchange, 0);
  Echo sink(framed);
  sink.drive(&reactor);
  reactor.attach(&sink);

  mr::ListenerConfig listener;
  listener.framing.kind = framed ? mr::FramingKind::kDelimiter : mr::FramingKind::kRaw;
  listener.toPool = workers > 0;
  if (workers == 0) listener.hooks = mr::kHookMessage;
  const uint16_t number = reactor.addListener(listener);
  const auto address = mr::Address::inet("127.0.0.1", 0);
  if (!address.ok()) die("address", address.error);
  const auto group = mr::ListenerGroup::open(address.value, {.backlog = kBacklog});
  if (!group.ok()) die("listen", group.error);
  reactor.listen(number, group.value, 0, false);
  std::printf("{\"addresses\":[%u]}\n", group.value->address().port());
  std::fflush(stdout);

  {
    std::vector<std::unique_ptr<Worker>> pool;
    for (uint32_t i = 0; i < workers; ++i) pool.push_back(std::make_unique<Worker>(*exchange, i));
    bool more = false;
    while (!stopping.load(std::memory_order_relaxed)) {
      const int64_t timer = reactor.untilNextTimerMs();
      more = reactor.turn(more ? 0 : static_cast<int>(timer < 0 || timer > 100 ? 100 : timer));
    }
  }
  reactor.destroyAll(mr::CloseReason::kServerClosing);
  reactor.detach();
}

}  // namespace

int main(int argc, char** argv) {
  bool framed = false;
  uint32_t workers = 0;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string name = argv[i], value = argv[i + 1];
    if (name == "--work" && (value == "echo" || value == "lines"))
      framed = value == "lines";
    else if (name == "--workers")
      workers = static_cast<uint32_t>(std::atoi(value.c_str()));
    else {
      std::fprintf(stderr, "usage: reactor_loop --work echo|lines [--workers N]\n");
      return 2;
    }
  }
  if (workers > 0 && !framed) {
    std::fprintf(stderr, "reactor_loop: workers answer lines: --work lines\n");
    return 2;
  }
  std::signal(SIGTERM, [](int) { stopping.store(true, std::memory_order_relaxed); });
  serve(framed, workers);
}
