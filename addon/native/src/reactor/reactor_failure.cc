// Connections that end because something of theirs has failed: earlier replies leave first. See docs/states.md.
#include "reactor/reactor.h"

namespace mr {

// A hook has failed at a frame. `place`: the first sequence that the frame itself has in the order, or kBehindAll. The replies to
// the frames before it still leave, those of the pool too; nothing at that place or behind it does.
bool Reactor::fail(uint32_t slot, uint32_t generation, uint64_t place, CloseReason reason) {
  Connection* connection = find(slot, generation);
  if (!connection) return false;
  // A stream and a pipe have no frames; and where nothing was said, nothing precedes the failure.
  const bool isSilent = connection->bytesWritten == 0 && connection->waitingBytes() == 0 && connection->inFlight == 0;
  if (connection->has(Connection::kStreamed | Connection::kPiped) || connection->isHidden() || isSilent) {
    return destroy(slot, generation, reason);
  }
  failAt(slot, place, reason);
  return true;
}

void Reactor::failAt(uint32_t slot, uint64_t place, CloseReason reason) {
  Connection& connection = table_.at(slot);
  connection.endReason = reason;
  requestTurn();
  if (connection.has(Connection::kFinSent | Connection::kEndSaid)) return;
  stopForFailure(slot, reason);
  if (config(connection).unordered || place < connection.headSequence) return endFailed(slot);
  if (place >= connection.nextSequence) return void(end(slot, connection.generation, Place::kInOrder));
  Reply last;
  last.sequence = place;
  last.flags = Reply::kLast | Reply::kEnd;
  onOrdered(slot, connection, last, {});
  if (connection.fd.valid() && connection.has(Connection::kEndSaid)) endFailed(slot);
}

// No frame of it is delivered any more, and later bytes of its peer are thrown away.
void Reactor::stopForFailure(uint32_t slot, CloseReason reason) {
  Connection& connection = table_.at(slot);
  connection.set(Connection::kEnding);
  if (connection.span == 0) {
    connection.in.reset();
    connection.setFramerState(0);
  } else {
    Span& span = spans_[connection.span - 1];
    span.ends = true;
    span.reason = reason;
  }
  updateInterest(slot);
}

// Nothing follows the bytes put out: frames of it that are in flight are in vain.
void Reactor::endFailed(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid()) return;
  connection.set(Connection::kEnding | Connection::kEndSaid);
  if (connection.inFlight != 0 && !exchange_->isGone(idOf(slot))) {
    exchange_->directory().retract(idOf(slot));
    tellGone(slot);
  }
  dropAside(slot);
  markDirty(slot);
  ended_.push_back(slot);
  requestTurn();
}

// One whose frames were in vain has none any more.
void Reactor::retractName(uint32_t slot) {
  const ConnectionId id = idOf(slot);
  if (table_.at(slot).has(Connection::kEndSaid) && exchange_->isGone(id)) return;
  exchange_->directory().retract(id);
}

// The failed frame is at the head of the order.
void Reactor::endAsFailed(uint32_t slot, CloseReason reason) {
  table_.at(slot).endReason = reason;
  stopForFailure(slot, reason);
  endFailed(slot);
}

// The thread that drove it is gone, with something of it. Bytes put out before leave, also if no thread comes to drive it.
void Reactor::endLost(uint32_t slot, uint64_t place, CloseReason reason) {
  const Connection& connection = table_.at(slot);
  sendLast(slot);
  const bool needsThread = connection.isBound() || connection.isHidden() || connection.has(Connection::kPiped);
  if (needsThread || connection.held != 0 || connection.bytesWritten == 0) return closeNow(slot, reason);
  failAt(slot, place, reason);
}

// One try, and no waiting: as much as the socket takes.
void Reactor::sendLast(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid() || connection.wire().empty()) return;
  const Result<size_t> sent = connection.wire().flush(connection.fd.get());
  if (!sent.ok()) return;  // it closes for a reason of its own
  connection.bytesWritten += sent.value;
  counters_.bytesWritten.add(sent.value);
}

// A thread that ends leaves no turn behind in which it would be sent.
void Reactor::sendLastOfAll() {
  for (const uint32_t slot : dirty_) {
    if (table_.at(slot).has(Connection::kOpen)) sendLast(slot);
  }
}

}  // namespace mr
