#include "base/run_clock.h"

#include <sys/resource.h>
#include <time.h>

namespace mr {

RunClock::Usage RunClock::usage() {
  rusage now{};
  timespec cpu{};
  // The times of getrusage() are as old as the last tick; a tick is longer than the stretches measured here.
  if (::getrusage(RUSAGE_THREAD, &now) != 0 || ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu) != 0) return {};
  return {static_cast<uint64_t>(cpu.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(cpu.tv_nsec), now.ru_nivcsw, now.ru_nvcsw};
}

void RunClock::begin(uint64_t nowNs, bool isLong) {
  fresh_ = isLong || nowNs >= baseAtNs_ + kFreshNs;
  if (!fresh_) return;
  base_ = usage();
  baseAtNs_ = nowNs;
}

RunClock::Worked RunClock::worked(uint64_t wallNs, uint64_t nowNs) const {
  const Usage now = usage();
  // It slept since it began, and did not lose its core meanwhile: any wait was its own doing.
  if (fresh_ && now.blocked != base_.blocked && now.preempted == base_.preempted) return {wallNs, true};
  const uint64_t window = nowNs - baseAtNs_, cpu = now.cpuNs - base_.cpuNs;
  // To other threads, or to other machines on the same hardware.
  const uint64_t lost = window > cpu ? window - cpu : 0;
  if (lost < wallNs / 8) return {wallNs, true};
  return {lost < wallNs ? wallNs - lost : 0, false};
}

}  // namespace mr
