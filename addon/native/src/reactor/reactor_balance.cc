// Which reactor a fresh connection goes to, before anything of it has been read, and the way there.
#include "reactor/reactor.h"

namespace mr {

// The reactor for a connection that was accepted here; it has entered there. Not where the peer must be known first.
uint32_t Reactor::enterReactor(const Acceptor& acceptor, const Peer& peer) {
  Balance& balance = exchange_->balance();
  using Policy = Balance::Policy;
  const Policy policy = listeners_[acceptor.listener].balance;
  const bool named = peer.family != Peer::Family::kUnnamed;
  const auto stays = [&] {
    balance.enter(index_);
    return index_;
  };
  // The siblings drain, too: a connection given to one of them now might come too late.
  if (draining_) return stays();
  // Fresh connections are not for a thread that is leaving, unless they belong here.
  if (relieving_ && policy != Policy::kApp && policy != Policy::kAddress) {
    const uint32_t sibling = nextSibling();
    return sibling != Exchange::kNoReactor && balance.tryEnter(sibling) ? sibling : stays();
  }
  if (policy == Policy::kLeastConnections) {
    const uint32_t least = balance.enterLeast(index_);
    return least == Balance::kNobody ? stays() : least;
  }
  if (policy == Policy::kApp || (policy == Policy::kAddress && acceptor.proxyFrom)) return stays();
  if (policy == Policy::kAddress && named) {
    for (;;) {
      const uint32_t owner = balance.ownerOf(addressKey(peer));
      if (owner == Balance::kNobody) return stays();
      if (balance.tryEnter(owner)) return owner;
    }
  }
  // A peer without an address goes round, as do all where there are not as many listening sockets as reactors.
  if (!acceptor.spread && policy != Policy::kAddress) return stays();
  for (;;) {
    const uint32_t next = exchange_->nextActiveReactor(&spreadNext_);
    if (next == Exchange::kNoReactor) return stays();
    if (balance.tryEnter(next)) return next;
    if (!balance.takes(index_)) return stays();
  }
}

void Reactor::handOver(Handover fresh, uint32_t target) {
  counters_.handedOver.add(1);
  exchange_->mailbox(exchange_->reactorMailbox(target)).send(std::make_unique<Handover>(std::move(fresh)));
}

// The peer has become known, and no hook has seen it: it may still go to another reactor.
void Reactor::place(uint32_t slot) {
  Connection& connection = table_.at(slot);
  const Balance::Policy policy = config(connection).balance;
  const bool decides = !draining_ && !abandoned_ && !connection.has(Connection::kMoving);
  if (decides && policy == Balance::Policy::kApp && batch_.hasThread()) {
    pauseFor(slot, Connection::kAwaitsReactor);
    armDeadline(slot);
    return emit(Event::kBalance, slot, connection.listener);
  }
  if (decides && policy == Balance::Policy::kAddress && connection.peer.isNamed()) {
    const uint32_t owner = exchange_->balance().ownerOf(addressKey(connection.peer));
    if (owner != index_ && exchange_->balance().tryEnter(owner)) return handOverPlaced(slot, owner);
  }
  stay(slot);
}

void Reactor::stay(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!connection.secure()) announce(slot);  // or after the handshake
  if (connection.has(Connection::kAwaitsReactor)) {
    resumeFrom(slot, Connection::kAwaitsReactor);
  } else if (connection.in) {
    addPending(slot);
  }
  if (!connection.fd.valid()) return;
  armDeadline(slot);
  if (retiring_ && !connection.has(Connection::kMoving)) beginMove(slot, kAnySibling);
}

// Only its reactor knows its name yet, so that it is simply born once more. What it counts in stays as it is.
void Reactor::handOverPlaced(uint32_t slot, uint32_t target) {
  Connection& connection = table_.at(slot);
  exchange_->directory().retract(idOf(slot));
  forgetName(slot);  // it may have been born in a sibling that has retired since
  exchange_->balance().leave(index_);
  if (connection.has(Connection::kInEpoll)) (void)epoll_.remove(connection.fd.get());
  stopTimer(slot);
  counters_.open.sub(1);
  Handover placed(std::move(connection.fd), connection.peer, connection.listener, Handover::State::kPlaced);
  placed.bytesRead = connection.bytesRead;
  if (connection.in) placed.received.assign(connection.in->data(), connection.in->data() + connection.in->size());
  connection.in.reset();
  connection.unset(Connection::kInEpoll | Connection::kHasPending | Connection::kDirty | Connection::kAwaitsReactor);
  account(slot);
  closed_.push_back(slot);
  requestTurn();
  handOver(std::move(placed), target);
}

bool Reactor::assign(uint32_t slot, uint32_t generation, uint32_t reactor) {
  const Connection* connection = find(slot, generation);
  if (!connection || !connection->has(Connection::kAwaitsReactor)) return true;
  // What its socket has said of its error it would not say there again.
  if (reactor == index_ || draining_ || connection->isBroken()) {
    stay(slot);
    requestTurn();
    return true;
  }
  if (!exchange_->balance().tryEnter(reactor)) return false;
  handOverPlaced(slot, reactor);
  return true;
}

// For one that leaves a retiring reactor. It has entered there; kNoReactor when nobody takes it.
uint32_t Reactor::enterSibling(const Connection& connection) {
  Balance& balance = exchange_->balance();
  const Balance::Policy policy = config(connection).balance;
  if (connection.moveTarget != kAnySibling) {
    if (connection.moveTarget == index_) return Exchange::kNoReactor;
    if (balance.tryEnter(connection.moveTarget)) return connection.moveTarget;
  }
  if (!balance.takes(index_)) {
    if (policy == Balance::Policy::kLeastConnections) return balance.enterLeast(index_);
    if (policy == Balance::Policy::kAddress && connection.peer.isNamed()) {
      const uint32_t owner = balance.ownerOf(addressKey(connection.peer));
      if (owner != Balance::kNobody && balance.tryEnter(owner)) return owner;
    }
  }
  for (uint32_t tries = 0; tries < exchange_->options().maxReactors; ++tries) {
    const uint32_t sibling = nextSibling();
    if (sibling == Exchange::kNoReactor || balance.tryEnter(sibling)) return sibling;
  }
  return Exchange::kNoReactor;
}

}  // namespace mr
