#include "exchange/admission.h"

#include <algorithm>

#include "base/fatal.h"

namespace mr {

namespace {

constexpr uint64_t kSecondNs = 1'000'000'000;

}  // namespace

bool Admission::enter() {
  if (connections_.fetch_add(1, std::memory_order_relaxed) < limits_.connections) return true;
  connections_.fetch_sub(1, std::memory_order_relaxed);
  return false;
}

bool Admission::enterAddress(const Peer& peer) {
  if (peer.family == Peer::Family::kUnnamed) return true;
  const Key key = addressKey(peer);
  Shard& shard = shardOf(key);
  std::lock_guard lock(shard.mutex);
  uint32_t& count = shard.counts[key];
  if (count >= limits_.perAddress) {
    if (count == 0) shard.counts.erase(key);
    return false;
  }
  ++count;
  return true;
}

void Admission::leaveAddress(const Peer& peer) {
  if (peer.family == Peer::Family::kUnnamed) return;
  const Key key = addressKey(peer);
  Shard& shard = shardOf(key);
  std::lock_guard lock(shard.mutex);
  const auto found = shard.counts.find(key);
  MR_CHECK(found != shard.counts.end(), "a connection leaves that never came");
  if (--found->second == 0) shard.counts.erase(found);
}

bool Admission::takeAccept(uint64_t nowNs) {
  if (limits_.acceptsPerSecond == 0) return true;
  const uint64_t cost = kSecondNs / limits_.acceptsPerSecond;
  uint64_t paid = acceptedUntilNs_.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t from = std::max(paid, nowNs);
    if (from - nowNs + cost > kSecondNs) return false;
    if (acceptedUntilNs_.compare_exchange_weak(paid, from + cost, std::memory_order_relaxed)) return true;
  }
}

void Admission::giveBack() {
  if (limits_.acceptsPerSecond == 0) return;
  acceptedUntilNs_.fetch_sub(kSecondNs / limits_.acceptsPerSecond, std::memory_order_relaxed);
}

}  // namespace mr
