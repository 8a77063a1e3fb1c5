#include "reactor/reactor.h"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "base/clock.h"
#include "base/fatal.h"
#include "net/socket.h"
#include "reactor/moved.h"

namespace mr {

namespace {

// Tokens: generation << 32 | slot for connections; the generation 0 is kept for the reactor's own descriptors.
constexpr uint64_t kMailboxToken = 0xffffffff;

constexpr uint8_t kInterests = EPOLLIN | EPOLLOUT;  // the size of Connection::interest

}  // namespace

Reactor::Reactor(std::shared_ptr<Exchange> exchange, uint32_t index)
    : ReactorCore(std::move(exchange), index),
      epoll_(kMaxEvents),
      recycler_(exchange_->recycler(exchange_->reactorMailbox(index))),
      wheel_(nowMs_),
      clients_(*exchange_, epoll_, counters_, profiles_, nowMs_),
      scratch_(kReadBytes),
      sampler_(exchange_->costs(), kKeyFlags) {
  const Result<int> watched = epoll_.add(mailbox_.fd(), EPOLLIN, kMailboxToken);
  if (!watched.ok()) throw std::system_error(watched.error, std::generic_category(), "epoll_ctl");
}

Reactor::~Reactor() {
  // No hooks any more, only the names: no thread may route a reply to a table that is gone.
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    // One that closed after the last turn keeps its slot, and has retracted its name already.
    if (table_.at(slot).has(Connection::kOpen) && table_.at(slot).fd.valid()) retractName(slot);
  }
}

bool Reactor::attach(EventSink* sink) {
  if (!owner_.attach()) return false;
  attachedSink_ = sink;
  batch_.attach(sink);
  inTurn_ = false;
  watchesGone_ = false;
  endedForTime_.store(false, std::memory_order_relaxed);
  if (box_) box_->count = box_->samples = 0, box_->running.store(0, std::memory_order_relaxed);
  // It had retired, and is wanted again. Its last connections may have been closed by destroyAll(), after which it drains.
  if (drained_) retiring_ = draining_ = drained_ = abandoned_ = false;
  closeHeld();  // by a thread that could not even detach
  askAgain();
  // A mailbox whose owner has never slept gets no signal: the first turn reads earlier messages.
  requestAnotherTurn();
  return true;
}

void Reactor::detach() {
  owner_.assertCurrent(__func__);
  keepUnseenStates();
  finishSpans();
  closeHeld();
  sendLastOfAll();
  if (box_) box_->running.store(0, std::memory_order_relaxed);
  leaveClients();
  calls_.loseAll();
  // A reactor without a thread must not keep what is published for subscribers that it does not have.
  do budget_.begin();
  while (subscribers_.hasOnlyRests() && subscribers_.deliver());
  attachedSink_ = nullptr;
  batch_.detach();
  owner_.detach();
}

void Reactor::forgetDeadThread() {
  if (owner_.isFree()) return;    // it has detached on its way out
  if (owner_.isLiving()) return;  // it is not dead at all
  if (box_) box_->running.store(0, std::memory_order_relaxed);
  keepUnseenStates();
  calls_.loseAll();
  attachedSink_ = nullptr;
  batch_.detach();
  owner_.forceDetach();
}

Connection* Reactor::locate(ConnectionId id, uint32_t* slot) {
  *slot = id.slot();
  Connection* native = id.home() == index_ ? table_.find(id.slot(), id.generation()) : nullptr;
  if (native && native->has(Connection::kAway)) return nullptr;
  if (!native && !immigrants_.empty()) {
    const auto found = immigrants_.find(id.value);
    if (found == immigrants_.end()) return nullptr;
    *slot = found->second;
    native = &table_.at(*slot);
  }
  return native && native->fd.valid() ? native : nullptr;
}

bool Reactor::turn(int timeoutMs) {
  owner_.assertCurrent(__func__);
  inTurn_ = true;
  counters_.turns.add(1);
  // Events of epoll are handled before the next wait: it would begin with the same ones.
  bool more = false;
  if (events_.empty()) {
    events_ = epoll_.wait(timeoutMs);
    more = static_cast<int>(events_.size()) == kMaxEvents;
  }
  turnNs_ = monotonicNs();
  nowMs_ = turnNs_ / 1'000'000;
  mailbox_.unpark();
  inlineLeftNs_ = kInlineTurnNs;
  leftWork_ = false;
  budget_.begin(kMailShares);
  outBudget_.begin();
  if (!kept_.empty() && !handingOver_) runKept();  // a thread that leaves runs no more of them
  goOnReleasing();
  more = drainMailbox() || more;
  budget_.open(kPublicationShares);
  more = subscribers_.deliver() || more;
  resumeStopped();
  budget_.open(kEventShares);
  // Each is first in every other turn: connections that are never through with what they sent do not keep out what comes in, nor
  // those that come in what waits.
  pendingFirst_ = !pendingFirst_ && !pending_.empty();
  rowsEach_ = rowsOfOne();
  if (pendingFirst_) cutPending();
  dispatchSome();
  if (!broken_.empty()) readBroken();
  budget_.open(kTimerShares);
  expireTimers();
  expireConnects();
  serviceAcceptors();
  budget_.open(TurnBudget::kShares);
  cutPending();
  wakeForTurn();
  if (!deliver()) return false;
  wakeForTurn();
  finishEnded();
  flush();
  batchBytes_ = 0;
  if (!asides_.empty() || asideScan_ != 0) letGoSome();
  settleTurn();
  tellInterests();
  inTurn_ = false;
  more = more || leftWork_ || !pending_.empty() || !batch_.empty() || !ended_.empty() || !dirty_.empty() || !events_.empty() ||
         !due_.empty() || !releasing_.empty() || !closed_.empty() || asideScan_ != 0;
  if (budget_.ended() || outBudget_.ended()) counters_.turnsBounded.add(1);
  counters_.turnBytesMost.raise(std::max(budget_.largestBytes(), outBudget_.largestBytes()));
  counters_.turnCpuNsMost.raise(std::max(budget_.largestCpuNs(), outBudget_.largestCpuNs()));
  if (more) return true;
  mailbox_.park();
  // Asked again after parking: the wake-up may have come while nobody slept, and room may have gone again since.
  if (waitsForQueue_) exchange_->stopUntilLow(exchange_->reactorMailbox(index_));
  return !mailbox_.empty() || subscribers_.hasWork();
}

void Reactor::flush() {
  owner_.assertCurrent(__func__);
  if (!inTurn_) {
    nowMs_ = monotonicMs();
    outBudget_.begin();
  }
  // Flushing can close connections and so make rows, but never makes another connection dirty for long. Who becomes dirty again
  // has had its share of this turn.
  const size_t count = dirty_.size();
  size_t done = 0;
  for (; done < count && outBudget_.left(); ++done) {
    Connection& connection = table_.at(dirty_[done]);
    if (!connection.has(Connection::kOpen) || !connection.has(Connection::kDirty)) continue;
    connection.unset(Connection::kDirty);
    flushConnection(dirty_[done]);
  }
  dirty_.erase(dirty_.begin(), dirty_.begin() + static_cast<ptrdiff_t>(done));
  // Outside of a turn nobody delivers what this made: ask for one.
  if (!batch_.empty() || !pending_.empty() || !closed_.empty() || !dirty_.empty()) requestTurn();
}

void Reactor::settleTurn() {
  // Slots are given out again only now, when nothing of this turn can name them any more.
  for (uint32_t slot : closed_) forgetSlot(slot);
  closed_.clear();
  shedMemory();
  if (!moving_.empty()) moveQuiet();
  if (!fresh_.empty()) drainFresh();
  if (quiescing_ && heldTotal_ == 0 && calls_.empty()) {
    quiescing_ = false;
    leaveClients();
    emit(Event::kQuiet, 0);
  }
  if (stallCheckAtMs_ != 0 && nowMs_ >= stallCheckAtMs_) {
    exchange_->wakeIfStalled();
    // Tasks in the queue may be claimed, and get stuck, a moment later.
    const bool again = exchange_->queue().depth() != 0 || exchange_->hasUnstarted();
    stallCheckAtMs_ = again ? nowMs_ + kStallCheckMs : 0;
  }
  if ((draining_ || retiring_) && !servesAccepted()) finishClients();
  finishDrainIfEmpty();
}

// Where hooks are slow, the rows of a turn are shared by all connections that wait.
uint32_t Reactor::rowsOfOne() const {
  const uint32_t most = pace_.mostRows();
  if (most >= kMaxFramesPerTurn) return kMaxFramesPerTurn;
  return std::max<uint32_t>(1, most / std::max<uint32_t>(1, static_cast<uint32_t>(events_.size() + pending_.size())));
}

// Frames that came before the end of their connection are not lost for want of time.
void Reactor::markLastChances() {
  for (EventRow& row : batch_.delivering()) {
    if (row.event != Event::kFrame && row.event != Event::kReceived && row.event != Event::kBadFrame) continue;
    const Connection* connection = table_.find(row.slot, row.generation);
    if (!connection || !connection->fd.valid()) row.waiting = kLastChance;
  }
}

bool Reactor::deliver() {
  handPlainOfDirty();
  uint64_t hooksNs = 0;
  uint64_t sinceNs = turnNs_;
  // Hooks may cause further events (destroy in a hook makes a close); a bound keeps one turn finite.
  for (int round = 0; round < kHookRounds && !batch_.empty(); ++round) {
    if (!batch_.hasThread()) {
      keepUnseenStates();
      batch_.clear();
      break;
    }
    batch_.begin();
    planMeasuring();
    const uint64_t startedNs = measuredRuns_ != 0 ? monotonicNs() : 0;
    budget_.leave();
    outBudget_.leave();
    const uint64_t rows = batch_.delivering().size();
    if (!closed_.empty()) markLastChances();
    handedBack_ = false;
    const uint64_t cpuSinceNs = pace_.measures() ? threadCpuNs() : 0;
    const EventSink::Delivered delivered = batch_.deliver();
    budget_.comeBack();
    outBudget_.comeBack();
    const uint64_t begun = handedBack_ ? rowsBegun_ : rows;
    if (cpuSinceNs != 0) {
      const uint64_t usedNs = threadCpuNs() - cpuSinceNs;
      hooksNs += usedNs;
      pace_.used(begun, usedNs);
      if (!pace_.measures()) sinceNs = monotonicNs();
    } else {
      const uint64_t nowNs = monotonicNs();
      hooksNs += nowNs - sinceNs;
      pace_.took(begun, nowNs - sinceNs);
      sinceNs = nowNs;
    }
    if (writeBox_->count != 0) takeWriteBox(delivered.alive);
    if (!delivered.alive) {
      abandonTurn(delivered);
      return false;
    }
    batch_.end();
    if (!restoring_.empty()) restoring_ = {};
    if (box_) {
      measureBatch(startedNs);
      settleInline();
    }
    finishSpans();
    // Frames cut now must be delivered before its span ends: in the last round it waits for the next turn.
    if (round + 1 == kHookRounds || handedBack_ || hooksNs >= HookPace::kHooksNs / 2) break;
    cutPending();
    handPlainOfDirty();
  }
  finishSpans();
  return true;
}

bool Reactor::drainMailbox() {
  uint32_t most = kMaxRepliesPerTurn;
  while (most != 0) {
    std::unique_ptr<Message> message = unfinished_ ? std::move(unfinished_) : mailbox_.take();
    if (!message) return false;
    if (!takesMore()) {
      unfinished_ = std::move(message);
      return true;
    }
    --most;
    budget_.spend(message->kind == Message::Kind::kReplies ? 0 : message->bytes());
    switch (message->kind) {
      case Message::Kind::kReplies:
        if (!onReplies(static_cast<ReplyBatch&>(*message), &most)) unfinished_ = std::move(message);
        break;
      case Message::Kind::kSend:
        onSend(std::move(message));
        break;
      case Message::Kind::kHandover:
        budget_.spend(TurnBudget::kAcceptBytes);
        adopt(static_cast<Handover&>(*message));
        break;
      case Message::Kind::kMoved:
        budget_.spend(TurnBudget::kAcceptBytes);
        onMoved(*message);
        break;
      case Message::Kind::kCredit:
        onCredit(static_cast<Credit&>(*message));
        break;
      case Message::Kind::kCall:
        onCall(std::move(message));
        break;
      case Message::Kind::kSetAside:
        onSetAside(static_cast<SetAside&>(*message));
        break;
      case Message::Kind::kReleased:
        onReleased(static_cast<Released&>(*message).connection);
        break;
      default:
        MR_CHECK(false, "a message that is not for a reactor");
    }
  }
  return true;
}

void Reactor::dispatchSome() {
  // The work behind an event counts itself, and there are never more than kMaxEvents.
  size_t done = 0;
  while (done < events_.size() && takesMore()) dispatch(events_[done++]);
  events_ = events_.subspan(done);
}

void Reactor::dispatch(const epoll_event& event) {
  const auto slot = static_cast<uint32_t>(event.data.u64);
  const auto generation = static_cast<uint32_t>(event.data.u64 >> 32);
  if (event.data.u64 == kMailboxToken) return;  // unpark() has read it away
  if (generation == 0 && (slot & Connector::kTokenBit)) {
    const uint32_t request = slot & ~Connector::kTokenBit;
    return clients_.finish(request, event.events, [this](Connector::Ended ended) { onConnectEnded(std::move(ended)); });
  }
  if (generation == 0) return acceptSome(slot);
  dispatchConnection(slot, generation, event.events);
}

void Reactor::dispatchConnection(uint32_t slot, uint32_t generation, uint32_t events) {
  Connection* connection = table_.find(slot, generation);
  if (!connection || !connection->fd.valid()) return;  // closed earlier in this turn
  if (events & EPOLLERR) return onBroken(slot, 0, false);
  if (events & EPOLLOUT) {
    if (!outBudget_.left()) {
      markDirty(slot);
    } else {
      flushConnection(slot);
    }
    if (!connection->fd.valid()) return;
  }
  if (events & (EPOLLIN | EPOLLHUP)) {
    if (connection->interest & EPOLLIN) {
      onReadable(slot, *connection);
      const bool endsBehind = (events & EPOLLRDHUP) && connection->fd.valid() && connection->has(Connection::kPiped);
      if (endsBehind && (connection->interest & EPOLLIN)) onReadable(slot, *connection);
      return;
    }
    // Hung up while we do not read: epoll would say so again and again. Reading or writing finds out later.
    if ((events & EPOLLHUP) && connection->has(Connection::kInEpoll)) {
      // Nothing can be sent any more, and nobody would try: the question for room goes with the place in the set.
      if (!connection->wire().empty()) return onBroken(slot, EPIPE, true);
      (void)epoll_.remove(connection->fd.get());
      connection->unset(Connection::kInEpoll);
      connection->tellDue = false;
    }
  }
}

void Reactor::updateInterest(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid()) return;
  const uint32_t wanted = interestOf(connection);
  const bool known = connection.has(Connection::kInEpoll) || connection.tellDue;
  if (known ? wanted == connection.interest : wanted == 0) return;
  connection.interest = wanted & kInterests;
  tellLater(slot);
}

// From now on, whatever it is waited for: of one that is paused the set tells the reset.
void Reactor::watch(uint32_t slot) {
  Connection& connection = table_.at(slot);
  connection.interest = interestOf(connection) & kInterests;
  tellLater(slot);
}

// The kernel never gets a change of interest that the same turn undoes: it is asked for events only in the next turn.
void Reactor::tellLater(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (connection.isBroken()) return listBroken(slot);
  if (!inTurn_) return tellInterest(slot);
  if (connection.tellDue) return;
  connection.tellDue = true;
  untold_.push_back(slot);
}

void Reactor::tellInterests() {
  for (const uint32_t slot : untold_) {
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid() || !connection.tellDue) continue;
    tellInterest(slot);
  }
  untold_.clear();
}

uint32_t Reactor::interestOf(Connection& connection) const {
  uint32_t wanted = 0;  // EPOLLIN and EPOLLOUT only, which fit in `interest`
  const bool readEnded = connection.secure() ? connection.secure()->readEnded : connection.has(Connection::kReadEnded);
  if (!readEnded && !connection.has(Connection::kPausedMask) && !connection.discardsNoMore()) wanted |= EPOLLIN;
  if (!connection.wire().empty()) wanted |= EPOLLOUT;
  return wanted;
}

void Reactor::tellInterest(uint32_t slot) {
  Connection& connection = table_.at(slot);
  connection.tellDue = false;
  const bool known = connection.has(Connection::kInEpoll);
  if (known && connection.told == connection.interest) return;
  const uint64_t token = uint64_t{connection.generation} << 32 | slot;
  uint32_t events = connection.interest;
  // With the last bytes of a piped one comes that they are the last: its end is read with them.
  if ((events & EPOLLIN) && connection.has(Connection::kPiped)) events |= EPOLLRDHUP;
  const auto result = known ? epoll_.modify(connection.fd.get(), events, token) : epoll_.add(connection.fd.get(), events, token);
  if (!result.ok()) return closeNow(slot, CloseReason::kSystem, result.error);
  connection.set(Connection::kInEpoll);
  connection.told = connection.interest;
}

// ---------------------------------------------------------------- timers

bool Reactor::setTimeoutMs(uint32_t slot, uint32_t generation, uint32_t milliseconds) {
  Connection* connection = find(slot, generation);
  if (!connection) return false;
  nowMs_ = monotonicMs();
  connection->needExtras().timeoutMs = milliseconds;
  connection->lastActivity = nowMs_;
  armDeadline(slot);
  return true;
}

// When something has to happen to a connection that stays as it is, and what.
uint64_t Reactor::nextDeadline(const Connection& connection, CloseReason* reason) const {
  const ListenerConfig& cfg = config(connection);
  const FramingConfig& framing = framings_[connection.framing];
  // Its peers are asked whether they are there, and the limits of the requests before the upgrade say nothing about it.
  const bool upgraded = framing.kind == FramingKind::kWebSocket;
  const uint32_t frameMs = upgraded ? framing.frameMs : cfg.frameMs;
  uint64_t first = UINT64_MAX;
  const auto consider = [&](uint64_t since, uint32_t milliseconds, CloseReason why) {
    if (milliseconds == 0 || since + milliseconds >= first) return;
    first = since + milliseconds;
    *reason = why;
  };
  const uint64_t lastActivityMs = connection.lastActivity.ms(nowMs_);
  if (connection.extras) consider(lastActivityMs, connection.extras->timeoutMs, CloseReason::kTimeout);
  if (connection.isUnheard()) {
    consider(connection.receivingSince.ms(nowMs_), cfg.firstByteMs, CloseReason::kFirstByteTimeout);
  } else if (connection.in && !connection.has(Connection::kPausedMask | Connection::kEnding | Connection::kHasPending)) {
    consider(connection.receivingSince.ms(nowMs_), frameMs, CloseReason::kFrameTimeout);
  } else if (connection.framerState() != 0 && !connection.has(Connection::kPausedMask | Connection::kEnding)) {
    // In the middle of a message: the next piece of it is due.
    consider(lastActivityMs, frameMs, CloseReason::kFrameTimeout);
  }
  const bool midRecord = connection.secure() && connection.secure()->recordSinceMs != 0;
  if (midRecord && !connection.has(Connection::kPausedMask | Connection::kEnding)) {
    consider(connection.secure()->recordSinceMs, frameMs, CloseReason::kFrameTimeout);
  }
  if (connection.sendingSinceMs() != 0) consider(connection.sendingSinceMs(), cfg.writeMs, CloseReason::kWriteTimeout);
  // While a frame is in flight it is asked again and again: no timer is armed when the answer leaves.
  if (!upgraded) consider(connection.inFlight == 0 ? lastActivityMs : nowMs_, cfg.idleMs, CloseReason::kIdleTimeout);
  return first;
}

void Reactor::armDeadline(uint32_t slot) {
  const Connection& connection = table_.at(slot);
  if (!connection.fd.valid() || connection.has(Connection::kFinSent)) return;
  CloseReason reason;
  const uint64_t deadline = nextDeadline(connection, &reason);
  if (deadline == UINT64_MAX) return stopTimer(slot);
  // Far ones meet, so that an idle server wakes once a second and not for each of them.
  const bool far = deadline > nowMs_ + kFarMs;
  startTimer(slot, far ? (deadline | (kFarStepMs - 1)) + 1 : deadline);
}

void Reactor::hastenDeadline(uint32_t slot) {
  const Connection& connection = table_.at(slot);
  if (!connection.fd.valid() || connection.has(Connection::kFinSent)) return;
  CloseReason reason;
  const uint64_t deadline = nextDeadline(connection, &reason);
  if (deadline == UINT64_MAX) return;
  if (!connection.timer.isArmed() || deadline < connection.timer.deadlineMs(nowMs_)) armDeadline(slot);
}

void Reactor::expireTimers() {
  if (due_.empty()) {
    expired_.clear();
    wheel_.expire(nowMs_, &expired_, [this](uint32_t slot) -> TimerWheel::Link& { return timerOf(slot); });
    for (const uint32_t slot : expired_) due_.emplace_back(slot, table_.at(slot).generation);
  }
  while (!due_.empty() && takesMore()) {
    const auto [slot, generation] = due_.front();
    due_.pop_front();
    budget_.spend();
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || connection.generation != generation || !connection.fd.valid()) continue;
    if (connection.has(Connection::kFinSent)) {
      closeNow(slot, connection.endReason);  // the peer had its time to say goodbye
      continue;
    }
    // Activity only stores the time; the wheel is asked to wait for the rest here.
    CloseReason reason;
    const uint64_t due = nextDeadline(connection, &reason);
    if (due > nowMs_) {
      armDeadline(slot);
    } else if (reason == CloseReason::kTimeout && (hooksOf(connection) & kHookTimeout)) {
      emit(Event::kTimeout, slot);
      connection.lastActivity = nowMs_;
      armDeadline(slot);
    } else if (reason == CloseReason::kFrameTimeout) {
      frameTimedOut(slot);
    } else {
      closeNow(slot, reason);
    }
  }
}

int64_t Reactor::untilNextTimerMs() {
  owner_.assertCurrent(__func__);
  const uint64_t now = monotonicMs();
  int64_t next = wheel_.untilNextMs(now);
  const auto consider = [&](uint64_t at) {
    if (at == 0) return;
    const int64_t left = at > now ? static_cast<int64_t>(at - now) : 0;
    if (next < 0 || left < next) next = left;
  };
  if (const int64_t left = clients_.untilNextMs(now); left >= 0 && (next < 0 || left < next)) next = left;
  consider(stallCheckAtMs_);
  consider(memory_.nextLookMs());
  consider(permitLookAtMs_);
  // Once it is over, those that are left are in the middle of a message, and what they wait for comes from elsewhere.
  if (!fresh_.empty() && requestsUntilMs_ > nowMs_) consider(requestsUntilMs_);
  if (const uint64_t at = acceptors_.nextMs(); at != UINT64_MAX) consider(at);
  return next;
}

// ---------------------------------------------------------------- small questions

bool Reactor::isOpen(uint32_t slot, uint32_t generation) { return find(slot, generation) != nullptr; }

bool Reactor::details(uint32_t slot, uint32_t generation, Details* out) {
  const Connection* connection = find(slot, generation);
  if (!connection) return false;
  *out = {connection->peer, connection->bytesRead, connection->bytesWritten, connection->waitingBytes(), connection->inFlight};
  return true;
}

bool Reactor::findPeer(uint32_t slot, uint32_t generation, Peer* out) {
  owner_.assertCurrent(__func__);
  const Connection* connection = table_.find(slot, generation);
  if (!connection || connection->has(Connection::kAway)) return false;
  *out = connection->peer;
  return true;
}

Result<Address> Reactor::localAddress(uint32_t slot, uint32_t generation) {
  const Connection* connection = find(slot, generation);
  if (!connection) return Result<Address>::failure(EBADF);
  return sock::localAddress(connection->fd.get());
}

// For any reason of the close: unsent bytes are thrown away, and the peer is reset.
bool Reactor::resetOnClose(uint32_t slot, uint32_t generation) {
  const Connection* connection = find(slot, generation);
  if (!connection) return false;
  if (connection->secure()) connection->secure()->resets = true;
  return sock::setLingerReset(connection->fd.get()).ok();
}

bool Reactor::setNoDelay(uint32_t slot, uint32_t generation, bool on) {
  const Connection* connection = find(slot, generation);
  return connection && sock::setNoDelay(connection->fd.get(), on).ok();
}

bool Reactor::setKeepAlive(uint32_t slot, uint32_t generation, bool on, uint32_t delaySeconds) {
  const Connection* connection = find(slot, generation);
  return connection && sock::setKeepAlive(connection->fd.get(), on, delaySeconds).ok();
}

}  // namespace mr
