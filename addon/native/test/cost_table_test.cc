// The measured costs of frames, and whether such a frame may run on a reactor.
#include "exchange/cost_table.h"

#include <thread>
#include <vector>

#include "harness.h"

using namespace mr;

namespace {

constexpr CostTable::Key kKey = CostTable::keyOf(3, 64);
constexpr uint64_t kCheap = 2'000, kDear = 200'000, kSecond = 1'000'000'000;

void run(CostTable& costs, uint32_t times, uint64_t ns, uint64_t nowNs = 0) {
  for (uint32_t i = 0; i < times; ++i) costs.learnInPool(kKey, 1, ns, nowNs);
}

}  // namespace

TEST("costs: a class holds the sizes up to twice its smallest, of one listener") {
  CHECK_EQ(CostTable::keyOf(0, 64), CostTable::keyOf(0, 127));
  CHECK(CostTable::keyOf(0, 127) != CostTable::keyOf(0, 128));
  CHECK(CostTable::keyOf(0, 64) != CostTable::keyOf(1, 64));
  CHECK_EQ(CostTable::keyOf(0, size_t{1} << 40), CostTable::keyOf(0, size_t{1} << 30));
  CHECK_EQ(CostTable::keyOf(255, 0) >> 8, 255u);
  CostTable costs;
  costs.learnInPool(CostTable::keyOf(1, 64), 1, kCheap, 0);
  CHECK_EQ(costs.costNs(CostTable::keyOf(1, 100)), kCheap);
  CHECK_EQ(costs.costNs(CostTable::keyOf(1, 200)), 0u);
  CHECK_EQ(costs.costNs(CostTable::keyOf(2, 64)), 0u);
}

TEST("costs: values for task are no frames for parse, however large either is") {
  for (const size_t bytes : {size_t{0}, size_t{64}, SIZE_MAX}) {
    const CostTable::Key value = CostTable::keyOf(255, bytes, true);
    CHECK(CostTable::isKey(value));
    for (const size_t other : {size_t{0}, size_t{64}, SIZE_MAX}) CHECK(value != CostTable::keyOf(255, other));
  }
  CostTable costs;
  costs.learnInPool(CostTable::keyOf(1, 64, true), 1, kDear, 0);
  CHECK_EQ(costs.costNs(CostTable::keyOf(1, 64)), 0u);
}

TEST("costs: what is unknown or dear goes to the pool, what is cheaper than a hop stays") {
  CostTable costs;
  CHECK(!costs.staysInline(kKey));
  run(costs, 1, kDear);
  CHECK(!costs.staysInline(kKey));
  run(costs, 100, kCheap);
  CHECK(costs.staysInline(kKey));
  CHECK(costs.costNs(kKey) < 2 * kCheap);
  run(costs, 1, 1'000 * kDear);  // rises at once
  CHECK(!costs.staysInline(kKey));
  CHECK_EQ(costs.costNs(kKey), 1'000 * kDear);
}

TEST("costs: one odd run on a reactor sends nothing away, many do") {
  CostTable costs;
  run(costs, 1, kCheap);
  costs.learnInline(kKey, 900'000);
  CHECK(costs.staysInline(kKey));
  for (int i = 0; i < 100; ++i) costs.learnInline(kKey, kDear);
  CHECK(!costs.staysInline(kKey));
  CHECK(costs.costNs(kKey) > kDear / 2);
}

TEST("costs: after an overrun a class stays in the pool for 10 s and 100 cheap runs in a row") {
  CostTable costs;
  run(costs, 1, kCheap);
  costs.ban(kKey, 5'000'000, kSecond);
  CHECK(costs.isBanned(kKey));
  CHECK_EQ(costs.costNs(kKey), 5'000'000u);
  run(costs, 1'000, kCheap, 10 * kSecond);  // cheap for long, and not long enough ago
  CHECK(costs.isBanned(kKey));
  run(costs, 1, kDear, 11 * kSecond);  // the row begins anew
  run(costs, 99, kCheap, 11 * kSecond);
  CHECK(!costs.staysInline(kKey));
  run(costs, 1, kCheap, 11 * kSecond);
  CHECK(costs.staysInline(kKey));
  // Nothing that runs on the reactor meanwhile lifts it.
  costs.ban(kKey, 2'000'000, 12 * kSecond);
  for (int i = 0; i < 1'000; ++i) costs.learnInline(kKey, kCheap);
  CHECK(costs.isBanned(kKey));
}

TEST("costs: what returned a promise waits for 100 runs that do not, a pardon for nothing") {
  CostTable costs;
  run(costs, 1, kCheap);
  costs.banAsynchronous(kKey);
  CHECK(!costs.staysInline(kKey));
  run(costs, 100, kCheap);
  CHECK(costs.staysInline(kKey));
  costs.ban(kKey, kCheap, kSecond);
  costs.pardon(kKey);
  CHECK(costs.staysInline(kKey));
}

TEST("costs: many threads learn, and no ban is lost") {
  CostTable costs;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < 20'000; ++i) {
        costs.learnInPool(kKey, 1, kCheap + i % 4'000, 0);
        costs.learnInline(kKey, kCheap + i % 3'000);
        if (t == 0 && i == 10'000) costs.ban(kKey, kCheap, kSecond);
        if (t == 1) CHECK(costs.costNs(kKey) != 0);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(costs.isBanned(kKey));
}
