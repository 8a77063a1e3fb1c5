#include "reactor/reactor_core.h"

#include <utility>

#include "base/clock.h"

namespace mr {

namespace {

// Two tables of one process must not name two connections alike, or an id kept over a restart could find a stranger.
uint32_t firstGeneration() {
  static std::atomic<uint32_t> tables{1};
  return tables.fetch_add(1, std::memory_order_relaxed) * 0x9e3779b1u | 1u;
}

}  // namespace

ReactorCore::ReactorCore(std::shared_ptr<Exchange> exchange, uint32_t index)
    : exchange_(std::move(exchange)),
      index_(index),
      mailbox_(exchange_->mailbox(exchange_->reactorMailbox(index))),
      table_(firstGeneration()),
      nowMs_(monotonicMs()) {}

Connection* ReactorCore::find(uint32_t slot, uint32_t generation) {
  owner_.assertCurrent(__func__);
  if (!inTurn_) nowMs_ = monotonicMs();  // the last turn may be long ago
  Connection* connection = table_.find(slot, generation);
  return connection && connection->fd.valid() ? connection : nullptr;
}

void ReactorCore::wake() {
  mailbox_.park();
  mailbox_.wake();
}

void ReactorCore::recount(uint32_t slot) {
  Connection& connection = table_.at(slot);
  size_t now = 0;
  if (connection.fd.valid()) {
    if (!connection.out.empty() || connection.extras) now = connection.waitingBytes() - connection.sharedBytes();
    if (connection.in) now += connection.in->capacity();
    if (connection.subscriptions()) now += connection.subscriptions()->heldBytes;
  }
  if (now == connection.accounted) return;
  if (now > connection.accounted) {
    counters_.buffered.add(now - connection.accounted);
  } else {
    counters_.buffered.sub(connection.accounted - now);
  }
  connection.accounted = now;
}

}  // namespace mr
