// A moment of the last 49 days in 32 bits, to the millisecond. Its reader passes the present time.
#pragma once

#include <cstdint>

namespace mr {

class ShortTime {
 public:
  ShortTime() = default;
  ShortTime(uint64_t ms) : low_(static_cast<uint32_t>(ms)) {}

  // An older moment is taken for one of the last 49 days.
  uint64_t ms(uint64_t nowMs) const {
    // Another thread may have noted it, whose look at the clock was later than ours.
    const uint64_t latest = nowMs + kAheadMs;
    return latest - static_cast<uint32_t>(static_cast<uint32_t>(latest) - low_);
  }

 private:
  static constexpr uint64_t kAheadMs = 60'000;
  uint32_t low_ = 0;
};

}  // namespace mr
