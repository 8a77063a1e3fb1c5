#include "base/run_clock.h"

#include <sys/resource.h>

#include <algorithm>

namespace mr {

RunClock::Usage RunClock::usage() {
  rusage now{};
  if (::getrusage(RUSAGE_THREAD, &now) != 0) return {};
  const auto ns = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_usec) * 1'000;
  };
  return {ns(now.ru_utime) + ns(now.ru_stime), now.ru_nivcsw};
}

void RunClock::begin(uint64_t nowNs) {
  if (nowNs < baseAtNs_ + kFreshNs) return;
  base_ = usage();
  baseAtNs_ = nowNs;
}

uint64_t RunClock::workedNs(uint64_t wallNs) const {
  const Usage now = usage();
  // Nobody took the core away: whatever it waited for, it was its own doing.
  if (now.preempted == base_.preempted) return wallNs;
  return std::min(wallNs, now.cpuNs - base_.cpuNs);
}

}  // namespace mr
