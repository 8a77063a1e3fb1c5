// Limits on incoming connections: connections of the process and of one remote address, and how many are accepted in a second.
// Exact over all reactors. Only reactors touch it, so no reactor waits here for a pool thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "base/keyed_hash.h"
#include "exchange/peer.h"

namespace mr {

struct AdmissionLimits {
  uint32_t connections = UINT32_MAX;
  uint32_t perAddress = UINT32_MAX;  // see addressKey()
  uint32_t acceptsPerSecond = 0;     // 0: no limit. A second's worth may come at once
};

class Admission {
 public:
  explicit Admission(const AdmissionLimits& limits) : limits_(limits) {}

  // Any reactor.
  bool enter();  // false: the process has as many as it may
  void leave() { connections_.fetch_sub(1, std::memory_order_relaxed); }
  bool enterAddress(const Peer& peer);
  void leaveAddress(const Peer& peer);
  uint32_t connections() const { return connections_.load(std::memory_order_relaxed); }

  // One more accept at `nowNs`; giveBack() when there was nothing to accept.
  bool takeAccept(uint64_t nowNs);
  void giveBack();

 private:
  using Key = uint64_t;

  struct alignas(64) Shard {
    std::mutex mutex;
    std::unordered_map<Key, uint32_t, KeyedHash> counts;
  };
  Shard& shardOf(Key key) { return shards_[KeyedHash()(key) >> 58]; }

  const AdmissionLimits limits_;
  alignas(64) std::atomic<uint32_t> connections_{0};
  alignas(64) std::atomic<uint64_t> acceptedUntilNs_{0};  // when the accepts so far are paid for, at the allowed rate
  std::array<Shard, 64> shards_;
};

}  // namespace mr
