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

#ifdef MR_COUNTS_BLOCKS

using namespace mr;

namespace {

bool isMappedAlone(size_t bytes) {
  const size_t before = mallinfo2().hblks;
  void* volatile block = std::malloc(bytes);
  const bool alone = mallinfo2().hblks > before;
  std::free(block);
  return alone;
}

// The allocator adapts: it keeps blocks of a size that was freed once.
void freeLarge() {
  void* volatile block = std::malloc(8 << 20);
  std::free(block);
}

}  // namespace

TEST("large blocks go back to the system while that is on, small ones never, and nothing does when it is off") {
  keepNothingLarge(false);
  freeLarge();
  CHECK(!isMappedAlone(1 << 20));
  keepNothingLarge(true);
  CHECK(isMappedAlone(1 << 20));
  CHECK(isMappedAlone(64 << 10));
  CHECK(!isMappedAlone(8 << 10));
  keepNothingLarge(false);
  CHECK(!isMappedAlone(1 << 20));
}

TEST("what lies free behind the last block of an arena goes back, too") {
  const auto fillAndEmpty = [] {
    std::vector<void*> blocks;
    for (int i = 0; i < 1'000; ++i) blocks.push_back(std::malloc(8 << 10));
    for (; !blocks.empty(); blocks.pop_back()) std::free(blocks.back());
    return mallinfo2().keepcost;
  };
  keepNothingLarge(false);
  freeLarge();
  CHECK(fillAndEmpty() > size_t{7 << 20});
  keepNothingLarge(true);
  CHECK(fillAndEmpty() <= size_t{2 << 20});
  keepNothingLarge(false);
}

TEST("blocks that go back at once are bounded in number: each may be a mapping of its own") {
  keepNothingLarge(false);
  freeLarge();
  keepNothingLarge(true);
  const size_t before = mallinfo2().hblks;
  std::vector<void*> blocks;
  for (int i = 0; i < 17'000; ++i) blocks.push_back(std::malloc(64 << 10));
  const size_t mapped = mallinfo2().hblks - before;
  for (void* block : blocks) std::free(block);
  CHECK(mapped > 15'000);
  CHECK(mapped <= size_t{16 << 10});
  keepNothingLarge(false);
  giveBackFreeMemory();
}

TEST("large blocks go back from a quarter of the limit on, until less than an eighth is held") {
  keepNothingLarge(false);
  freeLarge();
  ExchangeOptions options;
  options.reactors = options.workers = 1;
  options.maxMemoryBytes = uint64_t{128} << 20;
  Exchange exchange(options);
  const auto hold = [&](uint64_t mebibytes) {
    exchange.publishBuffered(0, mebibytes << 20);
    (void)exchange.memoryState(1'000);
  };
  hold(32);
  CHECK(!isMappedAlone(1 << 20));
  hold(33);
  CHECK(isMappedAlone(1 << 20));
  hold(17);
  CHECK(!exchange.memoryEbbed());  // 33 were held a moment ago
  CHECK(!exchange.memoryEbbed());  // 17 are more than half of them
  CHECK(isMappedAlone(1 << 20));
  hold(15);
  CHECK(!exchange.memoryEbbed());
  CHECK(exchange.memoryEbbed());
  CHECK(!isMappedAlone(1 << 20));
}

#endif
