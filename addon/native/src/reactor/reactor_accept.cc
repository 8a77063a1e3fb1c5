// The reactor's door: accepting, backing off when the machine is out of descriptors, emptying the listeners at the end.
#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "base/fatal.h"
#include "codec/proxy_header.h"
#include "net/socket.h"
#include "reactor/peer_of.h"
#include "reactor/reactor.h"

namespace mr {

namespace {

// The connection went away between the kernel's queue and us: nothing is wrong with the listener.
bool isPeersAffair(int error) { return error == ECONNABORTED || error == EPROTO || error == EPERM || error == ENETDOWN; }

}  // namespace

// Framings::kNone when there are too many.
uint16_t Reactor::addFraming(const FramingConfig& framing) {
  return framings_.add(framing, table_.highest(), [this](Framings::Used& used) {
    for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
      if (table_.at(slot).has(Connection::kOpen)) used.mark(table_.at(slot).framing);
    }
    for (const Span& span : spans_) used.mark(span.framing);
    clients_.eachFraming([&used](uint16_t framing) { used.mark(framing); });
  });
}

uint16_t Reactor::addListener(const ListenerConfig& config) {
  owner_.assertCurrent(__func__);
  static_assert(Exchange::kMaxListeners <= Framings::kOwn);
  MR_CHECK(listeners_.size() < Exchange::kMaxListeners, "too many listeners");
  listeners_.push_back(config);
  listenerFramings_.push_back(framings_.addOwn(config.framing));
  return static_cast<uint16_t>(listeners_.size() - 1);
}

void Reactor::listen(uint16_t listener, std::shared_ptr<ListenerGroup> group, int member, bool spread) {
  owner_.assertCurrent(__func__);
  MR_CHECK(listener < listeners_.size(), "no such listener");
  Acceptor acceptor;
  acceptor.fd = group->take(member);
  acceptor.proxyFrom = group->options().proxyFrom;
  acceptor.group = std::move(group);
  acceptor.listener = listener;
  acceptor.spread = spread;
  acceptors_.add(std::move(acceptor), nowMs_);
}

void Reactor::acceptSome(uint32_t index) {
  Acceptor& acceptor = acceptors_[index];
  for (int i = 0; i < kMaxAcceptsPerTurn && acceptor.fd.valid() && (i == 0 || takesMore()); ++i) {
    budget_.spend(TurnBudget::kAcceptBytes);
    if (!exchange_->admission().takeAccept(nowMs_ * 1'000'000)) {
      // The kernel keeps those who wait, and turns the rest away when its queue is full.
      counters_.acceptsDelayed.add(1);
      return acceptors_.armAgainAt(index, nowMs_ + kAcceptDelayMs);
    }
    Result<sock::Accepted> accepted = sock::accept(acceptor.fd.get());
    if (!accepted.ok()) {
      exchange_->admission().giveBack();
      if (isPeersAffair(accepted.error)) continue;
      if (accepted.error != EAGAIN && accepted.error != EWOULDBLOCK) return acceptFailed(index, accepted.error);
      // A Unix listener that refuses stays readable: there is nothing more to be told of it.
      if (acceptor.emptying && acceptor.group->address().isUnix()) acceptors_.disarm(index);
      return;
    }
    acceptor.lastAcceptMs = nowMs_;
    const Peer peer = peerOf(accepted.value.peer);
    const bool proxied = acceptor.proxyFrom != nullptr;
    // Who reaches a Unix path has the rights to.
    if (proxied && peer.family != Peer::Family::kUnnamed && !acceptor.proxyFrom->contains(accepted.value.peer)) {
      refuse(CloseReason::kProxyHeader);
      continue;
    }
    const uint32_t target = enterReactor(acceptor, peer);
    Handover fresh(std::move(accepted.value.fd), peer, acceptor.listener,
                   proxied ? Handover::State::kProxied : Handover::State::kNew);
    if (target == index_) {
      adopt(fresh);
    } else {
      handOver(std::move(fresh), target);
    }
  }
}

void Reactor::acceptFailed(uint32_t index, int error) {
  // EMFILE and its like stay readable for ever: without a pause the loop would spin on them.
  counters_.acceptErrors.add(1);
  acceptors_.armAgainAt(index, nowMs_ + Acceptors::kRetryMs);
  emit(Event::kAcceptError, 0, acceptors_[index].listener, static_cast<uint32_t>(error));
}

// It never becomes a connection: its descriptor closes with the caller's.
void Reactor::refuse(CloseReason reason) {
  counters_.accepted.add(1);
  counters_.closed[static_cast<size_t>(reason)].add(1);
}

// It has entered this reactor, but is no connection yet.
void Reactor::turnAway(const Handover& fresh, CloseReason reason) {
  exchange_->balance().leave(index_);
  if (fresh.state != Handover::State::kPlaced) return refuse(reason);
  exchange_->admission().leave();
  exchange_->admission().leaveAddress(fresh.peer);
  counters_.closed[static_cast<size_t>(reason)].add(1);
}

void Reactor::adopt(Handover& fresh) {
  const bool placed = fresh.state == Handover::State::kPlaced;
  if (!placed) {
    if (exchange_->memoryState(nowMs_) != MemoryState::kFine) return turnAway(fresh, CloseReason::kMemoryLimit);
    if (!exchange_->admission().enter()) return turnAway(fresh, CloseReason::kConnectionLimit);
  }
  const uint32_t slot = table_.open();
  if (slot == ConnectionTable::kFull) {  // a million connections
    if (!placed) exchange_->admission().leave();
    return turnAway(fresh, CloseReason::kConnectionLimit);
  }
  Connection& connection = table_.at(slot);
  connection.fd = std::move(fresh.fd);
  connection.peer = fresh.peer;
  connection.listener = fresh.listener;
  connection.framing = listenerFramings_[fresh.listener];
  connection.lastActivity = connection.receivingSince = nowMs_;
  connection.bytesRead = fresh.bytesRead;
  connection.onlyHeader = placed && fresh.bytesRead != 0 && fresh.received.empty();
  counters_.open.add(1);
  exchange_->directory().publish(idOf(slot), exchange_->reactorMailbox(index_));
  const bool secure = listeners_[fresh.listener].secure;
  if (secure) connection.needExtras().secure = std::make_unique<Secure>();
  if (handingOver_ || (holdsFresh_ && secure)) connection.set(Connection::kPausedForHandover);
  if (placed) {
    connection.set(Connection::kCounted);
    if (!fresh.received.empty()) {
      connection.in = std::make_unique<InBuffer>();
      connection.in->append(fresh.received.data(), fresh.received.size());
      account(slot);
    }
    stay(slot);
  } else {
    counters_.accepted.add(1);
    const ListenerConfig& cfg = listeners_[fresh.listener];
    if (cfg.noDelay && fresh.peer.family != Peer::Family::kUnnamed) (void)sock::setNoDelay(connection.fd.get(), true);
    if (cfg.keepAliveSeconds != 0) (void)sock::setKeepAlive(connection.fd.get(), true, cfg.keepAliveSeconds);
    if (fresh.state == Handover::State::kProxied) {
      connection.set(Connection::kAwaitsProxy);
      armDeadline(slot);
      if (retiring_) beginMove(slot, kAnySibling);
    } else if (enterAddress(slot)) {
      // Where the address decides, it has decided already.
      if (cfg.balance == Balance::Policy::kApp) {
        place(slot);
      } else {
        stay(slot);
      }
    }
  }
  if (!connection.fd.valid()) return;
  watch(slot);
  if (!connection.fd.valid()) return;
  if (draining_) drainConnection(slot);
}

bool Reactor::enterAddress(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (exchange_->admission().enterAddress(connection.peer)) {
    connection.set(Connection::kCounted);
    return true;
  }
  closeNow(slot, CloseReason::kAddressLimit);
  return false;
}

// It is known who the peer is: the hooks may see it.
void Reactor::announce(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (abandoned_) return;
  // It is opened by the thread that will serve it: the next one, or a sibling.
  const bool leaves = holdsFresh_ || (retiring_ && nextSibling() != Exchange::kNoReactor);
  if (leaves && config(connection).hooks != 0 && !connection.isBound()) return pauseFor(slot, Connection::kPausedForHandover);
  connection.set(Connection::kAnnounced);
  if (config(connection).hooks != 0) emit(Event::kOpen, slot, connection.listener);
}

void Reactor::receiveProxyHeader(uint32_t slot) {
  Connection& connection = table_.at(slot);
  const Result<size_t> received = receiveInto(slot, connection, scratch_);
  if (!received.ok()) return;
  if (received.value == 0) return closeNow(slot, CloseReason::kProxyHeader);
  if (!connection.in) connection.in = std::make_unique<InBuffer>();
  connection.in->append(scratch_.data(), received.value);
  const ProxyHeader header = readProxyHeader(connection.in->data(), connection.in->size());
  if (header.kind == ProxyHeader::Kind::kPartial) return;
  if (header.kind == ProxyHeader::Kind::kError) return closeNow(slot, CloseReason::kProxyHeader);
  connection.in->consume(header.consumed);
  if (connection.in->size() == 0) connection.in.reset();
  connection.unset(Connection::kAwaitsProxy);
  connection.receivingSince = nowMs_;
  connection.onlyHeader = !connection.in;
  if (header.origin == ProxyHeader::Origin::kProxied) {
    Peer source;
    source.family = static_cast<Peer::Family>(header.source.family);
    source.port = header.source.port;
    source.bytes = header.source.bytes;
    connection.peer = source;
  } else if (header.origin == ProxyHeader::Origin::kUnix) {
    connection.peer = Peer{};
  }
  if (enterAddress(slot)) place(slot);
}

void Reactor::serviceAcceptors() {
  for (uint32_t i = 0; i < acceptors_.size(); ++i) {
    Acceptor& acceptor = acceptors_[i];
    if (!acceptor.fd.valid()) continue;
    if (acceptor.retryAtMs != 0 && nowMs_ >= acceptor.retryAtMs) acceptors_.arm(i, nowMs_);
    if (!acceptors_.isQuiet(i, nowMs_)) continue;
    // Nobody new can have come since the listener refuses; whoever was queued has been accepted. Asked before accept(), which
    // says that descriptors are missing also where nobody is queued.
    if (sock::isReadable(acceptor.fd.get())) acceptSome(i);
    // Somebody was there after all, and one turn takes only so many: what is queued at close() is reset.
    if (acceptor.retryAtMs != 0 || acceptor.lastAcceptMs == nowMs_) continue;
    acceptors_.giveBack(i);
  }
}

void Reactor::leaveListeners(uint32_t graceMs) {
  owner_.assertCurrent(__func__);
  nowMs_ = monotonicMs();
  requestsUntilMs_ = nowMs_ + graceMs;
  for (uint32_t i = 0; i < acceptors_.size(); ++i) acceptors_.giveBack(i);
}

// It has been accepted and has not yet said all of what it came for.
bool Reactor::awaitsRequest(const Connection& connection) const {
  // In the middle of a message whose beginning is with the app: its end belongs to what is in flight.
  const uint64_t state = connection.span != 0 ? spans_[connection.span - 1].stateBehind : connection.framerState();
  if (state != 0 && !connection.has(Connection::kReadEnded | Connection::kEnding)) return true;
  constexpr uint32_t kOver = Connection::kPausedMask | Connection::kReadEnded | Connection::kEnding;
  if (nowMs_ >= requestsUntilMs_ || connection.has(kOver | Connection::kClient)) return false;
  return connection.isUnheard() || connection.span != 0 || (connection.in && connection.in->size() != 0);
}

void Reactor::drainFresh() {
  std::vector<std::pair<uint32_t, uint32_t>> fresh;
  fresh.swap(fresh_);
  for (const auto& [slot, generation] : fresh) {
    const Connection* connection = table_.find(slot, generation);
    if (!connection || !connection->fd.valid()) continue;
    if (awaitsRequest(*connection)) {
      fresh_.emplace_back(slot, generation);
    } else {
      drainConnection(slot);
    }
  }
}

void Reactor::drain(uint32_t lingerMs) {
  owner_.assertCurrent(__func__);
  nowMs_ = monotonicMs();
  draining_ = true;
  exchange_->balance().setTaking(index_, false);
  lingerMs_ = lingerMs;
  for (uint32_t i = 0; i < acceptors_.size(); ++i) {
    Acceptor& acceptor = acceptors_[i];
    if (!acceptor.fd.valid()) continue;
    if (acceptor.group->isBorrowed()) {
      acceptors_.giveBack(i);
      continue;
    }
    (void)sock::refuseNewConnections(acceptor.fd.get());
    acceptors_.empty(i, nowMs_, acceptor.quietMs);
  }
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    // Clients go on as long as an accepted connection may need them.
    if (table_.at(slot).has(Connection::kOpen) && table_.at(slot).fd.valid() && !table_.at(slot).has(Connection::kClient)) {
      drainConnection(slot);
    }
  }
  mailbox_.park();
  mailbox_.wake();  // a turn follows, also when nothing else happens
}

void Reactor::drainConnection(uint32_t slot) {
  Connection& connection = table_.at(slot);
  // A stream is asked to end by its thread.
  if (connection.has(Connection::kDraining | Connection::kStreamed)) return;
  if (connection.has(Connection::kPiped)) return;  // until one of the two peers ends it, or the time is over
  const uint32_t generation = connection.generation;
  if (connection.has(Connection::kAwaitsReactor)) stay(slot);  // no connection moves any more
  // Bytes that the peer has sent by now are served; later ones are not.
  if (!connection.has(Connection::kPausedMask | Connection::kReadEnded)) onReadable(slot, connection);
  Connection* still = table_.find(slot, generation);
  if (!still || !still->fd.valid()) return;
  if (awaitsRequest(*still)) return fresh_.emplace_back(slot, generation), void();
  still->set(Connection::kDraining);
  maybeFinish(slot);
}

void Reactor::finishDrainIfEmpty() {
  if (!(draining_ || retiring_) || drained_ || table_.size() != away_ || clients_.connecting() != 0) return;
  // A sibling is sending one.
  if (exchange_->balance().of(index_) != 0) return requestAnotherTurn();
  if (retiring_ && !calls_.empty()) return;  // their answers come from here
  if (acceptors_.any()) return;
  drained_ = true;
  emit(Event::kDrained, 0);
}

}  // namespace mr
