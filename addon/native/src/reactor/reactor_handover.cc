// Connections outlive the thread that drives them, and may go to a sibling reactor: what is kept, what is closed because it
// lived in the thread that is gone, and how names and messages follow.
#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/fatal.h"
#include "reactor/moved.h"
#include "reactor/reactor.h"

namespace mr {

namespace {

bool isLossOfThread(CloseReason reason) { return reason == CloseReason::kThreadLost || reason == CloseReason::kTaskTimeout; }

uint64_t nameOf(uint32_t slot, uint32_t generation) { return uint64_t{generation} << 32 | slot; }

}  // namespace

// ---------------------------------------------------------------- the thread died in the middle of a turn

// Rows that no hook has seen yet are kept for the next thread, in native memory: the slabs go with the thread.
void Reactor::abandonTurn(const EventSink::Delivered& delivered) {
  const bool isAnswered = keepUnseenParses(delivered);
  for (Span& span : spans_) {
    span.needed = span.hint = span.held = 0;
    span.ends = false;  // found again behind the frames that are cut again
    span.prompt = {};
  }
  const auto spanOf = [this](const EventRow& row) -> Span* {
    Connection* connection = table_.find(row.slot, row.generation);
    return connection && connection->span != 0 ? &spans_[connection->span - 1] : nullptr;
  };
  const auto hasStopped = [this](const EventRow& row) {
    const Connection* connection = table_.find(row.slot, row.generation);
    return connection && connection->has(Connection::kStopAtCurrent);
  };
  // Nothing was consumed but what a hook has seen; where it stopped in the middle of the batch, it said so itself. What a
  // custom framer used is known only when its call has returned.
  for (const EventRow& row : batch_.delivering()) {
    Span* span = spanOf(row);
    if (span && (row.event == Event::kFrame || row.event == Event::kBadFrame) && !hasStopped(row)) span->consumed = 0;
  }
  std::vector<EventRow> unseen;
  for (size_t i = 0; i < batch_.delivering().size(); ++i) {
    const EventRow& row = batch_.delivering()[i];
    Span* span = spanOf(row);
    if (i < delivered.begun) {
      if (row.event == Event::kRestore) restoring_.erase(nameOf(row.slot, row.generation));
      if (span && row.event == Event::kFrame && !hasStopped(row)) span->consumed = std::min<size_t>(row.d, span->length);
      if (span && row.event == Event::kBadFrame && !hasStopped(row)) {
        span->consumed = std::min<size_t>(row.d, span->length);
        span->ends = true;
      }
      continue;
    }
    if (row.event == Event::kBadFrame) continue;  // found again
    if (span && row.event == Event::kReceived) span->consumed = 0;
    unseen.push_back(row);
  }
  for (const EventRow& row : batch_.rows()) {
    Span* span = spanOf(row);
    if (span && (row.event == Event::kFrame || row.event == Event::kReceived || row.event == Event::kBadFrame))
      span->consumed = 0;
    if (row.event == Event::kBadFrame) continue;
    unseen.push_back(row);
  }
  // The frame that was being handled is never replayed.
  if (delivered.inHook && delivered.begun > 0 && !isAnswered) {
    const EventRow& last = batch_.delivering()[delivered.begun - 1];
    const bool late = last.event == Event::kParse && endedForTime_.load(std::memory_order_acquire);
    const bool names = last.event != Event::kClose && last.event != Event::kCredit && last.event != Event::kOverrun;
    const Connection* connection = names ? find(last.slot, last.generation) : nullptr;
    if (connection) {
      const uint64_t place = last.event == Event::kParse ? fullSequence(*connection, last.d) : kBehindAll;
      endLost(last.slot, place, late ? CloseReason::kTaskTimeout : CloseReason::kThreadLost);
    }
  }
  // No thread is left to take the result of a call.
  for (const EventRow& row : unseen) {
    if (row.event == Event::kRunResult && find(row.slot, row.generation)) {
      sendLast(row.slot);
      closeNow(row.slot, CloseReason::kThreadLost);
    }
  }
  batch_.clear();
  batch_.end();
  for (const Span& span : spans_) {
    const Connection* connection = find(span.slot, span.generation);
    if (connection && !span.ends) addPending(span.slot);
  }
  finishSpans();
  keepUnseenStates();
  for (const EventRow& row : unseen) {
    Connection* connection = table_.find(row.slot, row.generation);
    if (row.event == Event::kOpen && connection) connection->unset(Connection::kAnnounced);
    if (row.event == Event::kEnd || row.event == Event::kDrain || row.event == Event::kTimeout) batch_.add(row);
    if (row.event == Event::kDrained) drained_ = false;
  }
  sendLastOfAll();
  batch_.detach();  // its memory is gone with the thread
}

// The next thread is told what this one has not been told: its rows lie in memory that goes with it.
void Reactor::keepUnseenStates() {
  batch_.dropRows([](const EventRow& row) { return row.event == Event::kRestore; });
  for (auto& [name, restoring] : restoring_) {
    const auto slot = static_cast<uint32_t>(name);
    Connection* connection = table_.find(slot, static_cast<uint32_t>(name >> 32));
    if (!connection || !connection->fd.valid()) continue;
    connection->set(Connection::kHasData);
    if (restoring.flags & kRestoreHasState) states_[idOf(slot).value] = std::move(restoring.state);
  }
  restoring_.clear();
}

// Promises, deferred replies and calls live in the thread. A connection that waits for one of them would wait for ever.
void Reactor::closeHeld() {
  if (heldTotal_ == 0) return;
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (connection.has(Connection::kOpen) && connection.held != 0 && connection.fd.valid()) {
      sendLast(slot);
      closeNow(slot, CloseReason::kThreadLost);
    }
  }
}

// What the thread that leaves has still to be told, outside of a turn: the next one does not know a connection that has closed,
// and so cannot tell it to anybody. What cannot go on without this thread closes now, while there is somebody to hear it.
std::vector<EventRow> Reactor::lastRows() {
  owner_.assertCurrent(__func__);
  if (inTurn_) return {};
  closeHeld();
  leaveClients();
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid()) continue;
    if (framerIsLost(connection)) sendLast(slot), closeNow(slot, CloseReason::kThreadLost);
  }
  std::vector<EventRow> last;
  batch_.dropRows([&](const EventRow& row) {
    const bool names = row.event == Event::kOpen || row.event == Event::kConnected || row.event == Event::kRestore ||
                       row.event == Event::kEnd || row.event == Event::kDrain || row.event == Event::kTimeout ||
                       row.event == Event::kMoved || row.event == Event::kRunResult || row.event == Event::kGone ||
                       row.event == Event::kClose;
    if (!names || find(row.slot, row.generation)) return false;
    last.push_back(row);
    return true;
  });
  return last;
}

// A custom framer that setFraming() named is a function of its thread.
bool Reactor::framerIsLost(const Connection& connection) const {
  if (connection.has(Connection::kAwaitsReactor | Connection::kAwaitsProxy) || config(connection).hooks == 0) return false;
  return connection.framing != ownFraming(connection) && framings_[connection.framing].kind == FramingKind::kCustom;
}

void Reactor::release(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (connection.held == 0) return;
  --connection.held;
  --heldTotal_;
  if (connection.has(Connection::kReadEnded)) {
    ended_.push_back(slot);
    requestTurn();
  }
  if (quiescing_ || connection.has(Connection::kMoving)) requestTurn();
}

uint64_t Reactor::hold(uint32_t slot, uint32_t generation, bool on) {
  Connection* connection = find(slot, generation);
  if (!connection) return kNoPlace;
  if (on) {
    retain(*connection);
  } else {
    release(slot);
    if (connection->has(Connection::kDraining)) {
      ended_.push_back(slot);
      requestTurn();
    }
  }
  return connection->nextSequence;
}

bool Reactor::setHasData(uint32_t slot, uint32_t generation, bool on) {
  Connection* connection = find(slot, generation);
  if (!connection) return false;
  if (on) {
    connection->set(Connection::kHasData);
  } else {
    connection->unset(Connection::kHasData);
  }
  return true;
}

// ---------------------------------------------------------------- from one driving thread to the next

void Reactor::quiesce() {
  owner_.assertCurrent(__func__);
  relieving_ = holdsFresh_ = quiescing_ = handingOver_ = true;
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid() || !usesThread(config(connection))) continue;
    // What the hooks of the others still wait for may come from a client, pipes run without hooks, and what is
    // bound to the thread waits to be read.
    if (connection.has(Connection::kClient | Connection::kPiped) || connection.isBound()) continue;
    pauseFor(slot, Connection::kPausedForHandover);
  }
  requestTurn();
}

bool Reactor::keepState(uint32_t slot, uint32_t generation, std::span<const uint8_t> state) {
  const Connection* connection = find(slot, generation);
  if (!connection) return false;
  states_[idOf(slot).value].assign(state.begin(), state.end());
  return true;
}

void Reactor::updateListener(uint16_t listener, const ListenerConfig& update) {
  owner_.assertCurrent(__func__);
  MR_CHECK(listener < listeners_.size(), "no such listener");
  listeners_[listener] = update;
  const uint16_t framing = listenerFramings_[listener];
  framings_.change(framing, update.framing);
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || connection.framing != framing) continue;
    if (!remembers(update.framing.kind)) connection.setFramerState(0);
    if (!connection.in) continue;
    connection.in->needed = connection.in->hint = connection.in->held = 0;
    addPending(slot);
  }
}

void Reactor::emitRestore(uint32_t slot, std::vector<uint8_t> state, uint32_t flags) {
  const Connection& connection = table_.at(slot);
  if (connection.has(Connection::kEndSaid)) flags |= kRestoreEnded;
  const FramingConfig& framing = framings_[connection.framing];
  if (framing.kind == FramingKind::kWebSocket) flags |= kRestoreWebSocket | uint32_t{framing.windowBits} << kRestoreWindowShift;
  std::vector<uint8_t> bytes(sizeof(uint64_t) + state.size());
  const ConnectionId id = idOf(slot);
  std::memcpy(bytes.data(), &id.value, sizeof(uint64_t));
  if (!state.empty()) std::memcpy(bytes.data() + sizeof(uint64_t), state.data(), state.size());
  const bool told = emitBytes(Event::kRestore, slot, bytes, connection.listener | flags << 16, false);
  if (!told && batch_.hasThread()) {
    // The state is lost for want of memory. Whose connection it was is told all the same, and then that it has closed.
    const uint32_t lost = (flags & ~uint32_t{kRestoreHasState}) | kRestoreDataLost;
    emit(Event::kRestore, slot, static_cast<uint32_t>(id.value), static_cast<uint32_t>(id.value >> 32), 0,
         connection.listener | lost << 16);
    return closeNow(slot, CloseReason::kSystem, ENOMEM);
  }
  if (flags & (kRestoreHasState | kRestoreDataLost)) {
    restoring_[nameOf(slot, connection.generation)] = {flags, std::move(state)};
    if (!batch_.hasThread()) keepUnseenStates();
  }
}

void Reactor::restoreConnections(bool lost) {
  owner_.assertCurrent(__func__);
  if (relieving_) requestsUntilMs_ = 0;  // that was for what the last thread had
  relieving_ = holdsFresh_ = quiescing_ = false;
  leaveClients();
  std::vector<EventRow> unseen = batch_.takeRows();  // they come after the connection they are about
  std::erase_if(unseen, [](const EventRow& row) { return row.event == Event::kBalance; });  // asked again below
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid()) continue;
    const uint32_t hooks = config(connection).hooks;
    if (connection.has(Connection::kAwaitsReactor)) {
      place(slot);
      if (!connection.fd.valid()) continue;
    } else if (hooks != 0 && !connection.has(Connection::kAwaitsProxy)) {
      const auto state = states_.find(idOf(slot).value);
      const bool dataLost = lost && connection.has(Connection::kHasData) && state == states_.end();
      if ((dataLost && !(hooks & kHookRestore)) || framerIsLost(connection)) {
        sendLast(slot);
        closeNow(slot, CloseReason::kThreadLost);
        continue;
      }
      // It has ended with the thread that knew it, and only what was said before is still on its way.
      if (connection.has(Connection::kEnding) && isLossOfThread(connection.endReason)) continue;
      if (connection.isHidden()) {
        // It opens when it is known.
      } else if (!connection.has(Connection::kAnnounced)) {
        connection.set(Connection::kAnnounced);
        emit(Event::kOpen, slot, connection.listener);
      } else if (state != states_.end()) {
        emitRestore(slot, std::move(state->second), kRestoreHasState);
      } else {
        emitRestore(slot, {}, dataLost ? kRestoreDataLost : kRestorePlain);
      }
      connection.unset(Connection::kHasData);
    }
    if (connection.in) addPending(slot);
    if (!connection.has(Connection::kMoving)) resumeFrom(slot, Connection::kPausedForHandover);
  }
  states_.clear();
  batch_.addRows(unseen);
  onWaitingCalls();
  lookAside();
  requestTurn();
}

// ---------------------------------------------------------------- from one reactor to another

bool Reactor::moveTo(uint32_t slot, uint32_t generation, uint32_t reactor, uint32_t rawEnd) {
  Connection* connection = find(slot, generation);
  if (!connection || !exchange_->isActive(reactor) || connection->has(Connection::kClient | Connection::kPiped)) return false;
  if (reactor == index_) return true;
  stopAtCurrent(*connection, rawEnd);
  beginMove(slot, reactor);
  requestTurn();
  return true;
}

void Reactor::beginMove(uint32_t slot, uint32_t reactor) {
  Connection& connection = table_.at(slot);
  if (connection.isBound() || connection.has(Connection::kFinSent)) return;  // it closes soon enough where it is
  if (reactor == kAnySibling && nextSibling() == Exchange::kNoReactor) return;
  connection.moveTarget = static_cast<uint16_t>(reactor);
  if (connection.has(Connection::kMoving | Connection::kClient | Connection::kPiped)) return;
  connection.set(Connection::kMoving);
  pauseFor(slot, Connection::kPausedForHandover);
  moving_.push_back(slot);
}

// A reply that is on its way here would arrive behind the connection, and one that streams must not change its road.
bool Reactor::movesNow(const Connection& connection) const {
  if (connection.window() && connection.window()->mayRelease()) return false;
  // Frames that are set aside go along.
  const size_t aside = connection.aside() ? connection.aside()->frames.size() : 0;
  return connection.inFlight == aside && connection.held == 0 && connection.span == 0 &&
         !connection.has(Connection::kHeadStarted);
}

// What a thread held is gone with it: its framers are shown everything once more, and whoever was asked for the state of a
// connection that moves is asked again.
void Reactor::askAgain() {
  batch_.dropRows([](const EventRow& row) { return row.event == Event::kHandover; });
  moving_.clear();
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen)) continue;
    if (connection.in) connection.in->held = 0;
    if (connection.has(Connection::kMoving)) moving_.push_back(slot);
  }
}

void Reactor::moveQuiet() {
  std::vector<uint32_t> moving;
  moving.swap(moving_);
  for (size_t i = 0; i < moving.size(); ++i) {
    if (!takesMore()) {
      moving_.insert(moving_.begin(), moving.begin() + static_cast<ptrdiff_t>(i), moving.end());
      leftWork_ = true;
      return;
    }
    budget_.spend();
    const uint32_t slot = moving[i];
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.has(Connection::kMoving) || !connection.fd.valid()) continue;
    if (connection.has(Connection::kEnding | Connection::kFinSent)) continue;  // it closes soon enough where it is
    if (!movesNow(connection)) {
      moving_.push_back(slot);
    } else if (framerIsLost(connection)) {
      closeNow(slot, CloseReason::kThreadLost);  // here, where its close hook is
    } else if (connection.has(Connection::kAnnounced) && config(connection).hooks != 0 && !abandoned_) {
      emit(Event::kHandover, slot);
    } else {
      moveOut(slot, {}, false);
    }
  }
}

bool Reactor::moveNow(uint32_t slot, uint32_t generation, std::span<const uint8_t> state, bool hasState) {
  const Connection* connection = find(slot, generation);
  if (!connection || !connection->has(Connection::kMoving)) return false;
  if (!movesNow(*connection)) {
    moving_.push_back(slot);  // its suspend hook was not idle
    requestTurn();
    return true;
  }
  moveOut(slot, {state.begin(), state.end()}, hasState);
  return true;
}

void Reactor::moveOut(uint32_t slot, std::vector<uint8_t> state, bool hasState) {
  Connection& connection = table_.at(slot);
  if (framerIsLost(connection)) return closeNow(slot, CloseReason::kThreadLost);  // its suspend hook has named it
  const uint32_t target = enterSibling(connection);
  if (target == Exchange::kNoReactor) {
    connection.unset(Connection::kMoving);
    if (!connection.has(Connection::kAnnounced) && !connection.isHidden()) announce(slot);
    return resumeFrom(slot, Connection::kPausedForHandover);
  }
  if (connection.creditsDue()) {
    for (const ReplyPart& part : *connection.creditsDue())
      exchange_->giveCredit(part.worker, part.creditToken, part.credit, false);
    connection.extras->creditsDue.reset();
  }
  if (connection.has(Connection::kInEpoll)) (void)epoll_.remove(connection.fd.get());
  stopTimer(slot);
  emit(Event::kMoved, slot);
  exchange_->balance().leave(index_);
  counters_.open.sub(1);
  counters_.moved.add(1);
  auto moved = std::make_unique<Moved>();
  moved->listenersFraming = connection.framing == listenerFramings_[connection.listener];
  moved->framing = framings_[connection.framing];
  // No hook is asked here any more: the rows that the last thread has not seen are all there are.
  auto kept = abandoned_ ? states_.extract(idOf(slot).value) : decltype(states_)::node_type();
  moved->state = kept ? std::move(kept.mapped()) : std::move(state);
  moved->hasState = kept || hasState;
  moved->dataLost = abandoned_ && connection.has(Connection::kHasData) && !moved->hasState;
  subscribers_.pack(slot, &moved->subscriptions);
  if (connection.aside()) lookAside();  // its entry in the list goes
  const ConnectionId id = idOf(slot);
  const uint32_t generation = connection.generation;
  counters_.buffered.sub(connection.accounted);
  moved->id = id;
  moved->connection = std::move(connection);
  connection = Connection{};
  connection.set(Connection::kOpen);
  connection.generation = generation;
  if (id.home() == index_ && id.slot() == slot) {
    connection.set(Connection::kAway);  // no other connection may get the name
    ++away_;
  } else {
    immigrants_.erase(id.value);
    closed_.push_back(slot);
  }
  // First the name, then the connection: messages that overtake it wait there for it.
  exchange_->directory().publish(id, exchange_->reactorMailbox(target));
  exchange_->mailbox(exchange_->reactorMailbox(target)).send(std::move(moved));
}

void Reactor::onMoved(Message& message) {
  auto& moved = static_cast<Moved&>(message);
  if (moved.what == Moved::What::kAcceptor) return adoptAcceptor(std::move(moved.acceptor));
  adoptMoved(moved);
  retryEarly();
}

void Reactor::adoptMoved(Moved& moved) {
  const ConnectionId id = moved.id;
  const bool comesHome = id.home() == index_;
  const uint32_t slot = comesHome ? id.slot() : table_.open();
  if (slot == ConnectionTable::kFull) return dropMoved(moved, CloseReason::kConnectionLimit);
  const uint32_t generation = table_.at(slot).generation;
  if (comesHome) {
    --away_;
  } else {
    immigrants_[id.value] = slot;
  }
  Connection& connection = table_.at(slot);
  connection = std::move(moved.connection);
  connection.generation = generation;
  connection.span = 0;
  connection.interest = connection.told = 0;
  connection.tellDue = false;
  if (connection.extras) connection.extras->broken.listed = false;
  connection.timer = {};
  if (connection.in) connection.in->held = 0;  // by the other reactor's thread
  if (!comesHome) {
    connection.needExtras().bornAs = id;
  } else if (connection.extras) {
    connection.extras->bornAs = ConnectionId{};
  }
  connection.unset(Connection::kInEpoll | Connection::kDirty | Connection::kHasPending | Connection::kMoving |
                   Connection::kStopAtCurrent | Connection::kPausedForHandover | Connection::kPausedByQueue |
                   Connection::kPausedByOrder | Connection::kHasData | Connection::kAwaitsReactor);
  connection.framing = listenerFramings_[connection.listener];
  const uint16_t framing = moved.listenersFraming ? connection.framing : addFraming(moved.framing);
  counters_.open.add(1);
  connection.accounted = 0;
  if (framing != Framings::kNone) connection.framing = framing;
  // The hooks know it before anything can close it: no other thread is left that would be told.
  if (connection.isHidden()) {
    // It opens when it is known.
  } else if (config(connection).hooks != 0 && !connection.has(Connection::kAnnounced)) {
    connection.set(Connection::kAnnounced);
    emit(Event::kOpen, slot, connection.listener);
  } else if (config(connection).hooks != 0) {
    emitRestore(slot, std::move(moved.state),
                moved.hasState   ? kRestoreHasState
                : moved.dataLost ? kRestoreDataLost
                                 : kRestorePlain);
  }
  if (!connection.fd.valid()) return;
  if (framing == Framings::kNone) return closeNow(slot, CloseReason::kSystem, ENOBUFS);
  subscribers_.unpack(slot, moved.subscriptions);
  if (!connection.fd.valid()) return;
  account(slot);
  armDeadline(slot);
  if (connection.has(Connection::kFinSent)) startTimer(slot, nowMs_ + lingerMs_);
  if (connection.aside()) {
    listAside(slot);
    lookAside();
  }
  if (handingOver_) connection.set(Connection::kPausedForHandover);
  if (connection.in) addPending(slot);
  if (!connection.out.empty()) markDirty(slot);
  if (connection.has(Connection::kReadEnded)) ended_.push_back(slot);
  watch(slot);
  if (!connection.fd.valid()) return;
  if (draining_) drainConnection(slot);
  if (retiring_ && connection.has(Connection::kOpen)) beginMove(slot, kAnySibling);
}

// No reactor takes it in: its descriptor closes with the message.
void Reactor::dropMoved(const Moved& moved, CloseReason reason) {
  const ConnectionId id = moved.id;
  exchange_->directory().retract(id);
  exchange_->balance().leave(index_);
  exchange_->admission().leave();
  if (moved.connection.has(Connection::kCounted)) exchange_->admission().leaveAddress(moved.connection.peer);
  counters_.closed[static_cast<size_t>(reason)].add(1);
  exchange_->mailbox(exchange_->reactorMailbox(id.home())).send(std::make_unique<Released>(id));
}

// Not here (any more, or yet): to whoever owns it now.
void Reactor::forward(ConnectionId id, std::unique_ptr<Message> message) {
  const auto owner = exchange_->directory().owner(id);
  if (owner && *owner == exchange_->reactorMailbox(index_)) {
    early_.emplace_back(id, std::move(message));
  } else if (owner) {
    exchange_->mailbox(*owner).send(std::move(message));
  }
}

void Reactor::retryEarly() {
  auto early = std::move(early_);
  early_.clear();
  for (auto& [id, message] : early) onSend(std::move(message));
}

void Reactor::forgetName(uint32_t slot) {
  const ConnectionId id = idOf(slot);
  if (id.home() == index_ && id.slot() == slot) return;
  immigrants_.erase(id.value);
  exchange_->mailbox(exchange_->reactorMailbox(id.home())).send(std::make_unique<Released>(id));
}

void Reactor::onReleased(ConnectionId id) {
  Connection* connection = table_.find(id.slot(), id.generation());
  if (!connection || !connection->has(Connection::kAway)) return;
  --away_;
  table_.close(id.slot());
}

// ---------------------------------------------------------------- retiring

uint32_t Reactor::nextSibling() { return exchange_->nextActiveReactor(&siblingNext_, index_); }

void Reactor::retire(bool abandoned) {
  owner_.assertCurrent(__func__);
  nowMs_ = monotonicMs();
  retiring_ = true;
  abandoned_ = abandoned;
  if (abandoned) leaveClients();
  if (abandoned) onWaitingCalls();
  moveAcceptors(abandoned);
  endSecure(kFirstRequestMs);
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid()) continue;
    const bool dataLost = abandoned && connection.has(Connection::kHasData) && !states_.contains(idOf(slot).value);
    if (dataLost && !(config(connection).hooks & kHookRestore)) {
      closeNow(slot, CloseReason::kThreadLost);
    } else {
      beginMove(slot, kAnySibling);
    }
  }
  requestTurn();
}

void Reactor::forwardMail() {
  if (!owner_.attach()) return;  // it has a thread again
  for (const auto& call : calls_.takeKept()) calls_.lose(static_cast<Call&>(*call));
  while (std::unique_ptr<Message> message = unfinished_ ? std::move(unfinished_) : mailbox_.take()) {
    if (message->kind == Message::Kind::kCall) {
      calls_.lose(static_cast<Call&>(*message));
      continue;
    }
    if (message->kind == Message::Kind::kSend) {
      onSend(std::move(message));
    } else if (message->kind == Message::Kind::kReleased) {
      onReleased(static_cast<Released&>(*message).connection);
    } else if (message->kind == Message::Kind::kReplies) {
      Reply reply;
      std::span<const uint8_t> bytes;
      while (static_cast<ReplyBatch&>(*message).take(&reply, &bytes)) {
        exchange_->room().arrived(reply.connection, reply.length);
        exchange_->reply(reply, bytes);
      }
    } else if (message->kind == Message::Kind::kSetAside) {
      if (!exchange_->setAside(std::move(static_cast<SetAside&>(*message).frame))) counters_.framesCancelled.add(1);
    } else if (message->kind == Message::Kind::kMoved) {
      const uint32_t sibling = nextSibling();
      const auto& moved = static_cast<Moved&>(*message);
      if (sibling == Exchange::kNoReactor) {
        if (moved.what == Moved::What::kConnection) dropMoved(moved, CloseReason::kServerClosing);
        continue;
      }
      const uint16_t mailbox = exchange_->reactorMailbox(sibling);
      if (moved.what == Moved::What::kConnection) {
        exchange_->balance().enter(sibling);
        exchange_->balance().leave(index_);
        exchange_->directory().publish(moved.id, mailbox);
      }
      exchange_->mailbox(mailbox).send(std::move(message));
    } else if (message->kind == Message::Kind::kHandover) {
      const uint32_t sibling = nextSibling();
      if (sibling == Exchange::kNoReactor) {
        turnAway(static_cast<Handover&>(*message), CloseReason::kServerClosing);
        continue;
      }
      exchange_->balance().enter(sibling);
      exchange_->balance().leave(index_);
      exchange_->mailbox(exchange_->reactorMailbox(sibling)).send(std::move(message));
    }
  }
  owner_.detach();
}

// A path has one listening socket, which must go on somewhere, as those that others hold too; those of a port are emptied and
// closed, unless all stay.
void Reactor::moveAcceptors(bool all) {
  for (uint32_t i = 0; i < acceptors_.size(); ++i) {
    Acceptor& acceptor = acceptors_[i];
    if (!acceptor.fd.valid()) continue;
    const uint32_t sibling = nextSibling();
    if (sibling != Exchange::kNoReactor && (all || acceptor.group->isFixed())) {
      auto moved = std::make_unique<Moved>();
      moved->what = Moved::What::kAcceptor;
      moved->acceptor = acceptors_.take(i);
      exchange_->mailbox(exchange_->reactorMailbox(sibling)).send(std::move(moved));
    } else {
      acceptor.group->steerAway(acceptor.fd.get());
      acceptors_.empty(i, nowMs_, kRetireQuietMs);
    }
  }
}

void Reactor::adoptAcceptor(Acceptor acceptor) {
  acceptors_.add(std::move(acceptor), nowMs_);
  if (retiring_) moveAcceptors(true);
}

}  // namespace mr
