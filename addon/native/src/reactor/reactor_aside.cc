// Frames whose replies have no room: they are set aside before they run, and let go when their connection and this reactor hold
// less. See docs/decisions/0009-credits.md.
#include <algorithm>

#include "base/clock.h"
#include "reactor/reactor.h"

namespace mr {

// Half of what closes the connection: the other half is for writes that cannot be set aside.
size_t Reactor::roomOf(const ListenerConfig& cfg) { return std::max(cfg.outHighBytes, cfg.outMaxBytes / 2); }

bool Reactor::isFull() const {
  const uint64_t held = counters_.buffered.get() + messagesInHand() + batchBytes_;
  return held + mailbox_.bytes() >= exchange_->replyBound();
}

Aside& Reactor::asideOf(uint32_t slot) {
  Connection& connection = table_.at(slot);
  Extras& extras = connection.needExtras();
  if (!extras.aside) {
    extras.aside = std::make_unique<Aside>();
    exchange_->room().setFull(idOf(slot), true);
    listAside(slot);
    if (box_) box_->full = 1;
  }
  return *extras.aside;
}

void Reactor::listAside(uint32_t slot) {
  Connection& connection = table_.at(slot);
  connection.aside()->ticket = ++asideTicket_;
  asides_.push_back({slot, connection.generation, asideTicket_});
}

void Reactor::lookAside() {
  asideScan_ = asides_.size();
  if (asideScan_ != 0) requestTurn();
}

void Reactor::setAside(uint32_t slot, FrameRef frame, bool runsHere) {
  const Task& task = *frame.task.get();
  const uint64_t key = Aside::keyOf(task.sequence(frame.index), (task.header().flags & Task::kRun) != 0);
  Aside& aside = asideOf(slot);
  // Its thread has died before it came to it.
  if (aside.endPermit(key)) --permits_;
  aside.frames[key] = {std::move(frame), runsHere};
  counters_.framesSetAside.add(1);
  lookAside();
}

void Reactor::onSetAside(SetAside& message) {
  uint32_t slot;
  if (locate(message.frame.task->header().connection, &slot)) return setAside(slot, std::move(message.frame), false);
  counters_.framesCancelled.add(1);
}

bool Reactor::setAsideHere(uint32_t slot, uint32_t generation, uint32_t sequence, std::span<const uint8_t> frame) {
  Connection* connection = find(slot, generation);
  if (!connection || (!connection->aside() && !isFull())) return false;
  TaskRef task(Task::create(
      {idOf(slot), fullSequence(*connection, sequence), connection->listener, Task::kNone, connection->peer}, 1, frame.size()));
  task->append(frame);
  task->countIn(exchange_->tasks());
  setAside(slot, {std::move(task), 0, 0}, true);
  return true;
}

// A part of its reply is here: it has its room, and another one may go.
void Reactor::endPermit(uint32_t slot, const Reply& reply) {
  Aside* aside = table_.at(slot).aside();
  if (!aside || !aside->endPermit(Aside::keyOf(reply.sequence, (reply.flags & Reply::kRun) != 0))) return;
  --permits_;
  lookAside();
}

void Reactor::dropAside(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!connection.aside()) return;
  counters_.framesCancelled.add(connection.aside()->frames.size());
  permits_ -= static_cast<uint32_t>(connection.aside()->permits.size());
  connection.extras->aside.reset();
  lookAside();
}

// Frames that were set aside before this thread ran them come back to it, unless the pool takes them.
bool Reactor::comesBackHere(const ListenerConfig& cfg) const { return cfg.run == Run::kInline || exchange_->workers() == 0; }

// One at a time, but a frame whose promise stays pending does not hold up the others. Only when all frames let go have been
// started: those that wait in the queue would answer all at once.
bool Reactor::isPermitOld() const {
  return nowMs_ >= lastPermitMs_ + exchange_->options().permitMs && kept_.empty() && overflow_.empty() &&
         exchange_->queue().depth() == 0 && !exchange_->hasUnstarted();
}

// The head of the order goes on as long as the peer reads: the replies held behind it wait for it.
bool Reactor::mayLetGo(uint32_t slot, uint64_t key, bool isFull) const {
  const Connection& connection = table_.at(slot);
  const ListenerConfig& cfg = config(connection);
  // The thread leaves: the next one runs it.
  if (handingOver_ && connection.aside()->frames.begin()->second.runsHere && comesBackHere(cfg)) return false;
  const bool isRun = key < Aside::kOrdered;
  const bool isHead = !isRun && !cfg.unordered && (key & ~Aside::kOrdered) == connection.headSequence;
  const size_t held = connection.window() ? connection.window()->heldBytes() : 0;
  const size_t counts = isRun ? 0 : connection.waitingBytes() - (isHead ? held : 0);
  if (isFull) return (permits_ == 0 || isPermitOld()) && counts <= cfg.outHighBytes;
  const bool isNext = isHead || connection.aside()->permits.size() < std::max(exchange_->workers(), 1u);
  return isNext && counts < roomOf(cfg);
}

void Reactor::letGo(uint32_t slot) {
  Connection& connection = table_.at(slot);
  Aside& aside = *connection.aside();
  const auto first = aside.frames.begin();
  const uint64_t key = first->first;
  const Aside::Frame frame = std::move(first->second);
  aside.frames.erase(first);
  aside.permits.push_back(key);
  ++permits_;
  lastPermitMs_ = nowMs_;
  const Task& old = *frame.ref.task.get();
  const std::span<const uint8_t> bytes = old.frame(frame.ref.index);
  const auto flags = static_cast<uint8_t>(old.header().flags | Task::kPermitted);
  TaskRef task(Task::create({old.header().connection, old.sequence(frame.ref.index), connection.listener, flags, connection.peer},
                            1, bytes.size(), &recycler_));
  task->append(bytes);
  task->setAttempt(frame.ref.attempt);
  task->queuedAtNs = nowMs_ * 1'000'000;  // the time that it was set aside is not time in the queue
  budget_.spend(bytes.size());
  if (frame.runsHere && comesBackHere(config(connection))) {
    task->countIn(exchange_->tasks());
    kept_.push_back({slot, connection.generation, std::move(task)});
    leftWork_ = true;
    return;
  }
  if (stallCheckAtMs_ == 0 && exchange_->workers() > 1) stallCheckAtMs_ = nowMs_ + kStallCheckMs;
  task->retain();
  const bool refused = (flags & Task::kRefused) != 0;
  if (refused ? exchange_->submitRefused(task.get()) : overflow_.empty() && exchange_->submit(task.get())) return;
  task->release();
  overflow_.push_back(std::move(task));
  waitsForQueue_ = true;
  exchange_->stopUntilLow(exchange_->reactorMailbox(index_));
}

void Reactor::letGoSome() {
  const bool full = isFull();
  // Nothing else says that there is room again.
  if (wasFull_ && !full) lookAside();
  wasFull_ = full;
  if (permitLookAtMs_ != 0 && nowMs_ >= permitLookAtMs_) lookAside();
  permitLookAtMs_ = 0;
  for (uint32_t looks = 0; asideScan_ != 0 && !asides_.empty(); --asideScan_) {
    if (looks++ == kAsideLooks) return void(leftWork_ = true);
    const Listed listed = asides_.front();
    const uint32_t slot = listed.slot;
    asides_.pop_front();
    Connection* connection = table_.find(slot, listed.generation);
    if (!connection || !connection->fd.valid() || !connection->aside()) continue;
    Aside& aside = *connection->aside();
    if (aside.ticket != listed.ticket) continue;
    while (!aside.frames.empty() && mayLetGo(slot, aside.frames.begin()->first, full)) letGo(slot);
    if (!aside.isEmpty() || connection->waitingBytes() > roomOf(config(*connection)) / 2) {
      asides_.push_back(listed);
      continue;
    }
    connection->extras->aside.reset();
    exchange_->room().setFull(idOf(slot), false);
    if (connection->waitingBytes() <= config(*connection).outLowBytes) resumeFrom(slot, Connection::kPausedByOutput);
  }
  if (asides_.empty()) asideScan_ = 0;
  // Its reply may never come.
  if (full && permits_ != 0 && !asides_.empty()) permitLookAtMs_ = nowMs_ + exchange_->options().permitMs;
}

}  // namespace mr
