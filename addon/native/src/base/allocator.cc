#include "base/allocator.h"

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <cstring>

// Of glibc. Another C library may have none, and needs none where it gives back by itself.
extern "C" __attribute__((weak)) int malloc_trim(size_t pad) noexcept;

extern "C" __attribute__((weak)) int mallopt(int what, int value) noexcept;

namespace mr {

namespace {

constexpr int kMmapThreshold = -3;       // M_MMAP_THRESHOLD
constexpr int kLargeBytes = 128 << 10;   // where glibc begins
constexpr int kLargestBytes = 32 << 20;  // and where its own adaption ends

bool isSetByUser() {
  const char* tunables = std::getenv("GLIBC_TUNABLES");
  return std::getenv("MALLOC_MMAP_THRESHOLD_") || (tunables && std::strstr(tunables, "mmap_threshold"));
}

}  // namespace

void keepNothingLarge(bool on) {
  static const bool ours = mallopt && !isSetByUser();
  static std::atomic<bool> is{false};
  if (!ours || is.load(std::memory_order_relaxed) == on || is.exchange(on) == on) return;
  mallopt(kMmapThreshold, on ? kLargeBytes : kLargestBytes);
}

void giveBackFreeMemory() {
  if (malloc_trim) malloc_trim(0);
}

}  // namespace mr
