// From the samples of a thread to the costs in the table.
#include "exchange/cost_sampler.h"

#include <array>
#include <vector>

#include "base/clock.h"
#include "harness.h"

using namespace mr;

namespace {

constexpr CostTable::Key kKey = CostTable::keyOf(3, 100);
constexpr uint32_t kBit = 1u << 31;
constexpr uint64_t kSecondNs = 1'000'000'000;

struct Overrun {
  CostTable::Key key;
  uint64_t ns;
};

struct Fixture {
  CostTable costs;
  CostSampler sampler{costs, kBit};
  uint64_t nowNs = monotonicNs();
  std::vector<Overrun> overruns;

  void learnInline(CostSample sample) {
    sampler.learnInline({&sample, 1}, nowNs, [this](CostTable::Key key, uint64_t ns) { overruns.push_back({key, ns}); });
  }
  void learnInPool(CostSample sample) { sampler.learnInPool({&sample, 1}, nowNs); }
  // Of the time on the wall since begin(), this thread has not worked for most.
  void loseCore() {
    sampler.begin(nowNs, true);
    nowNs += 10 * kSecondNs;
    sampler.begin(nowNs - 10 * kSecondNs, false);
  }
};

}  // namespace

TEST("a batch that is measured from outside is one sample, and keeps the flags that JavaScript left") {
  std::array<CostSample, CostSample::kMost> box{};
  box.fill({UINT32_MAX, 3, 5, CostSample::kAsynchronous});
  uint32_t count = 0;
  CostSampler::asWhole(box, &count, kKey, 7, 700);
  CHECK_EQ(count, 1u);
  CHECK_EQ(box[0].key, kKey);
  CHECK_EQ(box[0].runs, 7u);
  CHECK_EQ(box[0].ns, 700u);
  CHECK_EQ(box[0].flags, 0u);  // of an older batch
  box[0].flags = CostSample::kAsynchronous;
  CostSampler::asWhole(box, &count, kKey, 7, uint64_t{UINT32_MAX} + 5);
  CHECK_EQ(box[0].ns, UINT32_MAX);
  CHECK_EQ(box[0].flags, uint32_t{CostSample::kAsynchronous});
}

TEST("a sample is the mean of its runs, for pool and reactor") {
  Fixture pool, reactor;
  pool.learnInPool({kKey, 4, 4'000, 0});
  reactor.learnInline({kKey | kBit, 4, 4'000, 0});
  CHECK_EQ(pool.costs.costNs(kKey), 1'000u);
  CHECK_EQ(reactor.costs.costNs(kKey), 1'000u);
  CHECK(reactor.overruns.empty());
}

TEST("a sample without a run, or without a key, is ignored") {
  Fixture fixture;
  for (const CostSample& sample : {CostSample{kKey, 0, 4'000, 0}, CostSample{UINT32_MAX, 1, 4'000, 3},
                                   CostSample{CostTable::kMaxListeners << 8, 1, 4'000, 3}, CostSample{0xff, 1, 4'000, 3}}) {
    fixture.learnInPool(sample);
    fixture.learnInline(sample);
  }
  CHECK_EQ(fixture.costs.costNs(kKey), 0u);
  CHECK(fixture.overruns.empty());
}

TEST("a promise bans the key from reactors, whichever thread ran it") {
  Fixture pool, reactor;
  pool.learnInPool({kKey, 1, 1'000, CostSample::kAsynchronous});
  reactor.learnInline({kKey, 1, 1'000, CostSample::kAsynchronous});
  CHECK(pool.costs.isBanned(kKey));
  CHECK(reactor.costs.isBanned(kKey));
}

TEST("a reactor learns nothing from cold code, unless it was an overrun") {
  Fixture fixture;
  fixture.learnInline({kKey, 1, 40'000, CostSample::kCold});
  CHECK_EQ(fixture.costs.costNs(kKey), 0u);
  fixture.sampler.begin(fixture.nowNs, true);
  fixture.learnInline({kKey, 1, 5'000'000, CostSample::kCold});
  CHECK_EQ(fixture.overruns.size(), 1u);
  CHECK_EQ(fixture.overruns[0].key, kKey);
  CHECK_EQ(fixture.overruns[0].ns, 5'000'000u);
  CHECK(fixture.costs.isBanned(kKey));
}

TEST("a worker that lost its core learns a bound only where nothing is known") {
  Fixture fixture;
  fixture.learnInPool({kKey, 1, 1'000, 0});
  fixture.loseCore();
  fixture.learnInPool({kKey, 1, 900'000, 0});
  CHECK_EQ(fixture.costs.costNs(kKey), 1'000u);
  constexpr CostTable::Key kOther = CostTable::keyOf(4, 100);
  fixture.learnInPool({kOther, 1, 900'000, 0});
  CHECK(fixture.costs.costNs(kOther) != 0);
}

TEST("a reactor that lost its core learns nothing") {
  Fixture fixture;
  fixture.loseCore();
  fixture.learnInline({kKey, 1, 900'000, 0});
  CHECK_EQ(fixture.costs.costNs(kKey), 0u);
  CHECK(fixture.overruns.empty());
}
