// Frames that run on this reactor: which ones do, what they have answered and cost, and what becomes of those whose thread dies.
#include <algorithm>

#include "base/clock.h"
#include "exchange/box_rows.h"
#include "reactor/reactor.h"

namespace mr {

// ---------------------------------------------------------------- on the way in

bool Reactor::runsHere(const ListenerConfig& cfg, CostTable::Key key) {
  if (cfg.run != Run::kAuto) return cfg.run == Run::kInline;
  const CostTable& costs = exchange_->costs();
  if (!costs.staysInline(key)) return false;
  const uint64_t cost = costs.costNs(key);
  if (cost > inlineLeftNs_) return false;
  inlineLeftNs_ -= cost;
  return true;
}

bool Reactor::emitParse(uint32_t slot, std::span<const uint8_t> frame, CostTable::Key key, bool inSlab) {
  Connection& connection = table_.at(slot);
  if (!emitBytes(Event::kParse, slot, frame, static_cast<uint32_t>(connection.nextSequence), inSlab)) return false;
  const uint64_t cost = exchange_->costs().costNs(key);
  batch_.last().e = key | (cost == 0 || cost > CostSampler::kTogetherNs ? kTimedAlone : 0);
  batch_.keepBytes();
  ++connection.nextSequence;
  ++connection.inFlight;
  connection.inFlightBytes += frame.size();
  counters_.framesRead.add(1);
  counters_.framesInline.add(1);
  return true;
}

bool Reactor::place(uint32_t slot, uint32_t generation, std::span<const uint8_t> frame, uint32_t* sequence, uint32_t* key) {
  Connection* connection = find(slot, generation);
  if (!connection || !isOwnedByHooks(*connection)) return true;
  *key = CostTable::keyOf(connection->listener, frame.size());
  if (!runsHere(config(*connection), *key)) {
    uint64_t unused;
    (void)submit(slot, generation, frame, Task::kNone, &unused);
    return true;
  }
  *sequence = static_cast<uint32_t>(connection->nextSequence++);
  ++connection->inFlight;
  connection->inFlightBytes += frame.size();
  counters_.framesInline.add(1);
  checkOrderLimit(slot);
  return false;
}

// ---------------------------------------------------------------- on the way out

InlineBox& Reactor::inlineBox() {
  if (!box_) box_ = std::make_unique<InlineBox>();
  return *box_;
}

uint64_t Reactor::fullSequence(const Connection& connection, uint32_t low) const {
  return connection.nextSequence - static_cast<uint32_t>(static_cast<uint32_t>(connection.nextSequence) - low);
}

void Reactor::settleInline() {
  owner_.assertCurrent(__func__);
  if (!box_) return;
  if (!inTurn_) nowMs_ = monotonicMs();
  const uint32_t count = std::min(box_->count, InlineBox::kRows);
  BoxRows rows(box_->bytes);
  for (uint32_t i = 0; i < count; ++i) {
    const InlineBox::Row& row = box_->rows[i];
    const auto bytes = rows.next(row.offset, row.length);
    if (!bytes) {
      closeCorrupt(row.slot, row.generation);
      continue;
    }
    Connection* connection = table_.find(row.slot, row.generation);
    if (!connection || !connection->fd.valid()) {
      counters_.repliesLate.add(1);
      continue;
    }
    if (row.flags & InlineBox::kWasHeld) release(row.slot);
    Reply reply;
    reply.sequence = fullSequence(*connection, row.sequence);
    reply.length = row.length;
    reply.frameBytes = row.frameBytes;
    reply.flags = static_cast<uint16_t>(row.flags & Reply::kOfParse);
    batchBytes_ += row.length;
    onReplyAt(row.slot, *connection, reply, *bytes);
  }
  box_->count = 0;
  if (inTurn_ && isFull()) box_->full = 1;
  takeSamples();
  if (count != 0) requestTurn();
}

void Reactor::replyInline(const InlineReply& part, std::span<const uint8_t> bytes) {
  Connection* connection = find(part.slot, part.generation);
  const uint16_t own = exchange_->reactorMailbox(index_);
  if (!connection) {
    counters_.repliesLate.add(1);
    return exchange_->giveCredit(own, part.stream, part.credit, true);
  }
  if (part.flags & InlineBox::kWasHeld) release(part.slot);
  Reply reply;
  reply.sequence = fullSequence(*connection, part.sequence);
  reply.length = static_cast<uint32_t>(bytes.size());
  reply.frameBytes = part.frameBytes;
  reply.flags = static_cast<uint16_t>(part.flags & Reply::kOfParse);
  reply.worker = own;
  reply.credit = part.credit;
  reply.creditToken = part.stream;
  batchBytes_ += bytes.size();
  onReplyAt(part.slot, *connection, reply, bytes);
  if (inTurn_ && box_ && isFull()) box_->full = 1;
  requestTurn();
}

bool Reactor::idOf(uint32_t slot, uint32_t generation, ConnectionId* id) {
  const Connection* connection = find(slot, generation);
  if (connection) *id = idOf(slot);
  return connection != nullptr;
}

// Room for a reply that streams from here.
void Reactor::onCredit(const Credit& credit) { emit(Event::kCredit, 0, credit.token, credit.amount, credit.gone ? 1 : 0); }

// ---------------------------------------------------------------- what it costs

// A look at the clock costs as much as a small frame: a batch of cheap ones of one class is measured as a whole, from outside.
void Reactor::planMeasuring() {
  measuredRuns_ = 0;
  if (!box_) return;
  box_->measured = 1;
  box_->full = !asides_.empty() || isFull();
  uint32_t runs = 0, key = 0;
  bool alike = true;
  for (const EventRow& row : batch_.delivering()) {
    if (row.event != Event::kParse) {
      alike = false;
      continue;
    }
    if (runs++ == 0) key = row.e;
    alike = alike && row.e == key && !(key & kTimedAlone);
  }
  sampler_.begin(monotonicNs(), runs > kMeasuredTogether || (runs != 0 && !alike));
  if (!alike || runs == 0) return;
  if (runs * exchange_->costs().costNs(key) > kMeasuredBatchNs) return;
  box_->measured = 0;
  measuredKey_ = key;
  measuredRuns_ = runs;
}

void Reactor::measureBatch(uint64_t startedNs) {
  if (measuredRuns_ == 0) return;
  CostSampler::asWhole(box_->sampleRows, &box_->samples, measuredKey_, measuredRuns_, monotonicNs() - startedNs);
}

void Reactor::takeSamples() {
  const uint32_t samples = std::min(box_->samples, CostSample::kMost);
  const uint64_t nowNs = samples != 0 ? monotonicNs() : 0;
  sampler_.learnInline({box_->sampleRows.data(), samples}, nowNs,
                       [this](CostTable::Key key, uint64_t ns) { emit(Event::kOverrun, 0, key, static_cast<uint32_t>(ns)); });
  box_->samples = 0;
}

void Reactor::judgeOverrun(CostTable::Key key, bool wasOne) {
  if (wasOne) {
    counters_.inlineOverruns.add(1);
  } else {
    exchange_->costs().pardon(key);
  }
}

uint64_t Reactor::inlineRunningNs(uint64_t nowNs) {
  const uint32_t running = box_ ? box_->running.load(std::memory_order_relaxed) : 0;
  if (running != seenRunning_) {
    seenRunning_ = running;
    seenRunningAtNs_ = nowNs;
  }
  return running % 2 == 0 || nowNs < seenRunningAtNs_ ? 0 : nowNs - seenRunningAtNs_;
}

// ---------------------------------------------------------------- the thread died

void Reactor::keepUnseen(const EventRow& row, const uint8_t* bytes) {
  Connection* connection = find(row.slot, row.generation);
  if (!connection) return;
  TaskRef task(Task::create(
      {idOf(row.slot), fullSequence(*connection, row.d), connection->listener, Task::kNone, connection->peer}, 1, row.c));
  task->append({bytes, row.c});
  kept_.push_back({row.slot, row.generation, std::move(task)});
}

bool Reactor::answered(const EventRow& row) const {
  for (uint32_t i = 0; box_ && i < std::min(box_->count, InlineBox::kRows); ++i) {
    const InlineBox::Row& reply = box_->rows[i];
    const bool same = reply.slot == row.slot && reply.generation == row.generation && reply.sequence == row.d;
    if (same && (reply.flags & Reply::kLast)) return true;
  }
  return false;
}

// Those that it had not begun stay in native memory, with their places in the order; the slabs go with the thread. What it had
// answered is answered. Says whether the frame in hand was.
bool Reactor::keepUnseenParses(const EventSink::Delivered& delivered) {
  const bool inParse = delivered.inHook && delivered.begun > 0 && batch_.delivering()[delivered.begun - 1].event == Event::kParse;
  const bool inHand = inParse && answered(batch_.delivering()[delivered.begun - 1]);
  if (inParse && !inHand && endedForTime_.load(std::memory_order_acquire)) {
    const CostTable::Key key = batch_.delivering()[delivered.begun - 1].e & ~kKeyFlags;
    exchange_->costs().ban(key, UINT32_MAX, monotonicNs());
  }
  settleInline();
  batch_.keepParses(delivered.begun, [this](const EventRow& row, const uint8_t* bytes) { keepUnseen(row, bytes); });
  return inHand;
}

// The next thread runs them; or the pool, where no thread of the app drives this reactor any more.
void Reactor::runKept() {
  std::vector<Kept> kept;
  kept.swap(kept_);
  for (Kept& one : kept) {
    if (!takesMore()) {
      leftWork_ = true;
      kept_.push_back(std::move(one));
      continue;
    }
    Connection* connection = find(one.slot, one.generation);
    // Nothing follows what has failed: such a frame would be run in vain.
    if (!connection || connection->has(Connection::kEndSaid)) continue;
    const std::span<const uint8_t> frame = one.task->frame(0);
    budget_.spend(frame.size());
    const CostTable::Key key = CostTable::keyOf(connection->listener, frame.size());
    if (config(*connection).run != Run::kPool && !abandoned_) {
      if (!emitBytes(Event::kParse, one.slot, frame, static_cast<uint32_t>(one.task->sequence(0)), false)) {
        kept_.push_back(std::move(one));
        continue;
      }
      batch_.last().e = key | kTimedAlone | (one.task->header().flags & Task::kPermitted ? kPermittedRow : 0);
      batch_.keepBytes();
    } else if (exchange_->workers() != 0) {
      overflow_.push_back(std::move(one.task));
      waitsForQueue_ = true;
    } else {
      closeNow(one.slot, CloseReason::kThreadLost);
    }
  }
}

}  // namespace mr
