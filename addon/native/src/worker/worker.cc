#include "worker/worker.h"

#include <algorithm>
#include <cstring>

namespace mr {

Worker::Worker(Exchange& exchange, uint32_t index, uint64_t (*clock)())
    : exchange_(exchange),
      index_(index),
      mailbox_(exchange.workerMailbox(index)),
      slot_(exchange.worker(index)),
      epoch_(slot_.attach()),
      clock_(clock),
      replies_(exchange, mailbox_),
      sampler_(exchange.costs()) {}

Worker::~Worker() {
  unpark();
  exchange_.passWork(index_);
}

// ---------------------------------------------------------------- sleeping

// A worker that works or stops must not be marked as asleep: a wake-up would be wasted on it.
void Worker::unpark() {
  if (parked_) exchange_.unparkWorker(index_);
  parked_ = false;
}

void Worker::wake() {
  if (parked_) {
    unpark();
  } else {
    mailbox().unpark();
  }
  slot_.setRunning(true);
}

bool Worker::park(bool forWork) {
  slot_.setRunning(false);
  if (forWork) {
    parked_ = exchange_.parkWorker(index_);
    if (!parked_) slot_.setRunning(true);
    return parked_;
  }
  unpark();
  exchange_.passWork(index_);
  Mailbox& box = mailbox();
  box.park();
  if (!box.empty()) box.wake();
  return true;
}

// ---------------------------------------------------------------- a batch

Worker::Taken Worker::take(std::span<TaskRow> rows, std::span<uint8_t> slab, size_t used, uint32_t most) {
  unpark();  // a timer or a promise may have come before the wake-up
  used = std::min(used, slab.size());
  taken_.clear();
  claimed_.clear();
  exchange_.takeFrames(index_, most, &taken_);
  // Frames whose connection is gone settle here, before a worker runs them.
  const auto gone = std::remove_if(taken_.begin(), taken_.end(),
                                   [this](const FrameRef& frame) { return exchange_.isGone(frame.task->header().connection); });
  slot_.counters.framesCancelled.add(static_cast<uint64_t>(taken_.end() - gone));
  taken_.erase(gone, taken_.end());
  if (exchange_.isTight()) setAside();
  sinceNs_ = clock_();
  slot_.claim(epoch_, taken_, &claimed_, sinceNs_);
  planMeasuring();
  TaskRow* row = rows_ = rows.data();
  for (const WorkerSlot::Claimed& claim : claimed_) {
    const Task& task = *claim.frame.task.get();
    const auto bytes = task.frame(claim.frame.index);
    const bool fits = used + bytes.size() <= slab.size();
    const bool refused = isRefused(claim.frame);
    if (refused) slot_.counters.framesShed.add(1);
    row->token = claim.token;
    row->key = costKeyOf(task, claim.frame.index);
    row->offset = fits ? static_cast<uint32_t>(used) : TaskRow::kElsewhere;
    row->length = static_cast<uint32_t>(bytes.size());
    row->idLow = static_cast<uint32_t>(task.header().connection.value);
    row->idHigh = static_cast<uint32_t>(task.header().connection.value >> 32);
    row->sequence = static_cast<uint32_t>(task.sequence(claim.frame.index));
    row->flags = uint32_t{task.header().flags & uint32_t{Task::kRun | Task::kValue}} |
                 (refused ? static_cast<uint32_t>(Task::kRefused) : 0u) |
                 static_cast<uint32_t>(claim.frame.attempt) << TaskRow::kAttemptShift;
    ++row;
    if (!fits) continue;
    if (!bytes.empty()) std::memcpy(slab.data() + used, bytes.data(), bytes.size());
    used = std::min((used + bytes.size() + 7) & ~size_t{7}, slab.size());
  }
  return {static_cast<uint32_t>(claimed_.size()), used};
}

// One that runs again, because a worker died on it, has waited for that and not in the queue.
bool Worker::isRefused(const FrameRef& frame) const {
  if ((frame.task->header().flags & Task::kRefused) != 0) return true;
  const uint64_t maxWait = exchange_.options().maxWaitNs;
  return maxWait != 0 && frame.attempt == 0 && sinceNs_ > maxWait && frame.task->queuedAtNs < sinceNs_ - maxWait;
}

// A frame whose reply has no room is not run: the reactor of its connection keeps it until there is room.
void Worker::setAside() {
  std::erase_if(taken_, [this](FrameRef& frame) {
    if (exchange_.hasRoom(*frame.task.get())) return false;
    if (!exchange_.setAside(std::move(frame))) slot_.counters.framesCancelled.add(1);
    return true;
  });
}

// The replies just sent may have used up the room of frames that were claimed with theirs.
void Worker::setAsideRest() {
  if (!rows_ || slot_.unstarted() == 0 || !exchange_.isTight()) return;
  aside_.clear();
  slot_.takeUnstarted([this](const Task& task) { return exchange_.hasRoom(task); }, &aside_);
  for (auto& [at, frame] : aside_) {
    rows_[at].flags |= TaskRow::kSetAside;
    if (!exchange_.setAside(std::move(frame))) slot_.counters.framesCancelled.add(1);
  }
  aside_.clear();
}

// ---------------------------------------------------------------- its cost

// Reading the clock costs as much as running a small frame: a batch of cheap ones of one key is measured as a whole.
void Worker::planMeasuring() {
  uint32_t& measured = slot_.outBox().measured;
  measured = OutBox::kAsWhole;
  batchKey_ = 0;
  for (const WorkerSlot::Claimed& claim : claimed_) {
    const CostTable::Key key = costKeyOf(*claim.frame.task.get(), claim.frame.index);
    const bool isFirst = &claim == &claimed_.front();
    if (!isFirst && key == batchKey_) continue;
    const uint64_t cost = exchange_.costs().costNs(key);
    if (!isFirst || cost > CostSampler::kTogetherNs) measured = std::max<uint32_t>(measured, OutBox::kByKind);
    if (cost == 0 || cost > CostTable::kHopNs) measured = OutBox::kMayBeDear;
    if (isFirst) batchKey_ = key;
  }
  sampler_.begin(sinceNs_, measured == OutBox::kMayBeDear);
}

void Worker::learn(uint32_t started, uint64_t nowNs) {
  OutBox& box = slot_.outBox();
  if (box.measured == OutBox::kAsWhole && started != 0) {
    CostSampler::asWhole(box.sampleRows, &box.samples, batchKey_, started, nowNs - sinceNs_);
  }
  sampler_.learnInPool({box.sampleRows.data(), std::min(box.samples, CostSample::kMost)}, nowNs);
  box.samples = 0;
}

void Worker::finish(uint32_t started) {
  const uint64_t now = clock_();
  learn(started, now);
  claimed_.clear();
  if (started == 0) return;
  slot_.counters.framesStarted.add(started);
  slot_.counters.busyNs.add(now - sinceNs_);
}

void Worker::goOn() {
  sinceNs_ = clock_();
  sampler_.begin(sinceNs_, slot_.outBox().measured == OutBox::kMayBeDear);
}

// ---------------------------------------------------------------- replies

void Worker::countSettled(uint16_t flags) {
  slot_.counters.framesSettled.add(1);
  if (flags & Reply::kError) slot_.counters.framesFailed.add(1);
}

void Worker::send(const FrameRef& frame, uint16_t flags, std::span<const uint8_t> bytes, uint32_t credit, uint32_t stream) {
  const Task& task = *frame.task.get();
  Reply reply;
  reply.connection = task.header().connection;
  reply.sequence = task.sequence(frame.index);
  reply.length = static_cast<uint32_t>(bytes.size());
  reply.flags = flags;
  if (flags & Reply::kLast) reply.frameBytes = static_cast<uint32_t>(task.frame(frame.index).size());
  if (task.header().flags & Task::kRun) reply.flags |= Reply::kRun;
  reply.worker = mailbox_;
  reply.credit = credit;
  reply.creditToken = stream;
  const auto owner = exchange_.directory().owner(reply.connection);
  if (!owner) {
    exchange_.repliesUnrouted.fetch_add(1, std::memory_order_relaxed);
    return exchange_.giveCredit(reply.worker, stream, credit, true);
  }
  if (reply.length >= Room::kCounted && exchange_.isReactorMailbox(*owner)) {
    exchange_.room().sent(reply.connection, reply.length);
  }
  replies_.add(*owner, reply, bytes);
}

void Worker::settle() {
  const OutBox& box = slot_.outBox();
  size_t expected = 0;
  for (uint32_t i = 0; i < std::min(box.count, OutBox::kRows); ++i) expected += ReplyBatch::sizeOf(box.rows[i].length);
  replies_.expect(expected);
  slot_.settleBox(epoch_, [this](const FrameRef& frame, uint16_t flags, std::span<const uint8_t> bytes) {
    countSettled(flags);
    send(frame, flags, bytes, 0, 0);
  });
  replies_.send();
  setAsideRest();
}

void Worker::part(uint32_t token, uint16_t flags, std::span<const uint8_t> bytes, uint32_t credit, uint32_t stream) {
  flags &= Reply::kOfParse;
  FrameRef frame;
  if (flags & Reply::kLast) {
    if (!slot_.settle(epoch_, token, &frame)) return;
    countSettled(flags);
  } else {
    const FrameRef* running = slot_.inFlight(token);
    if (!running) return;
    frame = *running;
    slot_.markStreamed(token);
  }
  send(frame, flags, bytes, credit, stream);
  replies_.send();
  setAsideRest();
}

}  // namespace mr
