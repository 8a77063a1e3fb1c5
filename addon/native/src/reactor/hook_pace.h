// How many events a turn may have for the hooks of the app, by the time of the last ones' hooks. A hook cannot be interrupted;
// but how many run before others get their turn is decided here. Pure accounting: reads no clock, and knows no connection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace mr {

class HookPace {
 public:
  static constexpr uint64_t kHooksNs = 2'000'000;  // CPU time of the hooks of one batch: the next one is as large as fits
  static constexpr uint32_t kMaxRows = 4096;       // events of one batch
  static constexpr uint32_t kMeasured = 64;        // quick batches behind a slow one whose CPU time is asked for: a system call

  uint32_t mostRows() const { return mostRows_; }
  // The next batch is to be measured by the CPU time of the thread; otherwise by the clock, which also runs while it waits for a
  // core.
  bool measures() const { return measured_ != 0; }

  // A batch of so many events had so much of the CPU.
  void used(uint64_t rows, uint64_t cpuNs) {
    measured_ = cpuNs >= kSlowNs ? kMeasured : std::max(measured_, 1u) - 1;
    plan(rows, cpuNs);
  }
  // A batch that was not measured was over after so long.
  void took(uint64_t rows, uint64_t wallNs) {
    const bool slow = wallNs >= kSlowNs;
    if (slow) measured_ = kMeasured;
    // A thread that has waited for a core has smaller batches for some turns, which costs less than twice a large slow one.
    if (slow ? rows >= kFewRows : mostRows_ != kMaxRows) plan(rows, wallNs);
  }

 private:
  static constexpr uint64_t kSlowNs = kHooksNs / 8;
  static constexpr uint64_t kFewRows = 16;

  void plan(uint64_t rows, uint64_t tookNs) {
    const uint64_t fits = kHooksNs * std::max<uint64_t>(rows, 1) / std::max<uint64_t>(tookNs, 1);
    // A collection of garbage in a small batch says little of its hooks: several small ones have to be slow.
    const uint64_t least = rows < kFewRows ? std::max<uint64_t>(mostRows_ / 4, 1) : 1;
    // Slow hooks come in bursts: one quick batch between two slow ones is no reason to forget them.
    const uint64_t most = std::min<uint64_t>(kMaxRows, uint64_t{mostRows_} * 4 / 3 + 1);
    mostRows_ = static_cast<uint32_t>(std::clamp<uint64_t>(fits, least, most));
  }

  uint32_t mostRows_ = kMaxRows;
  uint32_t measured_ = 0;  // so many batches to come
};

}  // namespace mr
