// How long this thread has really worked. The time on the wall counts the waits for a core, too: a thread that was preempted in
// the middle of a frame would look as if the frame had been dear.
#pragma once

#include <cstdint>

namespace mr {

class RunClock {
 public:
  // Before some work. Asks the kernel at most once a millisecond.
  void begin(uint64_t nowNs);
  // After a stretch of it that took `wallNs`, up to now: what of that was work, or waiting that was asked for. Asks the kernel, so
  // it is for stretches that look too long.
  uint64_t workedNs(uint64_t wallNs) const;

 private:
  struct Usage {
    uint64_t cpuNs = 0;
    int64_t preempted = 0;
  };
  static Usage usage();

  static constexpr uint64_t kFreshNs = 1'000'000;
  Usage base_;
  uint64_t baseAtNs_ = 0;
};

}  // namespace mr
