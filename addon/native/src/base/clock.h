// Time that only goes forward; the wall clock may be set back.
#pragma once

#include <cstdint>

namespace mr {

uint64_t monotonicMs();
uint64_t monotonicNs();
// The CPU time of the calling thread. A system call.
uint64_t threadCpuNs();

}  // namespace mr
