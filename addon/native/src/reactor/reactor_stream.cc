// Connections that a stream of the driving thread owns. Bytes read and not yet written live there and nowhere else, so
// they do not go to another thread: the thread is asked to end them, and the rest close with it.
#include "base/clock.h"
#include "net/socket.h"
#include "reactor/reactor.h"

namespace mr {

bool Reactor::stream(uint32_t slot, uint32_t generation) {
  Connection* connection = find(slot, generation);
  if (!connection || connection->has(Connection::kMoving)) return false;
  const State state = stateOf(*connection);
  if (state != State::kServed && state != State::kDraining) return false;
  // Replies at their places come before the first byte of the stream; without order they could come in the middle of it.
  if (config(*connection).unordered && connection->inFlight != 0) return false;
  connection->set(Connection::kStreamed);
  if (connection->has(Connection::kPausedByOutput)) resumeFrom(slot, Connection::kPausedByOutput);
  // A publication would come in the middle of its bytes.
  subscribers_.drop(*connection);
  // The stream decides when it is over, also while the server closes.
  connection->unset(Connection::kDraining);
  retainItself(*connection);
  return true;
}

bool Reactor::finish(uint32_t slot, uint32_t generation) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->has(Connection::kStreamed)) return false;
  connection->set(Connection::kHalfClosing);
  finishHalf(slot);
  return true;
}

void Reactor::finishHalf(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (connection.inFlight != 0 || (connection.window() && !connection.window()->empty()) || !connection.out.empty()) return;
  if (!finishSecure(slot)) return;
  if (!connection.has(Connection::kShut)) {
    connection.set(Connection::kShut);
    (void)sock::shutdownWrite(connection.fd.get());
    emit(Event::kDrain, slot);
    requestTurn();
  }
  // Bytes of the peer may still be on its way to the stream.
  const bool read = !connection.in && connection.span == 0 && !connection.has(Connection::kHasPending);
  if (connection.has(Connection::kReadEnded) && read) closeNow(slot, CloseReason::kEnd);
}

// Fresh connections go to the siblings; those that cannot wait for the next thread.
void Reactor::relieve() {
  owner_.assertCurrent(__func__);
  nowMs_ = monotonicMs();
  relieving_ = holdsFresh_ = true;
  requestTurn();
}

// This thread stays for a while: connections that wait for the next one are served here.
void Reactor::welcome() {
  owner_.assertCurrent(__func__);
  if (!holdsFresh_ || quiescing_) return;
  nowMs_ = monotonicMs();
  holdsFresh_ = false;
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid()) continue;
    if (!connection.has(Connection::kPausedForHandover) || connection.has(Connection::kMoving)) continue;
    if (!connection.has(Connection::kAnnounced) && !connection.isHidden()) announce(slot);
    resumeFrom(slot, Connection::kPausedForHandover);
  }
  requestTurn();
}

}  // namespace mr
