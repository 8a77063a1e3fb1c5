// From the socket to whole frames: receiving, cutting, handing frames to the task queue or to the hooks, and stopping when
// one of those is full.
#include <algorithm>

#include "base/clock.h"
#include "base/fatal.h"
#include "codec/websocket.h"
#include "net/socket.h"
#include "reactor/reactor.h"

namespace mr {

void Reactor::onReadable(uint32_t slot, Connection& connection) {
  if (connection.span != 0 || connection.has(Connection::kHasPending)) return;  // the last bytes come first
  // Stopped since epoll was asked: an end that is read now would come before the frames that wait.
  if (connection.has(Connection::kPausedMask)) return updateInterest(slot);
  if (memory_.refusesInput(nowMs_)) return closeNow(slot, CloseReason::kMemoryLimit);
  if (connection.has(Connection::kPiped)) return receiveForPipe(slot);
  if (connection.has(Connection::kAwaitsProxy)) return receiveProxyHeader(slot);
  if (connection.has(Connection::kEnding | Connection::kDraining)) return receiveToDiscard(slot);
  if (connection.secure()) return receiveCipher(slot);
  if (goesToPool(connection)) {
    receiveForPool(slot, connection);
  } else {
    receiveForHooks(slot, connection);
  }
}

namespace {

CloseReason reasonOf(FrameError error) {
  return error == FrameError::kTooLarge ? CloseReason::kFrameTooLarge : CloseReason::kMalformed;
}

}  // namespace

// A socket that has failed may say its error only once, and what follows looks like an end.
Result<size_t> Reactor::failedToReceive(uint32_t slot, Result<size_t> received) {
  Connection& connection = table_.at(slot);
  const bool again = !received.ok() && (received.error == EAGAIN || received.error == EWOULDBLOCK);
  if (again && !connection.isBroken()) return received;
  if (received.ok() && !connection.extras->broken.cutsOff()) return received;
  connection.needExtras().broken.emptied = true;
  onBroken(slot, again || received.ok() ? 0 : received.error, false);
  return Result<size_t>::failure(ECONNRESET);
}

// value 0 with ok(): the peer has finished. EAGAIN comes back as an error; anything worse has closed the connection.
Result<size_t> Reactor::receiveInto(uint32_t slot, Connection& connection, std::span<uint8_t> room) {
  const Result<size_t> received = sock::receive(connection.fd.get(), room.data(), room.size());
  if (!received.ok() || received.value == 0) {
    if (!received.ok() || connection.isBroken()) return failedToReceive(slot, received);
  }
  budget_.spend(TurnBudget::kSyscallBytes + received.value);
  connection.bytesRead += received.value;
  connection.onlyHeader = false;
  counters_.bytesRead.add(received.value);
  connection.lastActivity = nowMs_;
  return received;
}

namespace {

// Nothing is left behind a frame, and what a framing without a state says of nothing is known.
bool saysNothingMore(const FramingConfig& framing, size_t used, size_t size) {
  return used != 0 && used == size && !remembers(framing.kind);
}

// Large frames are received in larger steps, but never allocated on the word of a header.
size_t roomFor(const InBuffer& in) {
  constexpr size_t kLeast = 4 << 10, kMost = 256 << 10;
  return std::clamp(in.needed > in.size() ? in.needed - in.size() : kLeast, kLeast, kMost);
}

}  // namespace

// ---------------------------------------------------------------- the way to the pool

void Reactor::receiveForPool(uint32_t slot, Connection& connection) {
  if (!connection.in) {
    const bool inSlab = config(connection).run != Run::kPool;
    if (inSlab && !batch_.ensureRoom(EventBatch::kLeastRoom)) return;
    const std::span<uint8_t> room = inSlab ? batch_.room(kReadBytes) : std::span(scratch_);
    const Result<size_t> received = receiveInto(slot, connection, room);
    if (!received.ok()) return;
    if (received.value == 0) return onReadEnd(slot);
    const size_t parses = batch_.parses();
    const size_t used = cutForPool(slot, room.data(), received.value, inSlab);
    // What no frame of a hook lies in is received into once more.
    if (inSlab && batch_.parses() != parses) batch_.use(received.value);
    keepRest(slot, room.data() + used, received.value - used);
    return;
  }
  InBuffer& in = *connection.in;
  const std::span<uint8_t> room = in.reserve(roomFor(in));
  const Result<size_t> received = receiveInto(slot, connection, room.first(std::min(room.size(), roomFor(in))));
  if (!received.ok()) return;
  if (received.value == 0) return onReadEnd(slot);
  in.added(received.value);
  if (in.size() < in.needed) return;
  cutKeptForPool(slot);
}

// The bytes in the connection's in buffer.
void Reactor::cutKeptForPool(uint32_t slot) {
  Connection& connection = table_.at(slot);
  const size_t used = cutForPool(slot, connection.in->data(), connection.in->size(), false);
  if (!connection.in) return;  // nothing behind a bad frame is kept
  connection.in->consume(used);
  if (used != 0) connection.receivingSince = nowMs_;
  keepRest(slot, nullptr, 0);
}

// Returns how many bytes were used.
size_t Reactor::cutForPool(uint32_t slot, const uint8_t* data, size_t size, bool inSlab) {
  Connection& connection = table_.at(slot);
  const ListenerConfig& cfg = config(connection);
  const FramingConfig& framing = framings_[connection.framing];
  size_t used = 0, groupStart = 0, groupBytes = 0, hint = connection.in ? connection.in->hint : 0;
  uint64_t groupCost = 0;
  uint32_t cutFrames = 0;
  bool stopped = false;  // whole frames may be left, because something is full
  bool submitted = true;
  uint64_t state = connection.framerState(), groupState = state;
  FrameCut last;  // the answer that was no frame
  std::vector<std::span<const uint8_t>>& group = group_;
  group.clear();

  const auto submitGroup = [&] {
    if (group.empty()) return true;
    Task* task = Task::create({idOf(slot), connection.nextSequence, connection.listener, Task::kNone, connection.peer},
                              static_cast<uint32_t>(group.size()), groupBytes, &recycler_);
    for (const auto& frame : group) task->append(frame);
    task->costNs = groupCost;
    task->setRoom(roomOf(cfg));
    if (!submitTask(slot, task)) {
      task->release();
      used = groupStart;
      state = groupState;
      return false;
    }
    groupStart = used;
    groupState = state;
    groupBytes = groupCost = 0;
    group.clear();
    return true;
  };

  for (;;) {
    if (cutFrames == kMaxFramesPerTurn ||
        reachesLimit(cfg, connection.inFlight + static_cast<uint32_t>(group.size()), connection.inFlightBytes + groupBytes)) {
      stopped = true;
      break;
    }
    if (saysNothingMore(framing, used, size)) break;
    const FrameCut cut = nextFrame(framing, data + used, size - used, hint, state);
    hint = 0;
    if (cut.kind != FrameCut::Kind::kFrame) {
      last = cut;
      break;
    }
    const std::span<const uint8_t> frame(data + used + cut.offset, cut.length);
    const CostTable::Key key = CostTable::keyOf(connection.listener, cut.length);
    ++cutFrames;
    if (runsHere(cfg, key)) {
      if (!(submitted = submitGroup())) break;
      if (!emitParse(slot, frame, key, inSlab)) {
        connection.setFramerState(state);
        addPending(slot);
        return used;
      }
      state = groupState = cut.state;
      connection.unset(Connection::kPrompted);
      used += cut.consumed;
      groupStart = used;
      continue;
    }
    const uint64_t cost = exchange_->costs().costNs(key);
    if (!group.empty() && (!Exchange::joins(group.size(), groupCost, cost) || groupBytes + cut.length > kMaxTaskBytes)) {
      if (!(submitted = submitGroup())) break;
    }
    state = cut.state;
    connection.unset(Connection::kPrompted);
    group.push_back(frame);
    groupBytes += cut.length;
    groupCost += cost;
    used += cut.consumed;
  }
  if (submitted) submitted = submitGroup();
  budget_.spend(used + cutFrames * TurnBudget::kUnitBytes);
  connection.setFramerState(state);
  if (!submitted) return used;
  if (!stopped && last.kind == FrameCut::Kind::kError) {
    refuseForPool(slot, reasonOf(last.error), last.code);
    return size;
  }
  if (stopped) {
    if (reachesLimit(cfg, connection.inFlight, connection.inFlightBytes)) {
      pauseFor(slot, Connection::kPausedByOrder);
    } else {
      addPending(slot);
    }
  } else {
    neededOfRest_ = last.needed;
    hintOfRest_ = last.scanned;
    promptPeer(slot, last.prompt);
  }
  return used;
}

// False when the queue is full: the connection is paused or closed, and the task stays the caller's.
bool Reactor::submitTask(uint32_t slot, Task* task) {
  task->queuedAtNs = nowMs_ * 1'000'000;
  // Read before it is queued: a worker may have freed it by the time that submit() returns.
  const Load load{task->frames(), task->bytes()};
  if (!overflow_.empty() || !exchange_->submit(task, wakesAtOnce(*task))) {
    if (exchange_->options().onQueueFull != QueueFull::kPause && refuseTask(slot, task)) return true;
    if (!table_.at(slot).fd.valid()) return false;
    counters_.pausesByQueue.add(1);
    pauseFor(slot, Connection::kPausedByQueue);
    stopped_.emplace_back(slot, table_.at(slot).generation);
    waitsForQueue_ = true;
    exchange_->stopUntilLow(exchange_->reactorMailbox(index_));
    return false;
  }
  Connection& connection = table_.at(slot);
  connection.nextSequence += load.frames;
  countSubmitted(slot, load);
  return true;
}

// A wake-up costs about as much as a cheap frame, and where the threads share a core it takes the core from us: the frames of
// a turn share one. Dear ones do not wait for each other.
bool Reactor::wakesAtOnce(const Task& task) {
  const uint64_t cost = task.costNs / task.frames();
  if (inTurn_ && cost != 0 && cost < kCheapNs && ++unwoken_ < kMostUnwoken) return false;
  unwoken_ = 0;
  return true;
}

void Reactor::wakeForTurn() {
  if (unwoken_ == 0) return;
  unwoken_ = 0;
  exchange_->wakeForWork();
}

void Reactor::countSubmitted(uint32_t slot, const Load& load) {
  Connection& connection = table_.at(slot);
  connection.inFlight += load.frames;
  connection.inFlightBytes += load.bytes;
  counters_.framesRead.add(load.frames);
  counters_.framesSubmitted.add(load.frames);
  // Frames claimed behind a slow one have to be noticed by somebody who is not busy.
  if (stallCheckAtMs_ == 0 && exchange_->workers() > 1) stallCheckAtMs_ = nowMs_ + kStallCheckMs;
}

// There is no room for it: the app says so in its own words, or the connection closes. False when it closed, or when even the
// refused ones are too many.
bool Reactor::refuseTask(uint32_t slot, Task* task) {
  const Load load{task->frames(), task->bytes()};
  if (exchange_->options().onQueueFull == QueueFull::kClose || !config(table_.at(slot)).answersOverload) {
    counters_.framesShed.add(load.frames);
    closeNow(slot, CloseReason::kOverloaded);
    return false;
  }
  if (!exchange_->submitRefused(task)) return false;
  table_.at(slot).nextSequence += load.frames;
  countSubmitted(slot, load);
  return true;
}

// ---------------------------------------------------------------- the way to the hooks

void Reactor::receiveForHooks(uint32_t slot, Connection& connection) {
  if (connection.in) {
    InBuffer& in = *connection.in;
    const std::span<uint8_t> room = in.reserve(roomFor(in));
    const Result<size_t> received = receiveInto(slot, connection, room.first(std::min(room.size(), roomFor(in))));
    if (!received.ok()) return;
    if (received.value == 0) return onReadEnd(slot);
    in.added(received.value);
    if (in.size() >= in.needed) cutForHooks(slot, connection, in.data(), in.size(), true);
    return;
  }
  if (!batch_.ensureRoom(EventBatch::kLeastRoom)) return;
  const std::span<uint8_t> room = batch_.room(kReadBytes);
  const Result<size_t> received = receiveInto(slot, connection, room);
  if (!received.ok()) return;
  if (received.value == 0) return onReadEnd(slot);
  batch_.use(received.value);
  cutForHooks(slot, connection, room.data(), received.value, false);
}

namespace {

uint16_t inUnits(size_t waiting) {
  return static_cast<uint16_t>(std::min<size_t>((waiting + kWaitingUnit - 1) / kWaitingUnit, UINT16_MAX));
}

}  // namespace

void Reactor::cutForHooks(uint32_t slot, Connection& connection, const uint8_t* data, size_t size, bool fromInBuffer) {
  const FramingConfig& framing = framings_[connection.framing];
  Span& span = spans_.emplace_back(slot, connection, std::span(data, size), fromInBuffer);
  connection.span = static_cast<uint32_t>(spans_.size());
  if (framing.kind == FramingKind::kCustom) {
    const size_t held = fromInBuffer ? connection.in->held : 0;
    span.held = held;
    if (!emitBytes(Event::kReceived, slot, {data + held, size - held}, held, !fromInBuffer)) {
      connection.span = 0;
      spans_.pop_back();
      addPending(slot);
    }
    return;
  }
  size_t used = 0;
  size_t hint = fromInBuffer ? connection.in->hint : 0;
  const uint32_t most = fromInBuffer ? std::min(connection.in->atOnce, kMaxFramesPerTurn) : kMaxFramesPerTurn;
  uint32_t frames = 0;
  const bool masked = framing.kind == FramingKind::kWebSocket;
  const bool staysInSlab = !fromInBuffer && !masked;
  const uint16_t waiting = inUnits(connection.waitingBytes());  // no hook runs meanwhile
  for (;;) {
    if (frames == most || frames == rowsEach_) {
      addPending(slot);
      break;
    }
    const FrameCut cut = nextFrame(framing, data + used, size - used, hint, span.stateBehind);
    hint = 0;
    if (cut.kind == FrameCut::Kind::kPartial) {
      span.needed = cut.needed;
      span.hint = cut.scanned;
      span.prompt = cut.prompt;
      break;
    }
    if (cut.kind == FrameCut::Kind::kError) {
      span.ends = true;
      span.reason = reasonOf(cut.error);
      emitBadFrame(slot, span.reason, cut.code, size);
      used = size;
      break;
    }
    const std::span<const uint8_t> frame(data + used + cut.offset, cut.length);
    const size_t rawEnd = used + cut.consumed;
    if (staysInSlab) {
      batch_.add({Event::kFrame, waiting, slot, connection.generation, batch_.slab(), batch_.offsetOf(frame.data()),
                  static_cast<uint32_t>(cut.length), static_cast<uint32_t>(rawEnd), cut.info});
    } else {
      if (!emitBytes(Event::kFrame, slot, frame, rawEnd, !fromInBuffer, masked ? &cut.mask : nullptr)) {
        addPending(slot);
        break;
      }
      batch_.last().e = cut.info | (masked && batch_.wasAscii() ? uint32_t{kWebSocketAscii} : 0);
      batch_.last().waiting = waiting;
    }
    used = rawEnd;
    span.stateBehind = cut.state;
    connection.unset(Connection::kPrompted);
    ++frames;
    if (saysNothingMore(framing, used, size)) break;
  }
  span.consumed = span.cut = used;
  span.frames = frames;
  const uint32_t counted = fromInBuffer ? connection.in->counted : 0;
  span.counted = std::max(counted, frames);
  if (frames > counted) counters_.framesRead.add(frames - counted);
  // Received bytes have counted already; a copy out of the in buffer counts again.
  if (fromInBuffer) budget_.spend(used);
}

void Reactor::stopAtCurrent(Connection& connection, uint32_t rawEnd) {
  if (connection.span == 0 || rawEnd == kOutsideMessage) return;
  Span& span = spans_[connection.span - 1];
  span.consumed = std::min<size_t>(rawEnd, span.length);
  span.needed = span.hint = 0;
  span.ends = false;  // frames cut behind this one have not been seen yet
  span.prompt = {};
  connection.set(Connection::kStopAtCurrent);
}

bool Reactor::consumed(uint32_t slot, uint32_t generation, uint32_t bytes, uint32_t needed, bool holds) {
  Connection* connection = find(slot, generation);
  if (!connection || connection->span == 0) return false;
  Span& span = spans_[connection->span - 1];
  span.consumed = std::min<size_t>(bytes, span.length);
  span.needed = needed;
  span.held = holds ? span.length - span.consumed : 0;
  return true;
}

bool Reactor::handBack(uint32_t slot, uint32_t generation, uint32_t rawEnd, uint32_t begun) {
  Connection* connection = find(slot, generation);
  if (!connection || connection->span == 0) return false;
  if (!handedBack_) rowsBegun_ = begun;
  handedBack_ = true;
  if (rawEnd == 0) untouched_.push_back(slot);
  stopAtCurrent(*connection, rawEnd);
  return true;
}

// Whose hooks have had nothing of the batch begin the next one.
void Reactor::untouchedFirst() {
  std::sort(untouched_.begin(), untouched_.end());
  std::stable_partition(pending_.begin(), pending_.end(),
                        [this](uint32_t slot) { return std::binary_search(untouched_.begin(), untouched_.end(), slot); });
  untouched_.clear();
}

// As after most messages: everything was taken, and nothing is known of the connection that somebody would have to look at.
bool Reactor::leavesNothing(const Span& span, const Connection& connection) {
  return span.consumed == span.length && !connection.in && !connection.extras && !span.ends && span.stateBehind == 0 &&
         span.state == 0 && span.prompt.empty() && !connection.has(Connection::kStopAtCurrent | Connection::kMayFinish);
}

// The hooks are through with this turn's bytes: the unread rest stays, in native memory.
void Reactor::finishSpans() {
  for (size_t i = 0; i < spans_.size(); ++i) {
    Connection* connection = table_.find(spans_[i].slot, spans_[i].generation);
    if (!connection) continue;
    connection->span = 0;
    if (!connection->fd.valid() || leavesNothing(spans_[i], *connection)) continue;
    const Span span = spans_[i];
    neededOfRest_ = span.needed;
    hintOfRest_ = span.hint;
    const bool stopped = connection->has(Connection::kStopAtCurrent);
    const Seen seen = seenOf(span);
    if (span.framing == connection->framing) connection->setFramerState(seen.state);
    maskAgain(span);
    if (span.fromInBuffer) {
      connection->in->consume(span.consumed);
      if (span.consumed != 0) connection->receivingSince = nowMs_;
      keepRest(span.slot, nullptr, 0);
    } else {
      keepRest(span.slot, span.base + span.consumed, span.length - span.consumed);
    }
    if (InBuffer* in = connection->in.get()) {
      in->atOnce = stopped ? std::max(seen.frames, 1u) : std::min(in->atOnce, kMaxFramesPerTurn) * 2;
      const bool same = span.framing == connection->framing;
      in->counted = same ? span.counted - seen.frames : 0;
      in->held = same ? span.held : 0;
    }
    if (span.ends) {
      endBehindFrames(span.slot, span.reason);
      continue;
    }
    promptPeer(span.slot, span.prompt);
    if (!connection->fd.valid()) continue;
    if (connection->has(Connection::kStopAtCurrent)) {
      connection->unset(Connection::kStopAtCurrent);
      if (connection->in && !connection->has(Connection::kPausedByUser)) addPending(span.slot);
    }
    maybeFinish(span.slot);
  }
  spans_.clear();
  if (!untouched_.empty()) untouchedFirst();
}

// ---------------------------------------------------------------- what is left over

void Reactor::keepRest(uint32_t slot, const uint8_t* data, size_t size) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid()) return;
  if (size != 0) {
    // The rest behind whole frames is the beginning of the next one.
    if (!connection.in) connection.receivingSince = nowMs_;
    if (!connection.in) connection.in = std::make_unique<InBuffer>();
    connection.in->append(data, size);
  }
  if (connection.in && connection.in->size() == 0) connection.in.reset();  // idle connections own no memory
  if (connection.in) {
    connection.in->needed = neededOfRest_;
    connection.in->hint = hintOfRest_;
  }
  neededOfRest_ = hintOfRest_ = 0;
  account(slot);
  if (connection.in || connection.framerState() != 0) hastenDeadline(slot);
}

void Reactor::addPending(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (connection.has(Connection::kHasPending)) return;
  connection.set(Connection::kHasPending);
  pending_.push_back(slot);
}

// Whole frames that an earlier turn left uncut.
void Reactor::cutPending() {
  std::vector<uint32_t> pending;
  pending.swap(pending_);
  for (size_t i = 0; i < pending.size(); ++i) {
    if (!takesMore()) {
      // They keep their places: connections cut in this turn come behind them.
      pending_.insert(pending_.begin(), pending.begin() + static_cast<ptrdiff_t>(i), pending.end());
      return;
    }
    budget_.spend();
    const uint32_t slot = pending[i];
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.has(Connection::kHasPending)) continue;
    if (connection.span != 0) {
      pending_.push_back(slot);  // its last bytes are with the hooks
      continue;
    }
    connection.unset(Connection::kHasPending);
    if (connection.secure() && connection.secure()->plainEnded) ended_.push_back(slot);
    if (!connection.fd.valid()) continue;
    if (!connection.in || connection.has(Connection::kEnding)) {
      maybeFinish(slot);  // it may have waited for just this
      continue;
    }
    if (connection.has(Connection::kPausedMask)) continue;   // resuming puts it on the list again
    if (connection.has(Connection::kAwaitsProxy)) continue;  // no frame begins before the header has ended
    if (connection.has(Connection::kPiped)) {
      forwardKept(slot);
      continue;
    }
    if (connection.secure() && !connection.secure()->begun) {
      emitEarlyCipher(slot);
      continue;
    }
    if (!goesToPool(connection)) {
      cutForHooks(slot, connection, connection.in->data(), connection.in->size(), true);
      continue;
    }
    cutKeptForPool(slot);
    maybeFinish(slot);
  }
}

// Frames before the bad one are still answered; nothing behind it is read.
void Reactor::endBehindFrames(uint32_t slot, CloseReason reason) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid()) return;
  connection.endReason = reason;
  connection.in.reset();
  connection.setFramerState(0);
  connection.set(Connection::kEnding);
  maybeFinish(slot);
}

void Reactor::emitBadFrame(uint32_t slot, CloseReason reason, uint16_t code, size_t rawEnd) {
  if (!(config(table_.at(slot)).hooks & kHookBadFrame)) return;
  emit(Event::kBadFrame, slot, static_cast<uint32_t>(reason), code, 0, static_cast<uint32_t>(rawEnd));
}

// The hook speaks between the end of reading and the end of the connection: its span keeps the connection until then.
void Reactor::refuseForPool(uint32_t slot, CloseReason reason, uint16_t code) {
  Connection& connection = table_.at(slot);
  if (connection.fd.valid() && (config(connection).hooks & kHookBadFrame)) {
    Span& span = spans_.emplace_back(slot, connection, std::span<const uint8_t>(), false);
    span.state = span.stateBehind = 0;  // nothing is cut behind this
    span.ends = true;
    span.reason = reason;
    connection.span = static_cast<uint32_t>(spans_.size());
    emitBadFrame(slot, reason, code, 0);
  }
  endBehindFrames(slot, reason);
}

// A frame that is not whole in time. True to a hook that can say so; without one it closes at once.
void Reactor::frameTimedOut(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!(config(connection).hooks & kHookBadFrame)) return closeNow(slot, CloseReason::kFrameTimeout);
  // The bytes of this turn are with the hooks, and may be just the missing ones.
  if (connection.span != 0) return startTimer(slot, nowMs_ + kFrameRetryMs);
  refuseForPool(slot, CloseReason::kFrameTimeout, 0);
}

// The peer waits for a word before it sends the rest of its frame. Said once, behind the replies to all frames before.
void Reactor::promptPeer(uint32_t slot, std::string_view prompt) {
  Connection& connection = table_.at(slot);
  if (prompt.empty() || connection.has(Connection::kPrompted) || !mayWrite(connection, Writer::kPrompt)) return;
  connection.set(Connection::kPrompted);
  const std::span<const uint8_t> bytes(reinterpret_cast<const uint8_t*>(prompt.data()), prompt.size());
  (void)write(slot, connection.generation, bytes, Place::kInOrder, Writer::kPrompt);
}

// Where a hook stopped in the middle, what was cut behind it does not count. A framer is pure: it says the same again.
Reactor::Seen Reactor::seenOf(const Span& span) const {
  const FramingConfig& framing = framings_[span.framing];
  if (framing.kind == FramingKind::kCustom) return {0, 0};
  if (span.consumed >= span.cut) return {span.frames, span.stateBehind};
  Seen seen{0, span.state};
  for (size_t used = 0; used < span.consumed;) {
    const FrameCut cut = nextFrame(framing, span.base + used, span.length - used, 0, seen.state);
    if (cut.kind != FrameCut::Kind::kFrame) break;
    used += cut.consumed;
    seen.state = cut.state;
    ++seen.frames;
  }
  return seen;
}

// Frames that were unmasked where they lie, and that no hook has seen, are cut again.
void Reactor::maskAgain(const Span& span) {
  const FramingConfig& framing = framings_[span.framing];
  if (framing.kind != FramingKind::kWebSocket || span.fromInBuffer || span.consumed >= span.cut) return;
  uint64_t state = span.state;
  for (size_t used = 0; used < span.cut;) {
    const FrameCut cut = nextFrame(framing, span.base + used, span.length - used, 0, state);
    if (cut.kind != FrameCut::Kind::kFrame) break;
    const uint8_t* payload = span.base + used + cut.offset;
    if (used >= span.consumed) (void)unmaskInto(const_cast<uint8_t*>(payload), payload, cut.length, cut.mask);
    used += cut.consumed;
    state = cut.state;
  }
}

void Reactor::onReadEnd(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (connection.has(Connection::kReadEnded)) return;
  connection.set(Connection::kReadEnded);
  updateInterest(slot);
  if (!connection.fd.valid()) return;
  if ((hooksOf(connection) & kHookEnd) && !connection.has(Connection::kEnding | Connection::kDraining)) emit(Event::kEnd, slot);
  // Frames of this turn may still lie in front of the hooks, and their answers count.
  ended_.push_back(slot);
}

void Reactor::finishEnded() {
  std::vector<uint32_t> ended;
  ended.swap(ended_);
  for (size_t i = 0; i < ended.size(); ++i) {
    if (!outBudget_.left()) {
      ended_.insert(ended_.begin(), ended.begin() + static_cast<ptrdiff_t>(i), ended.end());
      return;
    }
    outBudget_.spend();
    const uint32_t slot = ended[i];
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid()) continue;
    endPlain(slot);
    // Its hook has the next turn to answer, as behind the end of a socket.
    if (connection.secure() && connection.secure()->toldInTurn == counters_.turns.get()) continue;
    const bool stays = config(connection).allowHalfOpen || connection.has(Connection::kPiped | Connection::kStreamed);
    // A hook that is still at work may have an answer: release() comes back here.
    if (connection.has(Connection::kReadEnded) && !stays && !connection.heldByHooks()) connection.set(Connection::kEnding);
    maybeFinish(slot);
  }
}

// ---------------------------------------------------------------- stopping and going on

void Reactor::pauseFor(uint32_t slot, uint32_t reason) {
  table_.at(slot).set(reason);
  updateInterest(slot);
}

void Reactor::resumeFrom(uint32_t slot, uint32_t reason) {
  Connection& connection = table_.at(slot);
  if (!connection.has(reason)) return;
  connection.unset(reason);
  if (connection.isBroken()) listBroken(slot);
  if (connection.framerState() != 0) touch(slot);
  if (connection.secure() && connection.secure()->recordSinceMs != 0) connection.secure()->recordSinceMs = nowMs_;
  if (connection.secure() && connection.secure()->plainEnded) {
    ended_.push_back(slot);
    requestTurn();
  }
  if (connection.in) {
    connection.receivingSince = nowMs_;  // the time that we took is not the peer's
    addPending(slot);
    requestTurn();
  }
  updateInterest(slot);
}

void Reactor::resumeStopped() {
  if (!waitsForQueue_) return;
  TaskQueue& queue = exchange_->queue();
  if (!queue.low()) return exchange_->stopUntilLow(exchange_->reactorMailbox(index_));
  while (!overflow_.empty()) {
    if (!takesMore()) return void(leftWork_ = true);
    budget_.spend();
    Task* task = overflow_.front().get();
    task->retain();
    if (!exchange_->submit(task)) {
      task->release();
      return exchange_->stopUntilLow(exchange_->reactorMailbox(index_));
    }
    overflow_.pop_front();
  }
  while (!stopped_.empty()) {
    if (!takesMore()) return void(leftWork_ = true);
    budget_.spend(TurnBudget::kSyscallBytes);
    const auto [slot, generation] = stopped_.front();
    stopped_.pop_front();
    Connection* connection = table_.find(slot, generation);
    if (connection && connection->fd.valid()) resumeFrom(slot, Connection::kPausedByQueue);
  }
  waitsForQueue_ = false;
}

bool Reactor::pause(uint32_t slot, uint32_t generation, uint32_t rawEnd) {
  Connection* connection = find(slot, generation);
  if (!connection) return false;
  // Further bytes of its peer are read away, or its end would not be seen.
  if (connection->has(Connection::kFinSent)) return true;
  stopAtCurrent(*connection, rawEnd);
  pauseFor(slot, Connection::kPausedByUser);
  return true;
}

bool Reactor::resume(uint32_t slot, uint32_t generation) {
  Connection* connection = find(slot, generation);
  if (!connection) return false;
  resumeFrom(slot, Connection::kPausedByUser);
  return true;
}

Reactor::Framed Reactor::setFraming(uint32_t slot, uint32_t generation, const FramingConfig& framing, uint32_t rawEnd) {
  Connection* connection = find(slot, generation);
  if (!connection) return Framed::kGone;
  const uint16_t number = addFraming(framing);
  if (number == Framings::kNone) return Framed::kTooMany;
  stopAtCurrent(*connection, rawEnd);
  connection->framing = number;
  connection->setFramerState(0);
  if (connection->in && connection->span == 0) {
    connection->in->needed = connection->in->hint = connection->in->held = connection->in->counted = 0;
    addPending(slot);
    requestTurn();
  }
  return Framed::kDone;
}

// A few frames pass whatever their size, so that large ones are parsed in parallel too.
bool Reactor::reachesLimit(const ListenerConfig& cfg, uint32_t frames, size_t bytes) {
  return frames >= cfg.maxInFlight || (frames >= kAlwaysInFlight && bytes >= cfg.maxInFlightBytes);
}

void Reactor::checkOrderLimit(uint32_t slot) {
  Connection& connection = table_.at(slot);
  const ListenerConfig& cfg = config(connection);
  if (reachesLimit(cfg, connection.inFlight, connection.inFlightBytes)) {
    if (!connection.has(Connection::kPausedByOrder)) pauseFor(slot, Connection::kPausedByOrder);
  } else if (connection.has(Connection::kPausedByOrder) &&
             !reachesLimit(cfg, connection.inFlight * 2, connection.inFlightBytes * 2)) {
    resumeFrom(slot, Connection::kPausedByOrder);
  }
}

}  // namespace mr
