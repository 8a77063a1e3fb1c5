// Memory that stays resident behind work which is over.
#include "base/leftover.h"

#include <sys/mman.h>

#include <cstring>

#include "harness.h"

using namespace mr;

namespace {
constexpr uint64_t kMiB = 1 << 20;
}

TEST("leftover: is worth it behind a burst, once, and not while bytes come in") {
  Leftover left;
  CHECK(!left.isWorthGivingBack(100 * kMiB, 0));
  CHECK(!left.isWorthGivingBack(200 * kMiB, 50 * kMiB));
  CHECK(left.isWorthGivingBack(200 * kMiB, 51 * kMiB - 1));
  left.gaveBack(120 * kMiB);
  CHECK(!left.isWorthGivingBack(136 * kMiB - 1, 51 * kMiB));
  CHECK(left.isWorthGivingBack(136 * kMiB, 51 * kMiB));
}

TEST("leftover: what is still resident when free memory has gone is in use") {
  Leftover left;
  CHECK(!left.isWorthGivingBack(100 * kMiB, 0));
  CHECK(left.isWorthGivingBack(300 * kMiB, 0));
  left.gaveBack(299 * kMiB);
  CHECK(!left.isWorthGivingBack(300 * kMiB, 0));
  // Until it has fallen.
  CHECK(!left.isWorthGivingBack(150 * kMiB, 0));
  CHECK(left.isWorthGivingBack(170 * kMiB, 0));
}

TEST("leftover: the resident memory of the process is told") {
  constexpr size_t kSize = 32 * kMiB;
  const uint64_t before = residentBytes();
  void* pages = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED);
  std::memset(pages, 1, kSize);
  CHECK(residentBytes() >= before + kSize * 3 / 4);
  CHECK_EQ(::munmap(pages, kSize), 0);
}
