// Connections behind TLS: received bytes go to the driving thread and come back as plaintext, which is cut like anything
// else; sent bytes go there too, in order, as far as the socket takes them, and come back encrypted.
#include <algorithm>
#include <cerrno>

#include "base/clock.h"
#include "reactor/reactor.h"

namespace mr {

void Reactor::receiveCipher(uint32_t slot) {
  Connection& connection = table_.at(slot);
  Secure& secure = *connection.secure();
  if (!batch_.ensureRoom(EventBatch::kLeastRoom)) return;
  const std::span<uint8_t> room = batch_.room(secure.readBytes);
  const Result<size_t> received = receiveInto(slot, connection, room);
  if (!received.ok()) return;
  if (received.value == 0) {
    secure.readEnded = true;
    updateInterest(slot);
    if (!connection.fd.valid()) return;
    if (!secure.begun) return closeNow(slot, CloseReason::kEnd);
    return emit(Event::kCipher, slot, batch_.slab(), 0, 0, connection.listener);
  }
  // Behind its goodbye, which the layer would throw away.
  if (secure.plainEnded || connection.has(Connection::kReadEnded)) return countDiscarded(slot, received.value);
  batch_.use(received.value);
  takeCipher(slot, room.first(received.value));
  emit(Event::kCipher, slot, batch_.slab(), batch_.offsetOf(room.data()), static_cast<uint32_t>(received.value),
       connection.listener);
}

void Reactor::takeCipher(uint32_t slot, std::span<const uint8_t> bytes) {
  Connection& connection = table_.at(slot);
  Secure& secure = *connection.secure();
  if (!secure.begun) {
    secure.begun = true;
    retainItself(connection);
  }
  ++secure.undecrypted;
  const bool ended = secure.records.push(bytes.data(), bytes.size());
  if (!secure.records.inside()) {
    secure.recordSinceMs = 0;
  } else if (ended || secure.recordSinceMs == 0) {
    secure.recordSinceMs = nowMs_;
    hastenDeadline(slot);
  }
}

// The bytes behind a PROXY header.
void Reactor::emitEarlyCipher(uint32_t slot) {
  Connection& connection = table_.at(slot);
  const std::unique_ptr<InBuffer> in = std::move(connection.in);
  takeCipher(slot, {in->data(), in->size()});
  if (!emitBytes(Event::kCipher, slot, {in->data(), in->size()}, connection.listener, false))
    closeNow(slot, CloseReason::kSystem, ENOMEM);
}

bool Reactor::feed(uint32_t slot, uint32_t generation, std::span<const uint8_t> plain) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->secure()) return false;
  if (connection->has(Connection::kEnding | Connection::kReadEnded) || plain.empty()) return false;
  if (!connection->in) {
    connection->in = std::make_unique<InBuffer>();
    connection->receivingSince = nowMs_;
  }
  if (connection->secure()) connection->secure()->heard = true;
  connection->in->append(plain.data(), plain.size());
  account(slot);
  if (connection->in->size() < connection->in->needed) {
    hastenDeadline(slot);
    return true;
  }
  addPending(slot);
  requestTurn();
  return true;
}

bool Reactor::feedEnd(uint32_t slot, uint32_t generation) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->secure()) return false;
  connection->secure()->plainEnded = true;
  ended_.push_back(slot);
  requestTurn();
  return true;
}

// The end of the stream has its place behind the frames before it. A socket that is not read does not tell of it either.
void Reactor::endPlain(uint32_t slot) {
  const Connection& connection = table_.at(slot);
  if (!connection.secure() || !connection.secure()->plainEnded || connection.has(Connection::kReadEnded)) return;
  if (connection.span != 0 || connection.has(Connection::kPausedMask | Connection::kHasPending)) return;
  connection.secure()->toldInTurn = counters_.turns.get();
  onReadEnd(slot);
}

bool Reactor::decrypted(uint32_t slot, uint32_t generation, uint32_t readBytes) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->secure()) return false;
  connection->secure()->readBytes = std::clamp<uint32_t>(readBytes, Secure::kLeastCipher, kReadBytes);
  if (connection->secure()->undecrypted != 0) --connection->secure()->undecrypted;
  if (connection->isBroken()) listBroken(slot), askForTurn();
  maybeFinish(slot);
  return true;
}

bool Reactor::established(uint32_t slot, uint32_t generation) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->secure() || connection->secure()->established) return false;
  connection->secure()->established = true;
  connection->receivingSince = nowMs_;
  announce(slot);
  armDeadline(slot);
  requestTurn();
  return true;
}

// The socket may have taken all that was encrypted, and then nothing else says that there is room for more.
bool Reactor::mayHandPlain(const Connection& connection) const {
  const Secure& secure = *connection.secure();
  if (!secure.established || secure.endAsked || connection.out.empty()) return false;
  return secure.handed < kMostHanded && secure.out.size() < config(connection).outHighBytes;
}

void Reactor::handPlain(uint32_t slot) {
  Connection& connection = table_.at(slot);
  Secure& secure = *connection.secure();
  while (mayHandPlain(connection)) {
    if (!batch_.ensureRoom(std::min(connection.out.size(), EventBatch::kLeastRoom))) {
      if (batch_.hasThread()) closeNow(slot, CloseReason::kSystem, ENOMEM);
      return;
    }
    const std::span<uint8_t> room = batch_.room(kMostHanded);
    const size_t taken = connection.out.take(room.data(), room.size());
    emit(Event::kPlain, slot, batch_.slab(), batch_.offsetOf(room.data()), static_cast<uint32_t>(taken));
    batch_.use(taken);
    secure.handed += taken;
    outBudget_.spend(taken);
  }
}

void Reactor::handPlainOfDirty() {
  for (uint32_t slot : dirty_) {
    const Connection& connection = table_.at(slot);
    if (!connection.secure() || !connection.fd.valid()) continue;
    if (!outBudget_.left()) return;  // they stay dirty, and leave in a turn to come
    handPlain(slot);
  }
}

bool Reactor::writeCipher(uint32_t slot, uint32_t generation, std::span<const uint8_t> bytes) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->secure() || !mayWrite(*connection, Writer::kTls)) return false;
  const ListenerConfig& cfg = config(*connection);
  OutBuffer& out = connection->secure()->out;
  // Plaintext is handed out as far as there is room for it. What TLS says of its own accord, such as its answers to a peer that
  // asks for new keys and reads nothing, has no such feeder.
  if (out.size() + bytes.size() > std::max(cfg.outMaxBytes, cfg.outHighBytes) + kMostCipher) {
    closeNow(slot, CloseReason::kSlowConsumer);
    return false;
  }
  out.append(bytes.data(), bytes.size());
  markDirty(slot);
  if (out.size() > cfg.outHighBytes) markPausedByOutput(slot);
  return true;
}

bool Reactor::encrypted(uint32_t slot, uint32_t generation, uint32_t bytes) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->secure()) return false;
  connection->secure()->handed -= std::min<size_t>(connection->secure()->handed, bytes);
  if (connection->secure()->closesBehind && connection->secure()->handed == 0) {
    sendLast(slot);
    closeNow(slot, connection->endReason);
    return true;
  }
  markDirty(slot);
  return true;
}

bool Reactor::cipherEnd(uint32_t slot, uint32_t generation) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->secure()) return false;
  if (connection->secure()->closesBehind) {
    sendLast(slot);
    closeNow(slot, connection->endReason);
    return true;
  }
  connection->secure()->endAsked = connection->secure()->ended = true;
  // It may have said goodbye of its own accord.
  connection->set(Connection::kEnding | Connection::kEndSaid);
  connection->out.clear();
  markDirty(slot);
  return true;
}

bool Reactor::secureFailed(uint32_t slot, uint32_t generation) {
  Connection* connection = find(slot, generation);
  if (!connection || !connection->secure()) return false;
  if (connection->endReason == CloseReason::kEnd) connection->endReason = CloseReason::kTlsError;
  if (connection->span == 0) connection->in.reset();  // as in closePipe()
  return cipherEnd(slot, generation);                 // the last bytes, such as an alert, still leave
}

// Whether the goodbye of TLS has left, if there is anybody to say it to.
bool Reactor::finishSecure(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!connection.secure()) return true;
  Secure& secure = *connection.secure();
  if (secure.established && !secure.endAsked) {
    secure.endAsked = true;
    emit(Event::kPlain, slot, batch_.slab(), 0, 0);
    requestTurn();
    return false;
  }
  return (secure.ended || !secure.established) && secure.out.empty();
}

// Its state is in a thread that leaves: it answers what it has, and goes. A peer in the middle of its handshake, or whose first
// frame is on its way, would see an end without an answer, on a connection that it has just opened: it may still ask, for
// graceMs.
void Reactor::endSecure(uint32_t graceMs) {
  owner_.assertCurrent(__func__);
  nowMs_ = monotonicMs();
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.fd.valid() || !connection.secure()) continue;
    if (!connection.secure()->begun || connection.has(Connection::kStreamed)) continue;
    requestsUntilMs_ = std::max(requestsUntilMs_, nowMs_ + graceMs);
    drainConnection(slot);
  }
  requestTurn();
}

}  // namespace mr
