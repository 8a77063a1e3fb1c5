// From replies and writes to the socket: putting them in order, keeping what the socket does not take, and telling those who
// wait for room.
#include <algorithm>
#include <cerrno>

#include "base/fatal.h"
#include "exchange/box_rows.h"
#include "net/socket.h"
#include "reactor/may_write.h"
#include "reactor/reactor.h"

namespace mr {

OrderWindow& Reactor::windowOf(Connection& connection) {
  if (!connection.window()) connection.needExtras().window = std::make_unique<OrderWindow>();
  return *connection.window();
}

// ---------------------------------------------------------------- replies of the pool

// False when the turn ends before the batch does.
bool Reactor::onReplies(ReplyBatch& batch, uint32_t* most) {
  Reply reply;
  std::span<const uint8_t> bytes;
  while (batch.take(&reply, &bytes)) {
    budget_.spend(bytes.size());
    if (reply.length >= Room::kCounted) exchange_->room().arrived(reply.connection, reply.length);
    onReply(reply, bytes);
    if (*most != 0) --*most;
    if (batch.ended()) return true;
    if (*most == 0 || !takesMore()) return false;
  }
  return true;
}

void Reactor::onReply(const Reply& reply, std::span<const uint8_t> bytes) {
  uint32_t slot;
  Connection* connection = locate(reply.connection, &slot);
  if (!connection) {
    counters_.repliesLate.add(1);
    exchange_->giveCredit(reply.worker, reply.creditToken, reply.credit, true);
    return;
  }
  onReplyAt(slot, *connection, reply, bytes);
}

void Reactor::onReplyAt(uint32_t slot, Connection& connection, const Reply& reply, std::span<const uint8_t> bytes) {
  // Now, not when it is sent: between the two, timers look at connections that no longer wait for an answer.
  connection.lastActivity = nowMs_;
  if (connection.aside()) endPermit(slot, reply);
  if (reply.frameBytes != 0) connection.inFlightBytes -= std::min<size_t>(connection.inFlightBytes, reply.frameBytes);
  if (reply.flags & Reply::kRun) {
    onRunResult(slot, reply, bytes);
  } else if (config(connection).unordered) {
    onUnordered(slot, reply, bytes);
  } else {
    onOrdered(slot, connection, reply, bytes);
  }
}

void Reactor::onRunResult(uint32_t slot, const Reply& reply, std::span<const uint8_t> bytes) {
  Connection& connection = table_.at(slot);
  exchange_->giveCredit(reply.worker, reply.creditToken, reply.credit, false);
  if (!emitBytes(Event::kRunResult, slot, bytes, static_cast<size_t>(reply.sequence), false))
    return closeNow(slot, CloseReason::kSystem, ENOMEM);
  batch_.last().e = reply.flags;
  if (reply.flags & Reply::kLast) {
    settledOne(connection);
    release(slot);
    leaveOrderLimit(slot, connection);
    ended_.push_back(slot);  // a half-closed peer may have waited for just this
  }
}

void Reactor::onOrdered(uint32_t slot, Connection& connection, const Reply& reply, std::span<const uint8_t> bytes) {
  if (reply.sequence < connection.headSequence || reply.sequence >= connection.nextSequence) {
    counters_.repliesLate.add(1);
    return exchange_->giveCredit(reply.worker, reply.creditToken, reply.credit, true);
  }
  const uint64_t distance = reply.sequence - connection.headSequence;
  // Replies held for the head come before it, where the last turn has left some of that.
  if (distance != 0 || (connection.window() && connection.window()->headHasParts())) {
    counters_.repliesHeld.add(1);
    windowOf(connection).hold(distance, reply, bytes);
    account(slot);
    if (connection.waitingBytes() > config(connection).outHighBytes) pauseByOutput(slot);
    return;
  }
  emitPart(slot, connection, bytes, reply.flags, reply.worker, reply.credit, reply.creditToken);
  if (!(reply.flags & Reply::kLast)) {
    connection.set(Connection::kHeadStarted);
    return;
  }
  if (!connection.fd.valid()) return;
  settledOne(connection);
  headSettled(slot, connection);
}

// The reply at the head is complete: the order moves on as far as it can.
void Reactor::headSettled(uint32_t slot, Connection& connection) {
  advanceOrder(slot, connection);
  if (connection.window()) return releaseHeld(slot);
  leaveOrderLimit(slot, connection);
  maybeFinish(slot);
}

// One head may set free all that is held behind it. Replies without room in this turn stay in the window.
bool Reactor::defersHeld(uint32_t slot) {
  if (!inTurn_ || budget_.left()) return false;
  releasing_.emplace_back(slot, table_.at(slot).generation);
  return true;
}

void Reactor::goOnReleasing() {
  std::vector<std::pair<uint32_t, uint32_t>> releasing;
  releasing.swap(releasing_);
  for (const auto& [slot, generation] : releasing) {
    const Connection* connection = table_.find(slot, generation);
    if (!connection || !connection->fd.valid() || !connection->window()) continue;
    if (!config(*connection).unordered) {
      releaseHeld(slot);
    } else if (connection->window()->streaming == OrderWindow::kNobody) {
      releaseUnordered(slot);
      if (connection->fd.valid()) leaveOrderLimit(slot, *connection), maybeFinish(slot);
    }
  }
}

void Reactor::releaseHeld(uint32_t slot) {
  Connection& connection = table_.at(slot);
  while (connection.fd.valid() && connection.window() && connection.window()->headHasParts()) {
    if (defersHeld(slot)) return;
    bool settled = false;
    for (const ReplyPart& part : connection.window()->takeHeadParts()) {
      budget_.spend(part.bytes.size());
      if (!connection.fd.valid()) {
        exchange_->giveCredit(part.worker, part.creditToken, part.credit, true);
        continue;
      }
      emitPart(slot, connection, part.bytes, part.flags, part.worker, part.credit, part.creditToken);
      connection.set(Connection::kHeadStarted);
      if (part.flags & Reply::kLast) settled = true;
      if ((part.flags & Reply::kLast) && !(part.flags & kInlinePart)) settledOne(connection);
    }
    if (!settled || !connection.fd.valid()) break;
    advanceOrder(slot, connection);
  }
  if (!connection.fd.valid()) return;
  if (connection.window() && connection.window()->empty()) connection.extras->window.reset();
  leaveOrderLimit(slot, connection);
  maybeFinish(slot);
}

void Reactor::advanceOrder(uint32_t slot, Connection& connection) {
  ++connection.headSequence;
  connection.unset(Connection::kHeadStarted);
  if (connection.extras) advanceWindow(slot);
}

void Reactor::advanceWindow(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (connection.aside()) lookAside();  // the next head may be one that was set aside
  if (!connection.window()) return;
  connection.window()->advance();
  if (connection.window()->between.empty()) return;
  const std::vector<uint8_t> between = std::move(connection.window()->between);
  connection.window()->between.clear();
  // The reply that they waited behind may have been the last one.
  if (mayWrite(connection, Writer::kHook)) append(slot, connection, between);
}

void Reactor::onUnordered(uint32_t slot, const Reply& reply, std::span<const uint8_t> bytes) {
  Connection& connection = table_.at(slot);
  const bool last = (reply.flags & Reply::kLast) != 0;
  OrderWindow* window = connection.window();
  if (window && window->streaming != OrderWindow::kNobody && window->streaming != reply.sequence) {
    counters_.repliesHeld.add(1);
    window->holdUnordered(reply, bytes);
    account(slot);
    if (connection.waitingBytes() > config(connection).outHighBytes) pauseByOutput(slot);
    return;
  }
  if (last) settledOne(connection);
  emitPart(slot, connection, bytes, reply.flags, reply.worker, reply.credit, reply.creditToken);
  if (!connection.fd.valid()) return;
  if (!last) {
    windowOf(connection).streaming = reply.sequence;
    return connection.set(Connection::kHeadStarted);
  }
  if (window) flushUnordered(slot);
  if (!connection.fd.valid()) return;
  leaveOrderLimit(slot, connection);
  maybeFinish(slot);
}

void Reactor::flushUnordered(uint32_t slot) {
  Connection& connection = table_.at(slot);
  OrderWindow& window = *connection.window();
  window.streaming = OrderWindow::kNobody;
  connection.unset(Connection::kHeadStarted);
  if (!window.between.empty()) {
    const std::vector<uint8_t> between = std::move(window.between);
    window.between.clear();
    if (mayWrite(connection, Writer::kHook)) append(slot, connection, between);
  }
  releaseUnordered(slot);
}

void Reactor::releaseUnordered(uint32_t slot) {
  Connection& connection = table_.at(slot);
  OrderWindow& window = *connection.window();
  while (connection.fd.valid() && !window.unordered.empty()) {
    if (defersHeld(slot)) return;
    const uint64_t sequence = window.unordered.front().sequence;
    bool settled = false;
    for (const ReplyPart& part : window.takeUnordered()) {
      if (!connection.fd.valid()) break;
      budget_.spend(part.bytes.size());
      emitPart(slot, connection, part.bytes, part.flags, part.worker, part.credit, part.creditToken);
      if (!(part.flags & Reply::kLast)) continue;
      settled = true;
      settledOne(connection);
    }
    if (!connection.fd.valid()) return;
    if (!settled) {
      window.streaming = sequence;
      connection.set(Connection::kHeadStarted);
      return;
    }
  }
  if (connection.fd.valid()) connection.extras->window.reset();
}

void Reactor::emitPart(uint32_t slot, Connection& connection, std::span<const uint8_t> bytes, uint16_t flags, uint16_t worker,
                       uint32_t credit, uint32_t token) {
  if (!mayWrite(connection, Writer::kReply)) {
    // The end came before this in the order: nothing follows it.
    if (flags & Reply::kLast) counters_.repliesLate.add(1);
    return exchange_->giveCredit(worker, token, credit, true);
  }
  append(slot, connection, bytes);
  if ((flags & Reply::kLast) && !(flags & kInlinePart)) counters_.repliesWritten.add(1);
  if (credit != 0) {
    if (connection.out.size() <= config(connection).outHighBytes) {
      exchange_->giveCredit(worker, token, credit, losesOutput(connection));
    } else {
      if (!connection.creditsDue()) connection.needExtras().creditsDue = std::make_unique<std::vector<ReplyPart>>();
      connection.creditsDue()->push_back({{}, 0, worker, credit, token});
    }
  }
  if (flags & (Reply::kDestroy | Reply::kEnd)) endAsSaid(slot, connection, flags);
}

void Reactor::endAsSaid(uint32_t slot, Connection& connection, uint16_t flags) {
  if (!(flags & Reply::kDestroy)) {
    if (flags & Reply::kError) connection.endReason = CloseReason::kHandlerError;
    return connection.set(Connection::kEnding | Connection::kEndSaid);
  }
  const CloseReason reason = flags & Reply::kOverloaded ? CloseReason::kOverloaded
                             : flags & Reply::kTimedOut ? CloseReason::kTaskTimeout
                             : flags & Reply::kLost     ? CloseReason::kTaskLost
                             : flags & Reply::kError    ? CloseReason::kParseError
                                                        : CloseReason::kDestroyed;
  if (reason != CloseReason::kDestroyed) return endAsFailed(slot, reason);
  (void)destroy(slot, connection.generation, reason);
}

// ---------------------------------------------------------------- writes of the hooks

Reactor::WriteResult Reactor::write(uint32_t slot, uint32_t generation, std::span<const uint8_t> bytes, Place place,
                                    Writer writer) {
  Connection* connection = find(slot, generation);
  if (!connection || !mayWrite(*connection, writer)) return WriteResult::kGone;
  if (!admits(slot, bytes.size(), writer == Writer::kHook ? Admits::kOneOfEach : Admits::kOne)) return WriteResult::kGone;
  const bool waitsForOrder =
      place == Place::kInOrder && !config(*connection).unordered && connection->headSequence != connection->nextSequence;
  if (waitsForOrder) {
    OrderWindow& window = windowOf(*connection);
    const uint64_t last = connection->nextSequence - 1 - connection->headSequence;
    if (!window.joinInline(last, bytes)) {
      window.holdInline(last + 1, bytes, Reply::kLast | kInlinePart);
      ++connection->nextSequence;
    }
  } else if (connection->has(Connection::kHeadStarted)) {
    auto& between = windowOf(*connection).between;
    between.insert(between.end(), bytes.begin(), bytes.end());
  } else {
    append(slot, *connection, bytes);
  }
  account(slot);
  return roomLeft(slot);
}

// Those of one connection that lie one behind the other go together. Behind the hooks nothing is added to them any more, and they
// leave from where they lie.
void Reactor::takeWriteBox(bool behindHooks) {
  const uint32_t count = std::min(std::exchange(writeBox_->count, 0), WriteBox::kRows);
  BoxRows rows(writeBox_->bytes);
  for (uint32_t i = 0; i < count;) {
    const WriteBox::Row row = writeBox_->rows[i++];
    auto bytes = rows.next(row.offset, row.length);
    if (!bytes) {
      closeCorrupt(row.slot, row.generation);
      continue;
    }
    bool corrupt = false;
    for (; i < count && !corrupt; ++i) {
      const WriteBox::Row& next = writeBox_->rows[i];
      if (next.slot != row.slot || next.generation != row.generation) break;
      const auto more = rows.next(next.offset, next.length);
      if (more) bytes = {bytes->data(), bytes->size() + more->size()};
      corrupt = !more;
    }
    if (behindHooks) {
      writeNow(row.slot, row.generation, *bytes);
    } else {
      if (!find(row.slot, row.generation)) countLateCall();
      (void)write(row.slot, row.generation, *bytes, Place::kInOrder);
    }
    if (corrupt) closeCorrupt(row.slot, row.generation);
  }
}

// Whom a corrupt row of a box names may have lost bytes. It closes, rather than go on with a hole in what it is sent, or with
// bytes of somebody else.
void Reactor::closeCorrupt(uint32_t slot, uint32_t generation) {
  const Connection* connection = table_.find(slot, generation);
  if (connection && connection->fd.valid()) closeNow(slot, CloseReason::kSystem, EBADMSG);
}

// In order, and without waiting for the end of the turn where nothing is before it.
void Reactor::writeNow(uint32_t slot, uint32_t generation, std::span<const uint8_t> bytes) {
  Connection* connection = table_.find(slot, generation);
  if (!connection || !connection->fd.valid()) return countLateCall();
  const bool isNext = config(*connection).unordered || connection->headSequence == connection->nextSequence;
  if (!isNext || connection->window() || !mayWrite(*connection, Writer::kHook) || !passesOutBuffer(*connection)) {
    (void)write(slot, generation, bytes, Place::kInOrder);
    return;
  }
  const size_t left = sendNow(slot, *connection, bytes);
  if (!connection->fd.valid() || left == bytes.size() || connection->isBroken()) return;
  (void)write(slot, generation, bytes.subspan(left), Place::kInOrder);
  if (connection->fd.valid()) awaitRoom(slot);
}

// Only where it passesOutBuffer(). How many bytes the socket took; it may have closed the connection.
size_t Reactor::sendNow(uint32_t slot, Connection& connection, std::span<const uint8_t> bytes) {
  const Result<size_t> sent = sock::send(connection.fd.get(), bytes.data(), bytes.size());
  if (!sent.ok()) {
    if (sent.error != EAGAIN && sent.error != EWOULDBLOCK) failedToSend(slot, sent.error);
    return 0;
  }
  budget_.spend(TurnBudget::kSyscallBytes + sent.value);
  connection.bytesWritten += sent.value;
  counters_.bytesWritten.add(sent.value);
  connection.lastActivity = nowMs_;
  return sent.value;
}

// Whether what the peer has sent before is still owed does not depend on who has noticed first that it is gone.
void Reactor::failedToSend(uint32_t slot, int error) {
  const bool isGone =
      error == EPIPE || error == ECONNRESET || error == ETIMEDOUT || error == EHOSTUNREACH || error == ENETUNREACH;
  // Anything else leaves a socket that could send what comes next, with a hole before it.
  if (!isGone) return closeNow(slot, CloseReason::kReset, error);
  onBroken(slot, error, true);
}

// The socket is full: epoll says when it takes more, and asking it again in this turn would only cost a syscall.
void Reactor::awaitRoom(uint32_t slot) {
  Connection& connection = table_.at(slot);
  connection.unset(Connection::kDirty);
  connection.setSendingSinceMs(nowMs_);
  hastenDeadline(slot);
  updateInterest(slot);
}

bool Reactor::end(uint32_t slot, uint32_t generation, Place place) {
  Connection* connection = find(slot, generation);
  if (!connection) return false;
  if (place == Place::kInOrder && !config(*connection).unordered && connection->headSequence != connection->nextSequence) {
    windowOf(*connection)
        .holdInline(connection->nextSequence - connection->headSequence, {}, Reply::kLast | Reply::kEnd | kInlinePart);
    ++connection->nextSequence;
    return true;
  }
  if (connection->has(Connection::kPiped)) closePipe(slot, CloseReason::kEnd);
  connection->set(Connection::kEnding);
  if (connection->inFlight == 0) connection->set(Connection::kEndSaid);
  ended_.push_back(slot);
  requestTurn();
  return true;
}

Reactor::Submitted Reactor::submit(uint32_t slot, uint32_t generation, std::span<const uint8_t> frame, Task::Flags flags,
                                   uint64_t* sequence) {
  const bool isRun = (flags & Task::kRun) != 0;
  Connection* connection = find(slot, generation);
  // The result of a call is for the hook that made it. Any other one would be put on the connection.
  if (!connection || !(isRun || isOwnedByHooks(*connection))) return Submitted::kGone;
  // Calls have numbers of their own: their results have no place in the order.
  *sequence = isRun ? nextRun_ : connection->nextSequence;
  TaskRef task(Task::create({idOf(slot), *sequence, connection->listener, flags, connection->peer}, 1, frame.size(), &recycler_));
  task->append(frame);
  task->setRoom(roomOf(config(*connection)));
  task->queuedAtNs = nowMs_ * 1'000'000;
  task->retain();
  if (!overflow_.empty() || !exchange_->submit(task.get())) {
    task->release();
    const bool waits = exchange_->options().onQueueFull == QueueFull::kPause;
    if (!waits && isRun) return Submitted::kFull;
    task->retain();
    if (!waits && refuseTask(slot, task.get())) {
      requestTurn();
      return Submitted::kDone;
    }
    task->release();
    if (!connection->fd.valid()) return Submitted::kGone;
    overflow_.push_back(task);
    if (!connection->has(Connection::kPausedByQueue)) {
      counters_.pausesByQueue.add(1);
      pauseFor(slot, Connection::kPausedByQueue);
      stopped_.emplace_back(slot, generation);
    }
    waitsForQueue_ = true;
    exchange_->stopUntilLow(exchange_->reactorMailbox(index_));
  }
  if (isRun) {
    ++nextRun_;
    retain(*connection);
  } else {
    ++connection->nextSequence;
  }
  ++connection->inFlight;
  connection->inFlightBytes += frame.size();
  counters_.framesSubmitted.add(1);
  if (stallCheckAtMs_ == 0 && exchange_->workers() > 1) stallCheckAtMs_ = nowMs_ + kStallCheckMs;
  checkOrderLimit(slot);
  return Submitted::kDone;
}

bool Reactor::defer(uint32_t slot, uint32_t generation, uint64_t* sequence) {
  Connection* connection = find(slot, generation);
  if (!connection || !isOwnedByHooks(*connection)) return false;
  *sequence = connection->nextSequence++;
  ++connection->inFlight;
  retain(*connection);
  checkOrderLimit(slot);
  return true;
}

Reactor::WriteResult Reactor::settleDeferred(uint32_t slot, uint32_t generation, uint64_t sequence,
                                             std::span<const uint8_t> bytes, uint16_t flags) {
  Connection* connection = find(slot, generation);
  if (!connection || !admits(slot, bytes.size(), Admits::kOneOfEach)) return WriteResult::kGone;
  Reply reply;
  reply.connection = idOf(slot);
  reply.sequence = sequence;
  reply.length = static_cast<uint32_t>(bytes.size());
  reply.flags = flags;
  // Its end came before this.
  const bool refused = !mayWrite(*connection, Writer::kReply);
  if (flags & Reply::kLast) release(slot);
  onReply(reply, bytes);
  requestTurn();
  return connection->fd.valid() && !refused ? roomLeft(slot) : WriteResult::kGone;
}

void Reactor::onSend(std::unique_ptr<Message> message) {
  const Send& send = static_cast<Send&>(*message);
  auto result = std::make_unique<SendResult>();
  result->request = send.request;
  uint32_t slot;
  Connection* connection = locate(send.connection, &slot);
  if (!connection && exchange_->directory().owner(send.connection)) return forward(send.connection, std::move(message));
  if (send.destroys) {
    if (connection && destroy(slot, connection->generation, CloseReason::kDestroyed)) result->outcome = SendOutcome::kSent;
    return exchange_->mailbox(send.replyTo).send(std::move(result));
  }
  counters_.sends.add(1);
  if (connection && mayWrite(*connection, Writer::kSend) && !connection->isBroken()) {
    if (!admits(slot, send.data.size(), Admits::kOne)) {
      result->outcome = SendOutcome::kFull;
    } else {
      (void)write(slot, connection->generation, send.data, Place::kBetween, Writer::kSend);
      if (connection->fd.valid() && outBudget_.left()) flushConnection(slot);
      const bool empty = connection->fd.valid() && connection->waitingBytes() == 0;
      result->outcome = !connection->fd.valid() || connection->isBroken() ? SendOutcome::kGone
                        : empty                                           ? SendOutcome::kSent
                                                                          : SendOutcome::kBuffered;
    }
  }
  exchange_->mailbox(send.replyTo).send(std::move(result));
}

// ---------------------------------------------------------------- the socket

void Reactor::append(uint32_t slot, Connection& connection, std::span<const uint8_t> bytes) {
  if (bytes.empty()) return;
  if (connection.isBroken()) return writeInVain(slot);
  connection.out.append(bytes.data(), bytes.size());
  markDirty(slot);
  // The interest follows when the flush has shown what is left.
  if (connection.waitingBytes() > config(connection).outHighBytes) markPausedByOutput(slot);
}

void Reactor::markPausedByOutput(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (connection.waitingBytes() >= roomOf(config(connection)) && !connection.has(Connection::kPiped | Connection::kStreamed)) {
    (void)asideOf(slot);
  }
  // Piped, each direction stops alone: a peer that does not read may be waiting for us to read.
  // So does a stream: its input meanwhile may make its peer read.
  if (connection.has(Connection::kPausedByOutput | Connection::kPiped | Connection::kStreamed)) return;
  counters_.pausesByPeer.add(1);
  connection.set(Connection::kPausedByOutput);
  connection.needExtras().passes = connection.heldForFrames();
}

void Reactor::pauseByOutput(uint32_t slot) {
  markPausedByOutput(slot);
  updateInterest(slot);
}

void Reactor::flushConnection(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid()) return;
  if (connection.secure()) handPlain(slot);
  if (!connection.fd.valid()) return;
  OutBuffer& wire = connection.wire();
  if (!wire.empty()) {
    const Result<size_t> sent = wire.flush(connection.fd.get(), kFlushBytes);
    if (!sent.ok()) return failedToSend(slot, sent.error);
    outBudget_.spend(TurnBudget::kSyscallBytes + sent.value);
    if (sent.value >= kFlushBytes && !wire.empty()) markDirty(slot);  // the socket may take more, in the next turn
    connection.bytesWritten += sent.value;
    counters_.bytesWritten.add(sent.value);
    if (sent.value != 0) touch(slot);
    if (wire.empty()) {
      connection.setSendingSinceMs(0);
    } else if (sent.value != 0 || connection.sendingSinceMs() == 0) {
      connection.setSendingSinceMs(nowMs_);
      hastenDeadline(slot);
    }
  }
  if (connection.secure() && mayHandPlain(connection)) markDirty(slot);
  account(slot);
  // The head of the order counts only the bytes that the peer has not taken: replies held behind it wait for it.
  const size_t held = connection.window() ? connection.window()->heldBytes() : 0;
  if (connection.aside() && connection.waitingBytes() - held < roomOf(config(connection))) lookAside();
  afterFlush(slot);
}

void Reactor::afterFlush(uint32_t slot) {
  Connection& connection = table_.at(slot);
  const ListenerConfig& cfg = config(connection);
  if (connection.subscriptions() && connection.subscriptions()->latestBytes != 0 && connection.out.size() <= cfg.outLowBytes) {
    subscribers_.releaseLatest(slot);
  }
  if (connection.waitingBytes() <= cfg.outLowBytes) {
    // Frames set aside come first: letGoSome() goes on reading behind it.
    if (connection.aside()) {
      lookAside();
    } else if (connection.has(Connection::kPausedByOutput)) {
      resumeFrom(slot, Connection::kPausedByOutput);
    }
    if (connection.has(Connection::kPiped)) resumeFrom(connection.extras->pipe, Connection::kPausedByPipe);
  }
  if (connection.has(Connection::kWantsDrain) && isDrained(connection) && !losesOutput(connection)) {
    connection.unset(Connection::kWantsDrain);
    if (hooksOf(connection) & kHookDrain) {
      emit(Event::kDrain, slot);
      requestTurn();
    }
  }
  if (connection.creditsDue() && connection.out.size() <= cfg.outLowBytes) {
    for (const ReplyPart& part : *connection.creditsDue())
      exchange_->giveCredit(part.worker, part.creditToken, part.credit, false);
    connection.extras->creditsDue.reset();
  }
  updateInterest(slot);
  maybeFinish(slot);
}

}  // namespace mr
