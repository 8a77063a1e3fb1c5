#include "reactor/hook_pace.h"

#include "harness.h"

using namespace mr;
using namespace mr::test;

TEST("hook pace: a batch is as large as fits in the time of hooks, by what the last one used") {
  HookPace pace;
  CHECK_EQ(pace.mostRows(), HookPace::kMaxRows);
  pace.used(1'000, 100'000'000);
  CHECK_EQ(pace.mostRows(), 20u);
  pace.used(20, 2'000'000);
  CHECK_EQ(pace.mostRows(), 20u);
}

TEST("hook pace: a single slow event makes batches smaller step by step, down to one") {
  HookPace pace;
  pace.used(1, 10'000'000);
  CHECK_EQ(pace.mostRows(), HookPace::kMaxRows / 4);
  for (int i = 0; i < 10; ++i) pace.used(1, 10'000'000);
  CHECK_EQ(pace.mostRows(), 1u);
}

TEST("hook pace: quick batches grow by a third") {
  HookPace pace;
  pace.used(1'000, 100'000'000);
  pace.used(20, 1'000);
  CHECK_EQ(pace.mostRows(), 27u);
}

TEST("hook pace: the CPU time is asked for while hooks are slow, and for some time behind that") {
  HookPace pace;
  CHECK(!pace.measures());
  pace.took(10, 10'000);
  CHECK(!pace.measures());
  // The thread may only have waited for a core: what it uses is asked next time.
  pace.took(10, 50'000'000);
  CHECK(pace.measures());
  CHECK_EQ(pace.mostRows(), HookPace::kMaxRows);
  for (uint32_t i = 1; i < HookPace::kMeasured; ++i) pace.used(10, 1'000);
  CHECK(pace.measures());
  pace.used(10, 1'000);
  CHECK(!pace.measures());
}

TEST("hook pace: batches grow again where their time is not measured") {
  HookPace pace;
  pace.used(1'000, 1'000'000'000);
  for (uint32_t i = 0; i < HookPace::kMeasured; ++i) pace.used(1, 1'000);
  CHECK(!pace.measures());
  for (int i = 0; i < 40; ++i) pace.took(16, 1'000);
  CHECK_EQ(pace.mostRows(), HookPace::kMaxRows);
}

TEST("hook pace: a large batch that was slow by the clock has no second one of its size") {
  HookPace pace;
  pace.took(1'000, 100'000'000);
  CHECK_EQ(pace.mostRows(), 20u);
  CHECK(pace.measures());
}
