// Connections that the reactor makes itself: from connect() to the open connection, and how long they live when their reactor
// closes or their thread ends.
#include <cerrno>

#include "base/clock.h"
#include "base/fatal.h"
#include "net/socket.h"
#include "reactor/peer_of.h"
#include "reactor/reactor.h"

namespace mr {

Result<uint32_t> Reactor::connect(const Address& address, const Address* local, const ListenerConfig& config,
                                  uint32_t timeoutMs) {
  owner_.assertCurrent(__func__);
  if (!inTurn_) nowMs_ = monotonicMs();
  if ((draining_ || retiring_) && !servesAccepted()) return Result<uint32_t>::failure(ECANCELED);
  if (exchange_->memoryState(nowMs_) != MemoryState::kFine || !exchange_->admission().enter())
    return Result<uint32_t>::failure(ENOSPC);
  return clients_.connect(address, local, config, addFraming(config.framing), nowMs_, timeoutMs);
}

void Reactor::cancelConnect(uint32_t request) {
  owner_.assertCurrent(__func__);
  if (!clients_.cancel(request)) return;
  requestTurn();  // a reactor that closes may have waited for just this
}

// Its place among the connections of the process was taken when it began.
void Reactor::onConnectEnded(Connector::Ended ended) {
  const uint32_t slot = ended.error == 0 ? table_.open() : ConnectionTable::kFull;
  if (slot == ConnectionTable::kFull) {
    clients_.failed(ended);
    return emit(Event::kConnectFailed, 0, ended.request, static_cast<uint32_t>(ended.error == 0 ? ENOSPC : ended.error));
  }
  Connection& connection = table_.at(slot);
  connection.set(Connection::kClient | Connection::kAnnounced);
  connection.fd = std::move(ended.attempt.fd);
  connection.peer = peerOf(ended.attempt.address);
  connection.listener = ended.attempt.profile;
  connection.framing = clients_.framing(connection.listener);
  connection.lastActivity = connection.receivingSince = nowMs_;
  const ListenerConfig& cfg = config(connection);
  if (cfg.noDelay && connection.peer.isNamed()) (void)sock::setNoDelay(connection.fd.get(), true);
  if (cfg.keepAliveSeconds != 0) (void)sock::setKeepAlive(connection.fd.get(), true, cfg.keepAliveSeconds);
  if (!(cfg.hooks & kHookMessage)) connection.set(Connection::kPausedByUser);
  clients_.opened();
  exchange_->balance().enter(index_);
  counters_.open.add(1);
  exchange_->directory().publish(idOf(slot), exchange_->reactorMailbox(index_));
  emit(Event::kConnected, slot, ended.request);
  armDeadline(slot);
  // It is in the set already, as the attempt that it was.
  connection.set(Connection::kInEpoll);
  connection.told = Connection::kToldOther;
  watch(slot);
}

void Reactor::forgetSlot(uint32_t slot) {
  const Connection& connection = table_.at(slot);
  if (connection.has(Connection::kClient)) clients_.forgotten(connection.listener);
  table_.close(slot);
}

// Somebody came in, and may still need a client of ours for his answer. A pipe needs nobody else.
bool Reactor::servesAccepted() const { return acceptors_.any() || table_.size() > away_ + clients_.open() + pipedAccepted_; }

// Nobody is served any more: what the reactor has connected for them ends like those who were.
void Reactor::finishClients() {
  cancelConnects();
  if (clients_.open() == 0) return;
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    const Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.has(Connection::kClient) || !connection.fd.valid()) continue;
    drainConnection(slot);
  }
}

// The hooks of a client are functions of the thread that is ending. A pipe needs none of them, and goes on.
void Reactor::leaveClients() {
  cancelConnects();
  if (clients_.open() == 0) return;
  for (uint32_t slot = 0; slot < table_.highest(); ++slot) {
    Connection& connection = table_.at(slot);
    if (!connection.has(Connection::kOpen) || !connection.has(Connection::kClient) || !connection.fd.valid()) continue;
    if (!connection.has(Connection::kPiped)) {
      closeNow(slot, CloseReason::kThreadLost);
      continue;
    }
    if (config(connection).hooks == 0) continue;
    ListenerConfig silent = config(connection);
    silent.hooks = 0;
    const uint16_t profile = clients_.change(connection.listener, silent);
    if (profile == ClientProfiles::kNone) {
      closeNow(slot, CloseReason::kThreadLost);
      continue;
    }
    connection.listener = profile;
  }
}

}  // namespace mr
