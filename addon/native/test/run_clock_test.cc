// The CPU time of a thread, as against the elapsed time.
#include "base/run_clock.h"

#include <pthread.h>
#include <sched.h>

#include <atomic>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "harness.h"

using namespace mr;

namespace {

constexpr uint64_t kMs = 1'000'000;

void spinUntil(uint64_t ns) {
  while (monotonicNs() < ns) {
  }
}

}  // namespace

TEST("run clock: threads that share one core are charged for their own share only") {
  constexpr int kThreads = 4;
  std::vector<RunClock::Worked> worked(kThreads);
  std::vector<std::thread> threads;
  std::atomic<int> there{0};
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      cpu_set_t one;
      CPU_ZERO(&one);
      cpu_set_t all;
      CHECK_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
      for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
        if (CPU_ISSET(cpu, &all)) {
          CPU_SET(cpu, &one);
          break;
        }
      }
      CHECK_EQ(pthread_setaffinity_np(pthread_self(), sizeof(one), &one), 0);
      // None begins before all of them are on that core: one that had it alone would be charged for all that it took.
      there.fetch_add(1);
      while (there.load() != kThreads) std::this_thread::yield();
      RunClock clock;
      const uint64_t began = monotonicNs();
      clock.begin(began, true);
      spinUntil(began + 200 * kMs);
      const uint64_t now = monotonicNs();
      worked[i] = clock.worked(now - began, now);
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t sum = 0;
  for (const RunClock::Worked& one : worked) sum += one.ns;
  // One core has given all of it. The last of them may have had it alone for a while.
  CHECK(sum < 2 * kThreads * 200 * kMs / 3);
}

TEST("run clock: a thread that waits by its own doing is charged for the wait") {
  RunClock clock;
  const uint64_t began = monotonicNs();
  clock.begin(began, true);
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const uint64_t now = monotonicNs();
  const RunClock::Worked worked = clock.worked(now - began, now);
  if (worked.exact) CHECK_EQ(worked.ns, now - began);  // not where another thread took its core just then
  CHECK(worked.ns <= now - began);
}
