#include "base/allocator.h"

#include <cstddef>

// Of glibc. Another C library may have none, and needs none where it gives back by itself.
extern "C" __attribute__((weak)) int malloc_trim(size_t pad) noexcept;

namespace mr {

void giveBackFreeMemory() {
  if (malloc_trim) malloc_trim(0);
}

}  // namespace mr
