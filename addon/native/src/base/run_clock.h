// How long this thread has really worked. The time on the wall counts the waits for a core, too: a thread that was preempted in
// the middle of a frame would look as if the frame had been dear.
#pragma once

#include <cstdint>

namespace mr {

class RunClock {
 public:
  // Before some work. Asks the kernel at most once a millisecond, unless the work is long enough to be worth it.
  void begin(uint64_t nowNs, bool isLong);
  // Of a stretch of it that took `wallNs`: the part that was work, or waiting of the thread's own doing. Asks the kernel, so it
  // is for stretches that look too long. Where the thread lost its core it is a lower bound, and not exact.
  struct Worked {
    uint64_t ns;
    bool exact;
  };
  Worked worked(uint64_t wallNs, uint64_t nowNs) const;

 private:
  struct Usage {
    uint64_t cpuNs = 0;
    int64_t preempted = 0, blocked = 0;
  };
  static Usage usage();

  static constexpr uint64_t kFreshNs = 1'000'000;
  Usage base_;
  uint64_t baseAtNs_ = 0;
  bool fresh_ = false;  // the base is from the beginning of this stretch
};

}  // namespace mr
