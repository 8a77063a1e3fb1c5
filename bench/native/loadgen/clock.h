// Monotonic time in nanoseconds.
#pragma once

#include <cstdint>
#include <ctime>

namespace loadgen {

constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;

inline uint64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * kNanosecondsPerSecond + static_cast<uint64_t>(time.tv_nsec);
}

inline uint64_t nanoseconds(double seconds) { return static_cast<uint64_t>(seconds * kNanosecondsPerSecond); }

}  // namespace loadgen
