// Two connections whose bytes go to each other. No hook sees them, and no byte is copied but those that the other socket does
// not take at once, as a proxy needs it. Each direction stops and ends by itself.
#include <algorithm>
#include <cerrno>

#include "base/fatal.h"
#include "net/socket.h"
#include "reactor/reactor.h"

namespace mr {

Reactor::Piped Reactor::pipe(uint32_t slotA, uint32_t generationA, uint32_t rawEndA, uint32_t slotB, uint32_t generationB,
                             uint32_t rawEndB) {
  Connection* a = find(slotA, generationA);
  Connection* b = find(slotB, generationB);
  if (!a || !b) return Piped::kGone;
  // Not the app's doing, as far as this side can tell: a caller for the app's own ends asks whether it has moved or ended one
  // itself.
  constexpr uint32_t kLeaves = Connection::kEnding | Connection::kFinSent | Connection::kMoving;
  if (slotA != slotB && (a->has(kLeaves) || b->has(kLeaves))) return Piped::kGone;
  const auto isBusy = [](const Connection& connection) {
    const State state = stateOf(connection);
    const bool isHooks = (state == State::kServed || state == State::kDraining) && !connection.has(Connection::kMoving);
    return !isHooks || connection.secure() || connection.inFlight != 0 || (connection.window() && !connection.window()->empty());
  };
  if (slotA == slotB || isBusy(*a) || isBusy(*b)) return Piped::kBusy;
  const auto link = [this](uint32_t slot, Connection& connection, uint32_t rawEnd, uint32_t other) {
    stopAtCurrent(connection, rawEnd);
    connection.set(Connection::kPiped);
    connection.needExtras().pipe = other;
    subscribers_.drop(connection);  // a publication would come in the middle of the other one's bytes
    connection.unset(Connection::kPausedByUser | Connection::kPausedByOutput);
    if (!connection.has(Connection::kClient)) ++pipedAccepted_;
    if (connection.in) addPending(slot);
  };
  link(slotA, *a, rawEndA, slotB);
  link(slotB, *b, rawEndB, slotA);
  counters_.piped.add(1);
  for (const uint32_t slot : {slotA, slotB}) {
    const Connection& connection = table_.at(slot);
    if (!connection.fd.valid()) continue;
    // One that had finished sending before is told of as soon as its kept bytes have left.
    if (connection.has(Connection::kReadEnded)) ended_.push_back(slot);
    stopPipeWhenFull(slot);
    updateInterest(slot);
  }
  requestTurn();
  return Piped::kDone;
}

bool Reactor::staysHere(uint32_t slot, uint32_t generation) {
  const Connection* connection = find(slot, generation);
  return connection && connection->has(Connection::kClient | Connection::kPiped);
}

void Reactor::receiveForPipe(uint32_t slot) {
  const Result<size_t> received = receiveInto(slot, table_.at(slot), scratch_);
  if (!received.ok()) return;
  if (received.value == 0) {
    table_.at(slot).set(Connection::kReadEnded);
    updateInterest(slot);
    // At the end of the turn, when the other one's end may have been read as well.
    ended_.push_back(slot);
    return requestTurn();
  }
  forwardBytes(slot, {scratch_.data(), received.value});
}

// The connection has broken, but earlier bytes can still be read: an answer, often, that says why.
void Reactor::receiveLastForPipe(uint32_t slot) {
  if (table_.at(slot).has(Connection::kReadEnded)) return;
  if (table_.at(slot).in) forwardKept(slot);
  size_t most = config(table_.at(slot)).outMaxBytes;
  while (most != 0 && table_.at(slot).has(Connection::kPiped)) {
    const Result<size_t> received = sock::receive(table_.at(slot).fd.get(), scratch_.data(), std::min(most, scratch_.size()));
    budget_.spend(TurnBudget::kSyscallBytes);
    if (!received.ok() || received.value == 0) {
      Broken& broken = table_.at(slot).extras->broken;
      if (received.ok() && !broken.cutsOff()) table_.at(slot).set(Connection::kReadEnded);
      if (!received.ok() && broken.error == 0) broken.error = received.error;
      return;
    }
    table_.at(slot).bytesRead += received.value;
    counters_.bytesRead.add(received.value);
    most -= received.value;
    forwardBytes(slot, {scratch_.data(), received.value});
  }
}

// Forwards bytes received before it was piped, and not seen by a hook.
void Reactor::forwardKept(uint32_t slot) {
  const std::unique_ptr<InBuffer> kept = std::move(table_.at(slot).in);
  account(slot);
  if (kept->size() != 0) forwardBytes(slot, {kept->data(), kept->size()});
  if (table_.at(slot).has(Connection::kPiped)) settlePipe(slot);
}

void Reactor::forwardBytes(uint32_t slot, std::span<const uint8_t> bytes) {
  const uint32_t to = table_.at(slot).extras->pipe;
  Connection& target = table_.at(to);
  if (!mayWrite(target, Writer::kPipe)) return;
  // Nothing waits: the socket is tried before a byte is copied.
  if (target.out.empty()) {
    const Result<size_t> sent = sock::send(target.fd.get(), bytes.data(), bytes.size());
    if (!sent.ok() && sent.error != EAGAIN && sent.error != EWOULDBLOCK) return failedToSend(to, sent.error);
    const size_t taken = sent.ok() ? sent.value : 0;
    target.bytesWritten += taken;
    counters_.bytesWritten.add(taken);
    if (taken != 0) touch(to);
    bytes = bytes.subspan(taken);
    if (bytes.empty()) return;
    target.setSendingSinceMs(nowMs_);
  }
  target.out.append(bytes.data(), bytes.size());
  account(to);
  hastenDeadline(to);
  updateInterest(to);
  if (target.fd.valid()) stopPipeWhenFull(slot);
}

void Reactor::stopPipeWhenFull(uint32_t slot) {
  const Connection& target = table_.at(table_.at(slot).extras->pipe);
  if (target.waitingBytes() <= config(target).outHighBytes) return;
  counters_.pausesByPeer.add(1);
  pauseFor(slot, Connection::kPausedByPipe);
}

// Whose peer has finished gets FIN when it has taken everything; when both have it, nothing is left to do.
void Reactor::settlePipe(uint32_t slot) {
  const auto isOver = [](const Connection& from, const Connection& to) {
    return from.has(Connection::kReadEnded) && from.span == 0 && !from.in && to.out.empty();
  };
  Connection& connection = table_.at(slot);
  Connection& other = table_.at(connection.extras->pipe);
  const bool hasEnded = isOver(connection, other), otherHasEnded = isOver(other, connection);
  const auto passOn = [&](Connection& to) {
    if (to.has(Connection::kPipeFinSent)) return;
    to.set(Connection::kPipeFinSent);
    // close() sends FIN, too, and comes at once.
    if (!hasEnded || !otherHasEnded) (void)sock::shutdownWrite(to.fd.get());
  };
  if (hasEnded) passOn(other);
  if (otherHasEnded) passOn(connection);
  if (hasEnded && otherHasEnded) closeNow(slot, CloseReason::kEnd);
}

uint32_t Reactor::unlinkPipe(uint32_t slot) {
  Connection& connection = table_.at(slot);
  const uint32_t to = connection.extras->pipe;
  for (Connection* one : {&connection, &table_.at(to)}) {
    one->unset(Connection::kPiped | Connection::kPausedByPipe);
    if (!one->has(Connection::kClient)) --pipedAccepted_;
  }
  return to;
}

// One of the two ends, or has ended: so does the other, for the same reason. A reset is passed on as one, so that a cut
// stream does not look whole; after the end of the stream nothing is cut off any more.
void Reactor::closePipe(uint32_t slot, CloseReason reason) {
  const bool both =
      table_.at(slot).has(Connection::kPipeFinSent) && table_.at(table_.at(slot).extras->pipe).has(Connection::kPipeFinSent);
  const bool whole = table_.at(slot).has(Connection::kReadEnded) && !table_.at(slot).in;
  const uint32_t to = unlinkPipe(slot);
  Connection& other = table_.at(to);
  if (!other.fd.valid()) return;
  if (both) return closeNow(to, reason);
  if (reason == CloseReason::kReset && !whole) {
    if (!other.out.empty()) (void)other.out.flush(other.fd.get());
    (void)sock::setLingerReset(other.fd.get());
    return closeNow(to, reason);
  }
  other.endReason = reason;
  if (other.span == 0) other.in.reset();  // its bytes may be with the hooks: finishSpans() needs their buffer
  other.set(Connection::kEnding | Connection::kEndSaid);
  ended_.push_back(to);
  requestTurn();
}

}  // namespace mr
