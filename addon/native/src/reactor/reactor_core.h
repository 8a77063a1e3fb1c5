// What the parts of a reactor share: its connections and the settings of each, counters, clock, budget, and what JavaScript is
// told. A part holds a ReactorCore&, and so cannot reach the loop or another part. Thread-bound like the reactor that it belongs
// to.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_owner.h"
#include "exchange/counters.h"
#include "exchange/exchange.h"
#include "reactor/client_profiles.h"
#include "reactor/connection_table.h"
#include "reactor/event_batch.h"
#include "reactor/framings.h"
#include "reactor/listener.h"
#include "reactor/turn_budget.h"

namespace mr {

class ReactorCore {
 public:
  ReactorCore(std::shared_ptr<Exchange> exchange, uint32_t index);
  ReactorCore(const ReactorCore&) = delete;

  Exchange& exchange() { return *exchange_; }
  uint32_t index() const { return index_; }
  ConnectionTable& table() { return table_; }
  ReactorCounters& counters() { return counters_; }
  TurnBudget& budget() { return budget_; }

  // What JavaScript names; null when it has closed. From the owner's thread only.
  Connection* find(uint32_t slot, uint32_t generation);
  // Its id for other threads.
  ConnectionId idOf(uint32_t slot) const {
    const Connection& connection = table_.at(slot);
    const ConnectionId bornAs = connection.extras ? connection.extras->bornAs : ConnectionId{};
    return bornAs == ConnectionId{} ? ConnectionId::of(index_, slot, connection.generation) : bornAs;
  }

  // --- the settings of a connection ---
  const ListenerConfig& config(const Connection& connection) const {
    return connection.has(Connection::kClient) ? profiles_.config(connection.listener) : listeners_[connection.listener];
  }
  const FramingConfig& framing(const Connection& connection) const { return framings_[connection.framing]; }
  // The framing that it has without setFraming().
  uint16_t ownFraming(const Connection& connection) const {
    return connection.has(Connection::kClient) ? profiles_.framing(connection.listener) : listenerFramings_[connection.listener];
  }
  // The events for its thread.
  uint32_t hooksOf(const Connection& connection) const {
    return config(connection).hooks | (connection.has(Connection::kStreamed) ? uint32_t{kHooksOfStream} : 0u);
  }
  // Its frames pass no hook: they are cut and queued without JS.
  bool goesToPool(const Connection& connection) const {
    return !connection.has(Connection::kStreamed) && config(connection).toPool &&
           framing(connection).kind != FramingKind::kCustom;
  }
  // Something of it runs in the thread that drives.
  static bool usesThread(const ListenerConfig& cfg) { return cfg.hooks != 0 || cfg.run != Run::kPool; }

  // --- what JavaScript is told ---
  void emit(Event event, uint32_t slot, uint32_t a = 0, uint32_t b = 0, uint32_t c = 0, uint32_t d = 0, uint32_t e = 0) {
    batch_.add({event, 0, slot, generationOf(slot), a, b, c, d, e});
  }
  // False when there is no memory: nothing has been told.
  bool emitBytes(Event event, uint32_t slot, std::span<const uint8_t> bytes, size_t d, bool inSlab,
                 const uint32_t* mask = nullptr) {
    return batch_.addBytes({event, 0, slot, generationOf(slot), 0, 0, 0, static_cast<uint32_t>(d), 0}, bytes, inSlab, mask);
  }

  // --- what is due because something has changed ---
  // The memory of a connection has.
  void account(uint32_t slot) {
    const Connection& connection = table_.at(slot);
    if (connection.accounted != 0 || connection.in || connection.extras || !connection.out.empty()) recount(slot);
  }
  void touch(uint32_t slot) { table_.at(slot).lastActivity = nowMs_; }
  // Its bytes that wait are sent in this turn.
  void markDirty(uint32_t slot) {
    Connection& connection = table_.at(slot);
    if (connection.has(Connection::kDirty)) return;
    connection.set(Connection::kDirty);
    dirty_.push_back(slot);
  }
  // Outside of a turn: a change needs one.
  void requestTurn() {
    if (!inTurn_) wake();
  }
  void wake();  // another turn follows in any case

 protected:
  uint32_t generationOf(uint32_t slot) const { return slot < table_.highest() ? table_.at(slot).generation : 0; }
  void recount(uint32_t slot);

  const std::shared_ptr<Exchange> exchange_;
  const uint32_t index_;
  ThreadOwner owner_;
  Mailbox& mailbox_;
  ConnectionTable table_;
  std::vector<ListenerConfig> listeners_;
  ClientProfiles profiles_;
  Framings framings_;
  std::vector<uint16_t> listenerFramings_;
  ReactorCounters counters_;
  TurnBudget budget_;  // of a turn, for input
  EventBatch batch_{budget_};
  std::vector<uint32_t> dirty_;
  uint64_t nowMs_;
  bool inTurn_ = false;
  bool leftWork_ = false;  // some list has more for the next turn
};

}  // namespace mr
