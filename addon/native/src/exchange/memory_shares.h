// A number of bytes that every thread adds to and takes from, for each message, without waiting for another: each counts in a
// cache line of its own, and only a reader of the sum goes through them all. Bytes added by one thread may be taken away by
// another, so a single share may be below zero; the sum is exact when nothing is under way.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace mr {

class MemoryShares {
 public:
  // Any thread.
  void add(int64_t bytes) { shares_[own()].bytes.fetch_add(bytes, std::memory_order_relaxed); }
  uint64_t sum() const {
    int64_t sum = 0;
    for (const Share& share : shares_) sum += share.bytes.load(std::memory_order_relaxed);
    return sum > 0 ? static_cast<uint64_t>(sum) : 0;  // a taker may have been seen, and not the adder before it
  }

 private:
  static constexpr uint32_t kShares = 32;  // more threads than that share lines, which costs time and not exactness
  struct alignas(64) Share {
    std::atomic<int64_t> bytes{0};
  };
  static uint32_t own() {
    static std::atomic<uint32_t> threads{0};
    thread_local const uint32_t mine = threads.fetch_add(1, std::memory_order_relaxed) % kShares;
    return mine;
  }
  std::array<Share, kShares> shares_;
};

}  // namespace mr
