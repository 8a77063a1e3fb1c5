// Whether there is room for what is to be sent. Only what a peer leaves unread counts against it: the socket is asked first, and
// a message passes the maximum, however large, when little waits before it. See docs/backpressure.md.
#include <algorithm>

#include "reactor/reactor.h"

namespace mr {

// False: the connection has closed, as slow-consumer or memory-limit.
bool Reactor::admits(uint32_t slot, size_t more, Admits how) {
  const Connection& connection = table_.at(slot);
  if (connection.waitingBytes() + more <= config(connection).outMaxBytes && more < MemoryGuard::kStep) return true;
  return admitsMuch(slot, more, how);
}

bool Reactor::admitsMuch(uint32_t slot, size_t more, Admits how) {
  Connection& connection = table_.at(slot);
  const ListenerConfig& cfg = config(connection);
  if (connection.waitingBytes() + more > cfg.outMaxBytes) flushConnection(slot);
  if (!connection.fd.valid()) return false;
  // A publication exists once, whoever it waits for.
  if (how != Admits::kShared && more >= MemoryGuard::kStep && !findsMemory(slot, more)) return false;
  if (isBelowCeiling(slot, more)) return true;
  const size_t waiting = connection.waitingBytes();
  if (waiting >= cfg.outHighBytes + kBeside) {
    // No further handler begins while so much waits, and those that have begun cannot be stopped.
    uint32_t* passes = connection.extras ? &connection.extras->passes : nullptr;
    if (how != Admits::kOneOfEach || !passes || *passes == 0) {
      closeNow(slot, CloseReason::kSlowConsumer);
      requestTurn();
      return false;
    }
    --*passes;
  }
  const size_t pages = (waiting + more + kBeside) / kPage + 1;
  connection.needExtras().ceilingPages = static_cast<uint32_t>(std::min<size_t>(pages, UINT32_MAX));
  return true;
}

// The maximum; or what a message that has passed it has left, with what belongs to it.
bool Reactor::isBelowCeiling(uint32_t slot, size_t more) {
  Connection& connection = table_.at(slot);
  const size_t waiting = connection.waitingBytes();
  if (waiting + more <= config(connection).outMaxBytes) return true;
  if (!connection.extras || connection.extras->ceilingPages == 0) return false;
  // Bytes that have left are not given to others.
  const size_t pages = std::min<size_t>(connection.extras->ceilingPages, (waiting + kBeside) / kPage + 1);
  connection.extras->ceilingPages = static_cast<uint32_t>(pages);
  return waiting + more <= pages * kPage;
}

// Where the process would hold more than it may, those that hold most close first: this one too, if that is what it would hold.
// Received bytes that JS has let go of are not asked about: the collector has its time for them.
bool Reactor::findsMemory(uint32_t slot, size_t more) {
  exchange_->publishBuffered(index_, ownBytes());
  const MemoryUse use = exchange_->memoryUse();
  if (use.sum() - use.received + more <= exchange_->options().maxMemoryBytes) return true;
  if (closeLargest(MemoryGuard::kMostShed, {slot, more}) != 0) requestTurn();
  exchange_->publishBuffered(index_, ownBytes());
  return table_.at(slot).fd.valid();
}

// The results of `write` and its like.
Reactor::WriteResult Reactor::roomLeft(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (losesOutput(connection)) {
    // There is no room to come, and reading must not wait for it.
    connection.set(Connection::kWantsDrain);
    return WriteResult::kFull;
  }
  if (connection.waitingBytes() < config(connection).outHighBytes) return WriteResult::kBelowHigh;
  connection.set(Connection::kWantsDrain);
  pauseByOutput(slot);
  if (isDrained(connection)) markDirty(slot);
  return WriteResult::kFull;
}

// The head of the order goes on as soon as the peer has taken its bytes: replies held behind it wait for its end.
bool Reactor::isDrained(const Connection& connection) const {
  const size_t low = config(connection).outLowBytes;
  if (connection.waitingBytes() <= low) return true;
  const bool streams = connection.has(Connection::kHeadStarted) && connection.window();
  return streams && connection.waitingBytes() - connection.window()->heldBytes() <= low;
}

// False: the socket has taken what waited, and the frames behind need not wait.
bool Reactor::stopBehind(uint32_t slot, uint32_t generation, uint32_t rawEnd) {
  Connection* connection = find(slot, generation);
  if (!connection) return true;
  const size_t high = config(*connection).outHighBytes;
  const bool mayTake = inTurn_ && !connection->secure() && !connection->out.empty() && !(connection->interest & EPOLLOUT);
  if (mayTake && connection->waitingBytes() >= high && outBudget_.left()) flushConnection(slot);
  if (!connection->fd.valid()) return true;
  if (connection->waitingBytes() < high) return false;
  stopAtCurrent(*connection, rawEnd);
  return true;
}

}  // namespace mr
