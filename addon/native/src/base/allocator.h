// The C library's allocator keeps freed memory, in an arena for each thread or two: after a flood that is memory of the system
// that no thread uses.
#pragma once

#include <cstdint>

namespace mr {

// Whether large blocks that are freed go back to the system at once. That costs their next taker the faults of all pages, and so
// is for when memory is short; otherwise the allocator keeps blocks of the sizes that it has seen. Any thread. Does nothing where
// the environment sets the allocator's threshold.
void keepNothingLarge(bool on);

// Any thread; takes milliseconds for hundreds of megabytes, and makes those wait that allocate from the arena it looks at.
void giveBackFreeMemory();

// How often that may be: it may look at as many free blocks as there are, and the more there are the longer it takes. One thread,
// in CPU time and the clock's.
class TrimPace {
 public:
  static constexpr uint64_t kRest = 50;  // times as long as it took

  bool isDue(uint64_t nowNs) const { return nowNs >= dueNs_; }
  void took(uint64_t cpuNs, uint64_t nowNs) { dueNs_ = nowNs + kRest * cpuNs; }

 private:
  uint64_t dueNs_ = 0;
};

}  // namespace mr
