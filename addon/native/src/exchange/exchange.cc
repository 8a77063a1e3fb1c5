#include "exchange/exchange.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "base/allocator.h"
#include "base/clock.h"
#include "base/fatal.h"
#include "base/slab_pool.h"
#include "exchange/call.h"

namespace mr {

namespace {

ExchangeOptions completed(ExchangeOptions options) {
  options.maxReactors = std::max(options.maxReactors, options.reactors);
  options.maxWorkers = std::max(options.maxWorkers, options.workers);
  return options;
}

}  // namespace

Exchange::Exchange(const ExchangeOptions& options)
    : options_(completed(options)),
      // A quarter of the limit, shared out: the rest is for received bytes, and for garbage that the workers' collectors have not
      // found.
      replyBound_(options_.maxMemoryBytes / 4 / std::max(options_.reactors, 1u)),
      recyclers_(new Recycler[options_.maxReactors + options_.maxWorkers]),
      queue_(options.queue, Lanes::kLanes),
      lanes_(queue_, options_.maxWorkers),
      refused_({.maxTasks = kMaxRefused, .maxBytes = options.queue.maxBytes / 4 + 1}),
      admission_(options.admission),
      balance_(options_.maxReactors),
      buffered_(new std::atomic<uint64_t>[std::max(options_.maxReactors, 1u)]()),
      stopped_(new std::atomic<bool>[kMaxMailboxes]()),
      watchers_(new std::atomic<bool>[kMaxWorkers]()),
      publications_(options_.maxReactors, options_.maxMailboxBytes) {
  MR_CHECK(options_.maxWorkers <= kMaxWorkers && options_.maxReactors + options_.maxWorkers < kMaxMailboxes, "too many threads");
  workers_.resize(options_.maxWorkers);
  reactorActive_.reset(new std::atomic<bool>[options_.maxReactors]());
  mailboxCount_ = options_.maxReactors + options_.maxWorkers;
  makeReactors(options_.reactors);
  for (uint32_t i = 0; i < options_.reactors; ++i) setActive(i, true);
  resizeWorkers(options_.workers);
}

// With portsMutex_ held.
void Exchange::openMailbox(uint32_t index) {
  if (mailboxes_[index].load(std::memory_order_acquire)) return;
  owned_.push_back(std::make_unique<Mailbox>());
  mailboxes_[index].store(owned_.back().get(), std::memory_order_release);
}

void Exchange::makeReactors(uint32_t count) {
  MR_CHECK(count <= options_.maxReactors, "more reactors than there is room for");
  std::lock_guard lock(portsMutex_);
  for (uint32_t i = 0; i < count; ++i) openMailbox(reactorMailbox(i));
}

void Exchange::setActive(uint32_t reactor, bool on) {
  // Only a change counts: one that has stopped taking connections does not start again because it is still active.
  if (reactorActive_[reactor].exchange(on, std::memory_order_seq_cst) != on) balance_.setTaking(reactor, on);
}

void Exchange::resizeWorkers(uint32_t count) {
  MR_CHECK(count <= options_.maxWorkers, "more workers than there is room for");
  std::lock_guard lock(portsMutex_);
  uint32_t slots = workerSlots();
  for (; slots < count; ++slots) {
    openMailbox(workerMailbox(slots));
    workers_[slots] = std::make_unique<WorkerSlot>();
    workerSlots_.store(slots + 1, std::memory_order_release);
  }
  workersWanted_.store(count, std::memory_order_relaxed);
}

uint32_t Exchange::nextActiveReactor(uint32_t* cursor, uint32_t except) const {
  for (uint32_t i = 0; i < options_.maxReactors; ++i) {
    const uint32_t reactor = (*cursor)++ % options_.maxReactors;
    if (reactor != except && isActive(reactor)) return reactor;
  }
  return kNoReactor;
}

uint16_t Exchange::openPort() {
  std::lock_guard lock(portsMutex_);
  if (!freePorts_.empty()) {
    const uint16_t index = freePorts_.back();
    freePorts_.pop_back();
    return index;
  }
  const uint32_t index = mailboxCount_.load(std::memory_order_relaxed);
  if (index == kMaxMailboxes) throw std::length_error("no mailbox left");
  openMailbox(index);
  mailboxCount_.store(index + 1, std::memory_order_release);
  return static_cast<uint16_t>(index);
}

void Exchange::closePort(uint16_t index) {
  std::lock_guard lock(portsMutex_);
  freePorts_.push_back(index);
}

Mailbox& Exchange::mailbox(uint16_t index) {
  Mailbox* box = mailboxes_[index].load(std::memory_order_acquire);
  MR_CHECK(box, "no such mailbox");
  return *box;
}

// ---------------------------------------------------------------- feeding

void Exchange::price(Task* task) const {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < task->frames(); ++i) {
    const uint64_t cost = costs_.costNs(costKeyOf(*task, i));
    if (cost == 0) return;
    sum += cost;
  }
  task->costNs = sum;
}

bool Exchange::submit(Task* task, bool wake) {
  task->countIn(&tasks_);
  if (task->costNs == 0) price(task);
  // Read before it is queued: a worker may have freed it by then.
  const Lanes::Lane lane = Lanes::laneOf(task->costNs);
  const uint64_t nowNs = task->queuedAtNs != 0 ? task->queuedAtNs : monotonicNs();
  if (!queue_.push(task, lane)) return false;
  lanes_.pushed(lane, nowNs);
  if (wake && (lane != Lanes::kLong || hasWork())) wakeOneWorker();
  return true;
}

bool Exchange::hasWork() const {
  if (refused_.depth() != 0 || requeuedCount_.load(std::memory_order_seq_cst) != 0) return true;
  return queue_.depth() != 0 && lanes_.hasWork(workers(), monotonicNs());
}

bool Exchange::submitRefused(Task* task) {
  task->countIn(&tasks_);
  task->refuse();
  if (!refused_.push(task)) return false;
  wakeOneWorker();
  return true;
}

// ---------------------------------------------------------------- memory

MemoryUse Exchange::memoryUse() const {
  MemoryUse use;
  use.messages = SharedBytes::bytesAlive();
  for (uint32_t i = 0; i < options_.maxReactors; ++i) use.buffered += buffered_[i].load(std::memory_order_relaxed);
  use.tasks = tasks_.sum();
  use.received = received_->sum();
  const uint32_t count = mailboxCount_.load(std::memory_order_acquire);
  for (uint32_t i = 0; i < count; ++i) {
    if (const Mailbox* box = mailboxes_[i].load(std::memory_order_acquire)) use.messages += box->bytes();
  }
  return use;
}

MemoryState Exchange::memoryState(uint64_t nowMs) {
  const uint64_t most = options_.maxMemoryBytes;
  const MemoryUse use = memoryUse();
  const uint64_t sum = use.sum();
  ebb_.note(use.allocated());
  if (use.allocated() > most / kTight) setTight(true);
  if (sum > most / kTight) SlabPool::instance().keepFew(true);
  uint64_t since = shortSinceMs_.load(std::memory_order_relaxed);
  if (sum <= most - most / 8) {
    if (since != 0) shortSinceMs_.store(0, std::memory_order_relaxed);
    return MemoryState::kFine;
  }
  // An unreferenced slab counts until its thread collects, which V8 sees no reason for while its heap is small.
  if (since == 0 && shortSinceMs_.compare_exchange_strong(since, nowMs, std::memory_order_relaxed)) since = nowMs;
  // A collection can give back only garbage, and each stops its thread.
  uint64_t asked = collectAskedMs_.load(std::memory_order_relaxed);
  if (use.received > most / kWorthCollecting && nowMs >= asked + kCollectMs &&
      collectAskedMs_.compare_exchange_strong(asked, nowMs, std::memory_order_relaxed)) {
    askToCollect();
  }
  if (sum <= most) return MemoryState::kFine;
  if (sum - use.received > most) return MemoryState::kFull;
  return nowMs < since + kCollectedMs ? MemoryState::kFine : MemoryState::kHeld;
}

bool Exchange::memoryEbbed() {
  const MemoryUse use = memoryUse();
  const uint64_t held = use.allocated(), little = options_.maxMemoryBytes / kTight / 2;
  const bool isOut = ebb_.isOut(held, options_.maxMemoryBytes);
  if (isOut && held < little) setTight(false);
  if (use.sum() < little) SlabPool::instance().keepFew(false);
  return isOut;
}

void Exchange::setTight(bool on) {
  if (tight_.load(std::memory_order_relaxed) == on || tight_.exchange(on, std::memory_order_relaxed) == on) return;
  keepNothingLarge(on);
}

void Exchange::collectWhenIdle() {
  constexpr uint64_t kLittle = 1 << 20;
  const uint64_t received = received_->sum(), before = std::exchange(idleReceived_, received);
  const uint64_t change = received > before ? received - before : before - received;
  if (change >= kLittle) {
    idleCollected_ = false;
  } else if (!idleCollected_ && received > options_.maxMemoryBytes / kWorthCollecting) {
    idleCollected_ = true;
    askToCollect();
  }
}

void Exchange::askToCollect() {
  SlabPool::instance().letAllGo();
  collectionsAsked_.fetch_add(1, std::memory_order_relaxed);
  for (uint32_t i = 0; i < options_.maxReactors + workerSlots(); ++i) {
    const uint32_t index = i < options_.maxReactors ? i : workerMailbox(i - options_.maxReactors);
    if (Mailbox* box = mailboxes_[index].load(std::memory_order_acquire)) box->wake();
  }
}

void Exchange::stopUntilLow(uint16_t mailbox) {
  if (!stopped_[mailbox].exchange(true, std::memory_order_seq_cst)) stoppedCount_.fetch_add(1, std::memory_order_seq_cst);
  // The last task may have left between the failed push and this line; nothing else would wake us then.
  if (queue_.low()) wakeStopped();
}

void Exchange::wakeStopped() {
  for (uint32_t i = 0; i < kMaxMailboxes && stoppedCount_.load(std::memory_order_seq_cst) != 0; ++i) {
    if (!stopped_[i].exchange(false, std::memory_order_seq_cst)) continue;
    stoppedCount_.fetch_sub(1, std::memory_order_seq_cst);
    mailbox(static_cast<uint16_t>(i)).wake();
  }
}

void Exchange::wakeOneWorker() {
  for (size_t word = 0; word < idle_.size(); ++word) {
    uint64_t bits = idle_[word].load(std::memory_order_seq_cst);
    while (bits != 0) {
      const int bit = std::countr_zero(bits);
      const auto index = static_cast<int32_t>(word * 64 + static_cast<size_t>(bit));
      // One worker on its way is enough: it wakes the next one if there is more than it can take.
      int32_t nobody = -1;
      if (!waking_.compare_exchange_strong(nobody, index, std::memory_order_seq_cst)) return;
      wokenAtNs_.store(monotonicNs(), std::memory_order_relaxed);
      if (idle_[word].fetch_and(~(uint64_t{1} << bit), std::memory_order_seq_cst) & (uint64_t{1} << bit)) {
        mailbox(workerMailbox(static_cast<uint32_t>(index))).wake();
        return;
      }
      int32_t self = index;
      waking_.compare_exchange_strong(self, -1, std::memory_order_seq_cst);
      bits = idle_[word].load(std::memory_order_seq_cst);
    }
  }
}

bool Exchange::hasUnstarted() const {
  const uint32_t slots = workerSlots();
  for (uint32_t i = 0; i < slots; ++i) {
    if (workers_[i]->unstarted() != 0) return true;
  }
  return false;
}

// It looked asleep: a promise or a timer has its thread. It is not marked idle any more, so that the next wake-up is another
// one's. Should this take a wake-up that is younger than the time read, one worker more is woken than is needed.
void Exchange::giveUpWaking() {
  int32_t woken = waking_.load(std::memory_order_seq_cst);
  if (woken == -1 || monotonicNs() < wokenAtNs_.load(std::memory_order_relaxed) + kStolenAfterNs) return;
  waking_.compare_exchange_strong(woken, -1, std::memory_order_seq_cst);
}

void Exchange::wakeIfStalled() {
  if (!hasWork() && !hasUnstarted()) return;
  giveUpWaking();
  wakeOneWorker();
}

// ---------------------------------------------------------------- the pool's side

bool Exchange::takeRequeued(std::vector<FrameRef>* out) {
  if (requeuedCount_.load(std::memory_order_seq_cst) == 0) return false;
  std::lock_guard lock(requeuedMutex_);
  if (requeued_.empty()) return false;
  // One at a time: the worker before may have died on it.
  out->push_back(std::move(requeued_.front()));
  requeued_.pop_front();
  requeuedCount_.fetch_sub(1, std::memory_order_seq_cst);
  return true;
}

bool Exchange::takeRefused(uint32_t most, std::vector<FrameRef>* out) {
  const size_t before = out->size();
  while (out->size() < std::min(most, kMaxFramesPerTask) && refused_.depth() != 0) {
    TaskRef task = refused_.take();
    if (!task) break;
    for (uint32_t i = 0; i < task->frames(); ++i) out->push_back(FrameRef{task, i, task->attempt()});
  }
  return out->size() != before;
}

void Exchange::takeFromQueue(uint32_t worker, uint32_t most, std::vector<FrameRef>* out) {
  if (queue_.depth() == 0) return;
  const uint32_t workers = std::max(this->workers(), 1u);
  Lanes::Lane lane;
  TaskRef task = lanes_.take(worker, workers, monotonicNs(), &lane);
  if (!task) return;
  // A fair share, so that one worker does not take all.
  const uint32_t share = std::min({most, kMaxFramesPerTask, (lanes_.frames(lane) + task->frames()) / workers + 1});
  uint64_t budget = kTaskBudgetNs;
  for (;;) {
    const uint64_t cost = task->costNs;
    for (uint32_t i = 0; i < task->frames(); ++i) out->push_back(FrameRef{task, i, task->attempt()});
    if (cost == 0 || cost >= budget || out->size() >= share) break;
    budget -= cost;
    // Of the same lane: frames taken along must not wait behind something dearer.
    task = lanes_.takeMore(lane);
    if (!task) break;
  }
}

void Exchange::stealFromSiblings(uint32_t thief, std::vector<FrameRef>* out) {
  const uint64_t now = monotonicNs();
  const uint32_t slots = workerSlots();
  for (uint32_t i = 1; i < slots && out->empty(); ++i) {
    WorkerSlot& sibling = *workers_[(thief + i) % slots];
    if (sibling.unstarted() == 0) continue;
    sibling.steal(out, now, kStolenAfterNs);
  }
  if (!out->empty()) workers_[thief]->counters.framesStolen.add(out->size());
}

void Exchange::takeFrames(uint32_t worker, uint32_t most, std::vector<FrameRef>* out) {
  if (most == 0) return;
  lanes_.done(worker);
  if (!takeRefused(most, out) && !takeRequeued(out)) takeFromQueue(worker, most, out);
  if (out->empty()) stealFromSiblings(worker, out);
  if (stoppedCount_.load(std::memory_order_seq_cst) != 0 && queue_.low()) wakeStopped();
  int32_t self = static_cast<int32_t>(worker);
  waking_.compare_exchange_strong(self, -1, std::memory_order_seq_cst);
  if (hasWork()) wakeOneWorker();
}

bool Exchange::parkWorker(uint32_t worker) {
  lanes_.done(worker);
  const uint64_t bit = uint64_t{1} << (worker % 64);
  Mailbox& box = mailbox(workerMailbox(worker));
  box.park();
  idle_[worker / 64].fetch_or(bit, std::memory_order_seq_cst);
  int32_t self = static_cast<int32_t>(worker);
  waking_.compare_exchange_strong(self, -1, std::memory_order_seq_cst);
  if (!hasWork() && box.empty()) return true;
  unparkWorker(worker);
  return false;
}

// It was on its way to the work and takes none: another one is to be woken in its place.
void Exchange::passWork(uint32_t worker) {
  lanes_.done(worker);
  int32_t self = static_cast<int32_t>(worker);
  waking_.compare_exchange_strong(self, -1, std::memory_order_seq_cst);
  if (hasWork()) wakeOneWorker();
}

void Exchange::unparkWorker(uint32_t worker) {
  idle_[worker / 64].fetch_and(~(uint64_t{1} << (worker % 64)), std::memory_order_seq_cst);
  mailbox(workerMailbox(worker)).unpark();
}

// ---------------------------------------------------------------- room for replies

bool Exchange::isFull(uint32_t reactor) const {
  const Mailbox* box = mailboxes_[reactorMailbox(reactor)].load(std::memory_order_acquire);
  return box && box->bytes() + buffered_[reactor].load(std::memory_order_relaxed) >= replyBound_;
}

bool Exchange::isTight() const {
  if (room_.isUsed()) return true;
  for (uint32_t i = 0; i < options_.maxReactors && mailboxes_[i].load(std::memory_order_acquire); ++i) {
    if (isFull(i)) return true;
  }
  return false;
}

// A call does not count among its connection's bytes: its result is for the reactor's thread.
bool Exchange::hasRoom(const Task& task) const {
  const Task::Header& header = task.header();
  if (header.flags & Task::kPermitted) return true;
  const auto owner = directory_.owner(header.connection);
  if (!owner || !isReactorMailbox(*owner)) return true;
  if (!(header.flags & Task::kRun) && room_.isFull(header.connection, task.roomKib())) return false;
  return !isFull(*owner);
}

bool Exchange::setAside(FrameRef frame) {
  const auto owner = directory_.owner(frame.task->header().connection);
  if (!owner) return false;
  mailbox(*owner).send(std::make_unique<SetAside>(std::move(frame)));
  return true;
}

// ---------------------------------------------------------------- settling

void Exchange::reply(const Reply& reply, std::span<const uint8_t> bytes) {
  const auto owner = directory_.owner(reply.connection);
  if (!owner) {
    repliesUnrouted.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  if (reply.length >= Room::kCounted && isReactorMailbox(*owner)) room_.sent(reply.connection, reply.length);
  auto batch = ReplyBatch::create(ReplyBatch::sizeOf(bytes.size()));
  batch->append(reply, bytes);
  mailbox(*owner).send(std::move(batch));
}

void Exchange::giveCredit(uint16_t worker, uint32_t token, uint32_t amount, bool gone) {
  if (amount == 0) return;
  auto credit = std::make_unique<Credit>();
  credit->token = token;
  credit->amount = amount;
  credit->gone = gone;
  mailbox(worker).send(std::move(credit));
}

Exchange::Reaped Exchange::reapWorker(uint32_t worker, bool retry, bool timedOut) {
  for (const WorkerSlot::Ready& ready : workers_[worker]->takeReady()) {
    const Task& task = *ready.frame.task.get();
    Reply settled;
    settled.connection = task.header().connection;
    settled.sequence = task.sequence(ready.frame.index);
    settled.frameBytes = static_cast<uint32_t>(task.frame(ready.frame.index).size());
    settled.length = static_cast<uint32_t>(ready.bytes.size());
    settled.flags = ready.flags;
    if (task.header().flags & Task::kRun) settled.flags |= Reply::kRun;
    workers_[worker]->counters.framesSettled.add(1);
    reply(settled, ready.bytes);
  }
  std::vector<LostFrame> lost = workers_[worker]->reap();
  idle_[worker / 64].fetch_and(~(uint64_t{1} << (worker % 64)), std::memory_order_seq_cst);
  watchers_[worker].store(false, std::memory_order_relaxed);
  // If it died between being woken and looking, the work it was woken for needs another one.
  passWork(worker);
  Mailbox& box = mailbox(workerMailbox(worker));
  while (box.take()) {
  }
  Reaped reaped;
  WorkerCounters& counters = workers_[worker]->counters;
  for (LostFrame& frame : lost) {
    const bool again = retry && !frame.streamed && frame.frame.attempt + 1 < kMaxAttempts;
    if (!frame.started) {
      ++reaped.requeued;
      requeue(std::move(frame.frame));
    } else if (again) {
      ++reaped.retried;
      counters.framesRetried.add(1);
      ++frame.frame.attempt;
      requeue(std::move(frame.frame));
    } else {
      ++reaped.lost;
      counters.framesLost.add(1);
      const Task& task = *frame.frame.task.get();
      Reply settled;
      settled.connection = task.header().connection;
      settled.sequence = task.sequence(frame.frame.index);
      settled.frameBytes = static_cast<uint32_t>(task.frame(frame.frame.index).size());
      settled.flags = Reply::kLast | Reply::kDestroy | Reply::kError | (timedOut ? Reply::kTimedOut : Reply::kLost);
      if (task.header().flags & Task::kRun) settled.flags |= Reply::kRun;
      reply(settled, {});
    }
  }
  passWork(worker);
  return reaped;
}

void Exchange::requeue(FrameRef frame) {
  {
    std::lock_guard lock(requeuedMutex_);
    requeued_.push_back(std::move(frame));
    requeuedCount_.fetch_add(1, std::memory_order_seq_cst);
  }
  wakeOneWorker();
}

void Exchange::announceGone(ConnectionId id) {
  const uint32_t slots = workerSlots();
  for (uint32_t i = 0; i < slots; ++i) {
    if (!watchers_[i].load(std::memory_order_relaxed)) continue;
    auto message = std::make_unique<Gone>();
    message->connection = id;
    mailbox(workerMailbox(i)).send(std::move(message));
  }
}

// ---------------------------------------------------------------- calls

Exchange::Calling Exchange::call(uint32_t reactor, std::span<const uint8_t> bytes, uint16_t replyTo, uint32_t request) {
  if (!isActive(reactor)) return Calling::kNoReactor;
  Mailbox& box = mailbox(reactorMailbox(reactor));
  if (box.bytes() + bytes.size() > options_.maxMailboxBytes) return Calling::kFull;
  auto message = std::make_unique<Call>();
  message->data.assign(bytes.begin(), bytes.end());
  message->replyTo = replyTo;
  message->request = request;
  box.send(std::move(message));
  return Calling::kSent;
}

// ---------------------------------------------------------------- publishing

Exchange::Publishing Exchange::publish(const PublicationRef& publication) {
  const auto reactors = publications_.add(publication);
  if (!reactors) {
    publicationsRefused.fetch_add(1, std::memory_order_relaxed);
    return Publishing::kFull;
  }
  for (const uint32_t reactor : *reactors) mailbox(reactorMailbox(reactor)).wake();
  return reactors->empty() ? Publishing::kNobody : Publishing::kSent;
}

bool Exchange::finishPublication(Publication& publication) {
  if (publication.unfinished.fetch_sub(1, std::memory_order_acq_rel) != 1) return false;
  if (publication.request == 0) return true;
  auto published = std::make_unique<Published>();
  published->request = publication.request;
  published->reached = publication.reached.load(std::memory_order_relaxed);
  mailbox(publication.replyTo).send(std::move(published));
  return true;
}

}  // namespace mr
