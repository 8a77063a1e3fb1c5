#include "steps.h"

#include <cstring>
#include <set>
#include <thread>
#include <vector>

using namespace mr::test;

namespace {

uint64_t pairsOf(size_t n) {
  const Steps steps;
  volatile size_t pairs = 0;
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j < n; ++j) pairs = pairs + 1;
  }
  return steps.taken();
}

bool growsTooFast(size_t n, uint64_t (*work)(size_t)) {
  return static_cast<double>(work(2 * n)) > kMostGrowth * static_cast<double>(work(n));
}

}  // namespace

TEST("steps of linear work grow with it, those of quadratic work faster") {
  CHECK_GROWTH(1000, [](size_t n) {
    const Steps steps;
    std::set<size_t> numbers;
    for (size_t i = 0; i < n; ++i) numbers.insert(numbers.end(), i);
    return steps.taken();
  });
  CHECK(growsTooFast(100, pairsOf));
}

TEST("bytes that are copied again and again are steps") {
  CHECK(growsTooFast(1000, [](size_t n) {
    const Steps steps;
    std::vector<uint8_t> kept(n * 64);
    for (size_t i = 1; i < n; ++i) {
      std::vector<uint8_t> next(kept.begin(), kept.begin() + static_cast<std::ptrdiff_t>(i * 64));
      std::memcpy(kept.data(), next.data(), next.size());
    }
    return steps.taken();
  }));
}

TEST("the same work takes the same steps, and those of other threads are theirs") {
  const uint64_t once = pairsOf(50);
  CHECK_EQ(pairsOf(50), once);
  const Steps steps;
  std::thread other([] { pairsOf(1000); });
  other.join();
  CHECK(steps.taken() < 1000);
}
