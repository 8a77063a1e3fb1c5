// The slabs that the pool keeps of those that a collector has given back, and for how long.
#include <sys/mman.h>

#include <cstring>
#include <set>
#include <vector>

#include "base/slab_pool.h"
#include "harness.h"

using namespace mr;

namespace {

constexpr size_t kBytes = SlabPool::kSlabBytes;

std::vector<void*> takeSome(SlabPool& pool, size_t count, uint64_t nowMs) {
  std::vector<void*> taken;
  for (size_t i = 0; i < count; ++i) {
    taken.push_back(pool.take(kBytes, nowMs));
    std::memset(taken.back(), 0xab, kBytes);  // all of it is there
  }
  return taken;
}

void giveBackAll(SlabPool& pool, const std::vector<void*>& slabs, uint64_t nowMs) {
  for (void* slab : slabs) pool.giveBack(slab, kBytes, nowMs);
}

}  // namespace

TEST("slabs that come back are given out again, and no two takers get the same") {
  SlabPool pool;
  const auto first = takeSome(pool, 20, 1'000);
  giveBackAll(pool, first, 1'000);
  CHECK_EQ(pool.keptBytes(), size_t{20} * size_t{kBytes});
  const auto second = takeSome(pool, 20, 1'000);
  CHECK_EQ(pool.keptBytes(), size_t{0});
  CHECK(std::set(first.begin(), first.end()) == std::set(second.begin(), second.end()));
  giveBackAll(pool, second, 1'000);
}

TEST("no more slabs are kept than a busy collector gives back at once, and no block that is too large") {
  SlabPool pool;
  giveBackAll(pool, takeSome(pool, SlabPool::kMostKeptBytes / kBytes + 10, 1'000), 1'000);
  CHECK_EQ(pool.keptBytes(), SlabPool::kMostKeptBytes);
  pool.letAllGo();
  pool.giveBack(pool.take(SlabPool::kLargest + 1, 1'000), SlabPool::kLargest + 1, 1'000);
  CHECK_EQ(pool.keptBytes(), size_t{0});
}

TEST("slabs that nobody has wanted for a while go back to the kernel, and those that were wanted stay") {
  SlabPool pool;
  uint64_t now = 10'000;
  giveBackAll(pool, takeSome(pool, 100, now), now);
  // 60 of the 100 are needed again and again: 40 lie there all the time, and 32 of all may always stay.
  for (; now < 10'000 + 3 * SlabPool::kUnusedMs; now += 100) giveBackAll(pool, takeSome(pool, 60, now), now);
  CHECK_EQ(pool.keptBytes(), size_t{60} * size_t{kBytes});
  // Only one thread still takes slabs.
  for (; now < 20'000; now += 100) giveBackAll(pool, takeSome(pool, 1, now), now);
  CHECK_EQ(pool.keptBytes(), SlabPool::kAlwaysKept * kBytes);
}

TEST("slabs that nobody wants for a second are let go of without a next one who asks") {
  SlabPool pool;
  giveBackAll(pool, takeSome(pool, 60, 1'000), 1'000);
  CHECK_EQ(pool.keptBytes(), size_t{60} * size_t{kBytes});
  pool.letGo(1'999);
  CHECK_EQ(pool.keptBytes(), size_t{60} * size_t{kBytes});
  pool.letGo(2'000);  // it has not been a second for all of them
  pool.letGo(3'000);
  CHECK_EQ(pool.keptBytes(), SlabPool::kAlwaysKept * kBytes);
}

TEST("of slabs that lie here none is kept when memory is short") {
  SlabPool pool;
  giveBackAll(pool, takeSome(pool, 60, 1'000), 1'000);
  pool.letAllGo();
  CHECK_EQ(pool.keptBytes(), size_t{0});
}

TEST("few slabs are kept while much memory is held, also of those that lie here already") {
  SlabPool pool;
  giveBackAll(pool, takeSome(pool, 60, 1'000), 1'000);
  pool.keepFew(true);
  CHECK_EQ(pool.keptBytes(), SlabPool::kFewKept * kBytes);
  giveBackAll(pool, takeSome(pool, 60, 1'000), 1'000);
  CHECK_EQ(pool.keptBytes(), SlabPool::kFewKept * kBytes);
  pool.keepFew(false);
  giveBackAll(pool, takeSome(pool, 60, 1'000), 1'000);
  CHECK_EQ(pool.keptBytes(), size_t{60} * size_t{kBytes});
}

TEST("a block goes to the next one who asks for about as much, whatever the size, and holds all that was asked for") {
  for (size_t size = 1; size <= SlabPool::kLargest; size += size / 7 + 1) {
    SlabPool pool;
    const size_t room = SlabPool::roomFor(size);
    CHECK(room >= size && (room <= 4096 || room <= size + size / 4 + 4096));
    CHECK_EQ(SlabPool::roomFor(room), room);
    void* const block = pool.take(size, 1'000);
    std::memset(block, 0xab, room);
    pool.giveBack(block, size, 1'000);
    CHECK_EQ(pool.keptBytes(), room);
    CHECK_EQ(pool.take(room, 1'000), block);
    CHECK_EQ(pool.keptBytes(), size_t{0});
    pool.giveBack(block, room, 1'000);
    void* const larger = pool.take(room + 1, 1'000);  // it is too small
    CHECK(larger != block);
    ::munmap(larger, SlabPool::roomFor(room + 1));
  }
}

TEST("blocks of other sizes go back to the kernel when memory is held, or nobody wants them") {
  constexpr size_t kOther = 1 << 20;
  SlabPool pool;
  pool.giveBack(pool.take(kOther, 1'000), kOther, 1'000);
  pool.keepFew(true);
  CHECK_EQ(pool.keptBytes(), size_t{0});
  pool.giveBack(pool.take(kOther, 1'000), kOther, 1'000);
  CHECK_EQ(pool.keptBytes(), size_t{0});
  pool.keepFew(false);
  pool.giveBack(pool.take(kOther, 1'000), kOther, 1'000);
  CHECK_EQ(pool.keptBytes(), kOther);
  pool.letGo(2'000);
  CHECK_EQ(pool.keptBytes(), kOther);
  pool.letGo(3'000);
  CHECK_EQ(pool.keptBytes(), size_t{0});
}

TEST("blocks of other sizes leave the room of slabs to them, and have a bound of their own") {
  constexpr size_t kOther = 1 << 20;
  SlabPool pool;
  giveBackAll(pool, takeSome(pool, SlabPool::kMostKeptBytes / kBytes, 1'000), 1'000);
  std::vector<void*> others;
  for (size_t i = 0; i < SlabPool::kMostKeptBytes / kOther + 3; ++i) others.push_back(pool.take(kOther, 1'000));
  for (void* other : others) pool.giveBack(other, kOther, 1'000);
  CHECK_EQ(pool.keptBytes(), 2 * SlabPool::kMostKeptBytes);
}
