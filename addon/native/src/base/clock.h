// Time that only goes forward; the wall clock may be set back.
#pragma once

#include <cstdint>

namespace mr {

uint64_t monotonicMs();
uint64_t monotonicNs();
// What the calling thread has had of a CPU. A system call.
uint64_t threadCpuNs();

}  // namespace mr
