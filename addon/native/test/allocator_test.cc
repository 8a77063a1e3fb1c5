// Which blocks the C library's allocator has from the kernel one by one: those go back as soon as they are freed.
#include "base/allocator.h"

#include <cstdlib>
#include <vector>

#include "base/keeping.h"
#include "exchange/exchange.h"
#include "harness.h"

// Sanitizers bring an allocator of their own, and other C libraries do not say.
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#include <malloc.h>
#if __GLIBC_PREREQ(2, 33)
#define MR_COUNTS_BLOCKS 1
#endif
#endif

using namespace mr;

TEST("giving back what is free takes a fiftieth of a thread's time at most") {
  TrimPace pace;
  CHECK(pace.isDue(1'000));
  pace.took(10, 1'000);
  CHECK(!pace.isDue(1'499));
  CHECK(pace.isDue(1'500));
}

#ifdef MR_COUNTS_BLOCKS

namespace {

// How many of some blocks the allocator has mapped one by one. Free blocks are given out first, so there have to be some.
size_t mappedAmong(size_t count, size_t bytes) {
  std::vector<void*> blocks;
  blocks.reserve(count);  // none of them
  const size_t before = mallinfo2().hblks;
  for (size_t i = 0; i < count; ++i) blocks.push_back(std::malloc(bytes));
  const size_t mapped = mallinfo2().hblks - before;
  for (void* block : blocks) std::free(block);
  return mapped;
}

bool keepsLarge() { return mappedAmong(100, 64 << 10) == 0; }
// Many more than could lie free.
bool mapsLarge() { return mappedAmong(4'000, 64 << 10) > 0; }

// The state before does not depend on other tests.
void begin() {
  keepNothingLarge(true);
  keepNothingLarge(false);
  giveBackFreeMemory();
}

void end() {
  keepNothingLarge(false);
  giveBackFreeMemory();
}

}  // namespace

TEST("large blocks go back to the system while that is on, small ones never, and nothing does when it is off") {
  begin();
  CHECK(keepsLarge());
  giveBackFreeMemory();
  keepNothingLarge(true);
  CHECK(mapsLarge());
  CHECK_EQ(mappedAmong(4'000, 8 << 10), size_t{0});
  keepNothingLarge(false);
  CHECK(keepsLarge());
  end();
}

TEST("what lies free behind the last block of an arena goes back, too") {
  const auto fillAndEmpty = [] {
    std::vector<void*> blocks;
    blocks.reserve(6'000);  // not behind them
    for (int i = 0; i < 6'000; ++i) blocks.push_back(std::malloc(8 << 10));
    for (; !blocks.empty(); blocks.pop_back()) std::free(blocks.back());
    return mallinfo2().keepcost;
  };
  begin();
  CHECK(fillAndEmpty() > size_t{8 << 20});
  keepNothingLarge(true);
  CHECK(fillAndEmpty() <= size_t{2 << 20});
  end();
}

TEST("large blocks go back from a quarter of the limit on, until less than an eighth is held") {
  begin();
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  options.maxMemoryBytes = uint64_t{128} << 20;
  Exchange exchange(options);
  const auto hold = [&](uint64_t mebibytes) {
    exchange.publishBuffered(0, mebibytes << 20);
    (void)exchange.memoryState(1'000);
  };
  hold(32);
  CHECK(keepsLarge());
  giveBackFreeMemory();
  hold(33);
  CHECK(mapsLarge());
  hold(17);
  CHECK(!exchange.memoryEbbed());  // 33 were held a moment ago
  CHECK(!exchange.memoryEbbed());  // 17 are more than half of them
  CHECK(mapsLarge());
  hold(15);
  CHECK(!exchange.memoryEbbed());
  CHECK(exchange.memoryEbbed());
  CHECK(keepsLarge());
  end();
}

TEST("blocks that go back at once are bounded in number: each may be a mapping of its own") {
  begin();
  keepNothingLarge(true);
  const size_t mapped = mappedAmong(25'000, 64 << 10);
  CHECK(mapped > 10'000);
  CHECK(mapped <= size_t{16 << 10});
  end();
}

#endif
