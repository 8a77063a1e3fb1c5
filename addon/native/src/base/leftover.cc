#include "base/leftover.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>

#include "base/fd.h"

namespace mr {

// proc(5), /proc/pid/statm: all pages, then the resident ones.
uint64_t residentBytes() {
  const Fd file(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC));
  char text[128];
  const ssize_t size = file.valid() ? ::read(file.get(), text, sizeof(text) - 1) : 0;
  if (size <= 0) return 0;
  text[size] = 0;
  char* at = nullptr;
  (void)std::strtoull(text, &at, 10);
  return std::strtoull(at, nullptr, 10) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace mr
