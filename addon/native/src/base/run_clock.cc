#include "base/run_clock.h"

#include <sys/resource.h>

namespace mr {

RunClock::Usage RunClock::usage() {
  rusage now{};
  if (::getrusage(RUSAGE_THREAD, &now) != 0) return {};
  const auto ns = [](const timeval& time) {
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(time.tv_usec) * 1'000;
  };
  return {ns(now.ru_utime) + ns(now.ru_stime), now.ru_nivcsw, now.ru_nvcsw};
}

void RunClock::begin(uint64_t nowNs, bool isLong) {
  if (!isLong && nowNs < baseAtNs_ + kFreshNs) return;
  base_ = usage();
  baseAtNs_ = nowNs;
}

RunClock::Worked RunClock::worked(uint64_t wallNs, uint64_t nowNs) const {
  const Usage now = usage();
  const bool preempted = now.preempted != base_.preempted;
  // It slept, and nobody took the core away meanwhile: whatever it waited for, it was its own doing.
  if (now.blocked != base_.blocked && !preempted) return {wallNs, true};
  const uint64_t window = nowNs - baseAtNs_, cpu = now.cpuNs - base_.cpuNs;
  // To other threads, or to other machines on the same hardware.
  const uint64_t lost = window > cpu ? window - cpu : 0;
  if (lost < wallNs / 8) return {wallNs, true};
  return {lost < wallNs ? wallNs - lost : 0, false};
}

}  // namespace mr
