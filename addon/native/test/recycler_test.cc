// Where blocks go that one thread takes and another one gives back.
#include "base/recycler.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <set>
#include <thread>
#include <vector>

#include "base/keeping.h"
#include "harness.h"

using namespace mr;

namespace {

std::vector<void*> takeSome(Recycler* home, size_t count, size_t size) {
  std::vector<void*> taken;
  for (size_t i = 0; i < count; ++i) {
    const Recycler::Block block = Recycler::take(home, size);
    CHECK(block.size >= size);
    CHECK_EQ(reinterpret_cast<uintptr_t>(block.memory) % alignof(std::max_align_t), uintptr_t{0});
    std::memset(block.memory, 0xab, block.size);  // all of it is there
    taken.push_back(block.memory);
  }
  return taken;
}

void giveAll(const std::vector<void*>& blocks) {
  for (void* block : blocks) Recycler::give(block);
}

size_t seenAgain(const std::vector<void*>& before, const std::vector<void*>& now) {
  const std::set old(before.begin(), before.end());
  return static_cast<size_t>(std::count_if(now.begin(), now.end(), [&](void* block) { return old.contains(block); }));
}

}  // namespace

TEST("blocks that any thread gives back are given out again, and no two takers get the same") {
  Recycler home;
  const auto first = takeSome(&home, 100, 300);
  CHECK_EQ((std::set(first.begin(), first.end()).size()), size_t{100});
  std::thread([&] { giveAll(first); }).join();
  const auto second = takeSome(&home, 100, 300);
  if (kKeepsMemory) CHECK_EQ(seenAgain(first, second), size_t{100});
  CHECK_EQ((std::set(second.begin(), second.end()).size()), size_t{100});
  giveAll(second);
}

TEST("blocks of all sizes hold what was asked for, up to and beyond the largest that is kept") {
  Recycler home;
  for (size_t size = 1; size <= 2 * Recycler::kLargest; size = size * 3 / 2 + 1) {
    giveAll(takeSome(&home, 3, size));
    giveAll(takeSome(&home, 3, size));
  }
  for (const size_t size : {Recycler::kSmallest, Recycler::kSmallest + 1, Recycler::kLargest, Recycler::kLargest + 1}) {
    giveAll(takeSome(&home, 2, size));
    giveAll(takeSome(&home, 2, size));
  }
}

TEST("no more is kept than two lists of each size") {
  if (!kKeepsMemory) return;
  Recycler home;
  constexpr size_t kMost = Recycler::kKeptBytes / 1024;
  const auto many = takeSome(&home, 3 * kMost, 1024);
  giveAll(many);
  // Freed blocks may be given out by the allocator again, so those that are certainly kept are counted: they come in the order of
  // a stack.
  auto kept = takeSome(&home, kMost, 1024);
  const std::vector<void*> expected(many.rend() - static_cast<std::ptrdiff_t>(kMost), many.rend());
  CHECK(std::equal(kept.begin(), kept.end(), expected.begin()));
  giveAll(kept);
}

TEST("without a home, blocks come from the allocator and go back to it on any thread") {
  const auto blocks = takeSome(nullptr, 10, 100);
  std::thread([&] { giveAll(blocks); }).join();
  std::thread([] { giveAll(takeSome(nullptr, 1, 1 << 20)); }).join();
}

TEST("one taker and several givers: every block is whole, and is out only once") {
  constexpr uint32_t kGivers = 3, kBlocks = 30'000, kRing = 64;
  Recycler home;
  std::atomic<uint32_t*> rings[kGivers][kRing] = {};
  std::atomic<bool> done{false};
  std::atomic<uint32_t> wrong{0};
  std::vector<std::thread> givers;
  for (auto& ring : rings) {
    givers.emplace_back([&] {
      for (bool last = false; !last;) {
        last = done.load(std::memory_order_acquire);
        for (auto& place : ring) {
          uint32_t* block = place.exchange(nullptr, std::memory_order_acq_rel);
          if (!block) continue;
          if (block[0] != ~block[1]) wrong.fetch_add(1);
          block[0] = block[1] = 0;  // the next taker must be the only one to write
          Recycler::give(block);
        }
        std::this_thread::yield();
      }
    });
  }
  for (uint32_t i = 0; i < kBlocks; ++i) {
    auto* block = static_cast<uint32_t*>(Recycler::take(&home, 200 + 300 * (i % 4)).memory);
    block[0] = i;
    block[1] = ~i;
    auto& place = rings[i % kGivers][i / kGivers % kRing];
    uint32_t* expected = nullptr;
    while (!place.compare_exchange_weak(expected, block, std::memory_order_acq_rel)) {
      expected = nullptr;
      std::this_thread::yield();
    }
  }
  done.store(true, std::memory_order_release);
  for (std::thread& giver : givers) giver.join();
  CHECK_EQ(wrong.load(), 0u);
}
