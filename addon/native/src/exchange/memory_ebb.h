// Detects that much memory was held and is held no more, or that held memory comes near its limit.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace mr {

class MemoryEbb {
 public:
  static constexpr uint64_t kWorth = uint64_t{16} << 20;  // less is not worth the page faults when it is wanted again

  // Any thread.
  void note(uint64_t held) {
    uint64_t most = recently_.load(std::memory_order_relaxed);
    while (held > most && !recently_.compare_exchange_weak(most, held, std::memory_order_relaxed)) {
    }
  }

  // One thread, every few seconds. True once for each ebb: at no time since it was last asked was more held than half of the
  // earlier peak. A server that fills and empties in quick succession keeps its memory, but not above half of `limit`: what
  // is free between held blocks is resident too, and no limit counts it.
  bool isOut(uint64_t held, uint64_t limit) {
    const uint64_t recently = std::max(held, recently_.exchange(held, std::memory_order_relaxed));
    most_ = std::max(most_, recently);
    if (recently >= limit / 2 && recently >= kWorth) return true;
    if (recently > most_ / 2 || most_ - recently < kWorth) return false;
    most_ = recently;
    return true;
  }

 private:
  std::atomic<uint64_t> recently_{0};
  uint64_t most_ = 0;
};

}  // namespace mr
