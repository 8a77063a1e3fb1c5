// Which CPUs there are for this process, and keeping a thread on one of them.
#pragma once

#include <vector>

namespace mr {

// Those that the calling thread may run on, in order. Empty when the kernel does not say.
std::vector<int> allowedCpus();
// The calling thread, and those that it starts later, run on this CPU only. The errno, 0 on success; EINVAL: there is no such
// CPU, or the process may not use it.
int pinThisThread(int cpu);

}  // namespace mr
