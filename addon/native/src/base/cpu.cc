#include "base/cpu.h"

#include <sched.h>

#include <cerrno>
#include <memory>

namespace mr {

namespace {

constexpr int kMostCpus = 8192;  // the largest build of Linux

struct Free {
  void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};
using CpuSet = std::unique_ptr<cpu_set_t, Free>;

const size_t kSetBytes = CPU_ALLOC_SIZE(kMostCpus);

CpuSet emptySet() {
  CpuSet set(CPU_ALLOC(kMostCpus));
  if (set) CPU_ZERO_S(kSetBytes, set.get());
  return set;
}

}  // namespace

std::vector<int> allowedCpus() {
  std::vector<int> cpus;
  const CpuSet set = emptySet();
  if (!set || ::sched_getaffinity(0, kSetBytes, set.get()) != 0) return cpus;
  for (int cpu = 0; cpu < kMostCpus; ++cpu) {
    if (CPU_ISSET_S(static_cast<size_t>(cpu), kSetBytes, set.get())) cpus.push_back(cpu);
  }
  return cpus;
}

int pinThisThread(int cpu) {
  if (cpu < 0 || cpu >= kMostCpus) return EINVAL;
  const CpuSet set = emptySet();
  if (!set) return ENOMEM;
  CPU_SET_S(static_cast<size_t>(cpu), kSetBytes, set.get());
  return ::sched_setaffinity(0, kSetBytes, set.get()) == 0 ? 0 : errno;
}

}  // namespace mr
