// How connections end: in an orderly way when nothing is owed any more, or now.
#include "base/fatal.h"
#include "net/socket.h"
#include "reactor/reactor.h"

namespace mr {

namespace {

// Plaintext of it, or its goodbye, is on its way to the thread that encrypts it, or back.
bool isEncrypting(const Connection& connection) {
  const Secure* secure = connection.secure();
  return secure && secure->established && !secure->ended && !secure->resets && (secure->handed != 0 || secure->endAsked);
}

}  // namespace

bool Reactor::nothingInFlight(const Connection& connection) const {
  if (connection.inFlight != 0 || connection.span != 0 || connection.has(Connection::kHasPending)) return false;
  if (connection.secure() && connection.secure()->established && connection.secure()->undecrypted != 0) return false;
  if (connection.window() && !connection.window()->empty()) return false;
  // While the reactor closes, a hook that is still at work may have an answer, or somebody to pipe it to.
  if (connection.heldByHooks() && connection.has(Connection::kDraining) && !connection.has(Connection::kEnding)) return false;
  // Received, and stopped only because something was full: still owed.
  const bool stopped = connection.has(Connection::kPausedByQueue | Connection::kPausedByOrder | Connection::kPausedByOutput);
  return !(connection.in && stopped && !connection.has(Connection::kEnding));
}

// Nothing new is served, but what the peer still sends is read away: closing over it would reset our last bytes. A peer that
// stops when it sees our end has no more under way than the buffers of both sockets hold (6 + 4 MiB by the kernel's defaults).
// From whoever sends more nothing is read: its own system makes it wait, and our last bytes still reach it.
void Reactor::receiveToDiscard(uint32_t slot) {
  Connection& connection = table_.at(slot);
  const Result<size_t> discarded = receiveInto(slot, connection, scratch_);
  if (!discarded.ok()) return;
  if (discarded.value != 0) return countDiscarded(slot, discarded.value);
  if (connection.secure()) connection.secure()->readEnded = true;
  updateInterest(slot);
  if (connection.fd.valid()) onReadEnd(slot);
}

void Reactor::countDiscarded(uint32_t slot, size_t bytes) {
  Connection& connection = table_.at(slot);
  connection.needExtras().discarded += bytes;
  if (connection.discardsNoMore()) updateInterest(slot);
}

// Orderly: all replies, then FIN, then whatever the peer still sends is read away until its FIN or the end of the linger time.
void Reactor::finishWhenDone(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (connection.has(Connection::kPiped)) return settlePipe(slot);
  if (!connection.fd.valid() || connection.has(Connection::kFinSent)) {
    if (connection.fd.valid() && connection.has(Connection::kReadEnded)) closeNow(slot, connection.endReason);
    return;
  }
  if (connection.has(Connection::kHalfClosing)) return finishHalf(slot);
  if (!connection.has(Connection::kEnding | Connection::kDraining)) return;
  if (connection.span != 0) return;  // its bytes are with the hooks; finishSpans() asks again
  const bool saidEnd = connection.has(Connection::kEndSaid);
  if (!saidEnd && !nothingInFlight(connection)) return;
  if (!connection.out.empty() && !connection.isHidden()) return;
  if (!finishSecure(slot)) return;
  connection.set(Connection::kFinSent);
  (void)sock::shutdownWrite(connection.fd.get());
  if (connection.secure() && connection.secure()->plainEnded) connection.set(Connection::kReadEnded);
  if (connection.has(Connection::kReadEnded)) return closeNow(slot, connection.endReason);
  connection.unset(Connection::kPausedMask);
  connection.in.reset();
  startTimer(slot, nowMs_ + lingerMs_);
  updateInterest(slot);
}

void Reactor::closeNow(uint32_t slot, CloseReason reason, int error) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid()) return;
  // An end behind which something of ours has been lost is none.
  if (losesOutput(connection) && (reason == CloseReason::kEnd || reason == CloseReason::kWriteTimeout)) return closeBroken(slot);
  budget_.spend(TurnBudget::kSyscallBytes);
  if (connection.has(Connection::kPiped)) closePipe(slot, reason);
  retractName(slot);
  forgetName(slot);
  exchange_->balance().leave(index_);
  exchange_->admission().leave();
  if (connection.has(Connection::kCounted)) exchange_->admission().leaveAddress(connection.peer);
  stopTimer(slot);
  // Before the peer can see it: a reader of the counters must find it there then.
  counters_.open.sub(1);
  counters_.closed[static_cast<size_t>(reason)].add(1);
  connection.fd.reset();
  connection.unset(Connection::kInEpoll | Connection::kHasPending | Connection::kDirty);
  const auto tell = [this](const ReplyPart& part) { exchange_->giveCredit(part.worker, part.creditToken, part.credit, true); };
  if (connection.window()) connection.window()->abandon(tell);
  if (connection.creditsDue()) {
    for (const ReplyPart& part : *connection.creditsDue()) tell(part);
  }
  dropAside(slot);
  if (connection.inFlight != 0) tellGone(slot);
  if (hooksOf(connection) != 0 || connection.isBound()) {
    emit(Event::kClose, slot, static_cast<uint32_t>(reason) | static_cast<uint32_t>(error) << 8,
         static_cast<uint32_t>(connection.bytesRead), static_cast<uint32_t>(connection.bytesRead >> 32),
         static_cast<uint32_t>(connection.bytesWritten), static_cast<uint32_t>(connection.bytesWritten >> 32));
  }
  connection.out.clear();
  subscribers_.drop(connection);
  if (connection.secure()) connection.secure()->out.clear(), connection.secure()->handed = 0;
  account(slot);
  if (connection.held != 0) heldTotal_ -= connection.held, heldByThemselves_ -= connection.heldByItself();
  connection.held = 0;
  closed_.push_back(slot);
  requestTurn();
}

// A worker need not finish a frame of it.
void Reactor::tellGone(uint32_t slot) {
  const ConnectionId id = idOf(slot);
  exchange_->announceGone(id);
  if (watchesGone_) emit(Event::kGone, slot, static_cast<uint32_t>(id.value), static_cast<uint32_t>(id.value >> 32));
}

// As with a socket of Node's: earlier writes have been given to the kernel, as far as it takes it.
bool Reactor::destroy(uint32_t slot, uint32_t generation, CloseReason reason) {
  Connection* connection = find(slot, generation);
  if (!connection) return false;
  if (connection->has(Connection::kStreamed)) {
    if (connection->waitingBytes() != 0) flushConnection(slot);
    connection = find(slot, generation);
    if (!connection) return true;
    if (isEncrypting(*connection)) {
      // It would close before its thread has encrypted that. So it ends: nothing is read any more, and nothing written.
      connection->endReason = reason;
      connection->unset(Connection::kHalfClosing);
      connection->set(Connection::kEnding | Connection::kEndSaid);
      ended_.push_back(slot);
      requestTurn();
      return true;
    }
  }
  Secure* secure = connection->secure();
  if (secure && secure->established && !secure->endAsked && !connection->has(Connection::kStreamed)) {
    // That attempt takes a way through the thread. Bytes not handed out now are lost.
    handPlain(slot);
    if (!connection->fd.valid()) return true;
    connection->out.clear();
  }
  // Where a peer reads nothing there may be nothing to wait for: bytes encrypted before fill the room.
  if (secure && secure->established && !secure->ended && secure->handed != 0 && !connection->has(Connection::kStreamed)) {
    connection->endReason = reason;
    secure->closesBehind = true;
    stopForFailure(slot, reason);
    connection->set(Connection::kEndSaid);
    requestTurn();
    return true;
  }
  sendLast(slot);
  closeNow(slot, reason);
  return true;
}

uint32_t Reactor::destroyAll(CloseReason reason) {
  owner_.assertCurrent(__func__);
  uint32_t destroyed = 0;
  for (uint32_t i = 0; i < acceptors_.size(); ++i) acceptors_.giveBack(i);
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid()) continue;
    // A peer that only has not said goodbye yet has lost nothing.
    if (!connection.has(Connection::kFinSent | Connection::kClient)) ++destroyed;
    closeNow(slot, reason);
  }
  cancelConnects();
  draining_ = true;
  exchange_->balance().setTaking(index_, false);
  requestTurn();
  return destroyed;
}

}  // namespace mr
