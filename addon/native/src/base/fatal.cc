#include "base/fatal.h"

#include <cstdio>
#include <cstdlib>

#include "base/thread_owner.h"

namespace mr {

void fatal(const char* function, const char* what) {
  std::fprintf(stderr, "multireactor: internal error in %s on thread %llu: %s\n", function,
               static_cast<unsigned long long>(ThreadOwner::currentThread()), what);
  std::abort();
}

}  // namespace mr
