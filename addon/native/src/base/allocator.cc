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

constexpr int kTrimThreshold = -1;       // M_TRIM_THRESHOLD
constexpr int kMmapThreshold = -3;       // M_MMAP_THRESHOLD
constexpr int kMmapMax = -4;             // M_MMAP_MAX
constexpr int kLargeBytes = 32 << 10;    // the blocks of large replies are 64 KiB, and half of all that is held
constexpr int kMostMapped = 16 << 10;    // blocks: a process may have some 65,000 mappings, and V8 needs some of them
constexpr int kUsualMapped = 64 << 10;   // as glibc begins
constexpr int kMostFree = 1 << 20;       // behind the last block of an arena
constexpr int kLargestBytes = 32 << 20;  // where glibc's own adaption ends: with that and twice as much

bool isSet(const char* variable, const char* tunable) {
  const char* tunables = std::getenv("GLIBC_TUNABLES");
  return std::getenv(variable) || (tunables && std::strstr(tunables, tunable));
}

bool isSetByUser() {
  return isSet("MALLOC_MMAP_THRESHOLD_", "mmap_threshold") || isSet("MALLOC_TRIM_THRESHOLD_", "trim_threshold") ||
         isSet("MALLOC_MMAP_MAX_", "mmap_max");
}

}  // namespace

void keepNothingLarge(bool on) {
  static const bool ours = mallopt && !isSetByUser();
  static std::atomic<bool> is{false};
  if (!ours || is.load(std::memory_order_relaxed) == on || is.exchange(on) == on) return;
  mallopt(kMmapThreshold, on ? kLargeBytes : kLargestBytes);
  mallopt(kMmapMax, on ? kMostMapped : kUsualMapped);
  mallopt(kTrimThreshold, on ? kMostFree : 2 * kLargestBytes);
}

void giveBackFreeMemory() {
  if (malloc_trim) malloc_trim(0);
}

}  // namespace mr
