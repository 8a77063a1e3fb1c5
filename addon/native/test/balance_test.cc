// Which reactor gets a connection, on its own.
#include <sched.h>

#include <algorithm>
#include <memory>
#include <thread>
#include <vector>

#include "exchange/balance.h"
#include "harness.h"

using namespace mr;

namespace {

struct Range {
  uint32_t least, most;
};

Range rangeOf(const Balance& balance, uint32_t reactors) {
  Range range{UINT32_MAX, 0};
  for (uint32_t i = 0; i < reactors; ++i) {
    range.least = std::min(range.least, balance.of(i));
    range.most = std::max(range.most, balance.of(i));
  }
  return range;
}

void openAll(Balance& balance, uint32_t reactors) {
  for (uint32_t i = 0; i < reactors; ++i) balance.setTaking(i, true);
}

}  // namespace

TEST("the least loaded reactor gets a connection, and who accepted it when there are several") {
  Balance balance(8);
  openAll(balance, 4);
  CHECK_EQ(balance.enterLeast(2), 2u);
  CHECK_EQ(balance.enterLeast(2), 3u);
  CHECK_EQ(balance.enterLeast(2), 0u);
  CHECK_EQ(balance.enterLeast(2), 1u);
  CHECK_EQ(balance.enterLeast(3), 3u);
  balance.leave(1);
  CHECK_EQ(balance.enterLeast(2), 1u);
}

TEST("however many reactors accept at once, the fullest has at most one connection more than the emptiest") {
  constexpr uint32_t kReactors = 4, kRounds = 20'000;
  Balance balance(kReactors);
  openAll(balance, kReactors);
  std::atomic<bool> going{true};
  std::atomic<uint32_t> wrong{0};
  std::vector<std::thread> threads;
  for (uint32_t i = 0; i < kReactors; ++i) {
    threads.emplace_back([&, i] {
      for (uint32_t round = 0; round < kRounds; ++round) balance.enterLeast(i);
    });
  }
  // Counts only grow: a later value cannot be smaller, so that this is a bound on every moment between.
  std::thread watcher([&] {
    while (going) {
      const uint32_t most = rangeOf(balance, kReactors).most;
      if (rangeOf(balance, kReactors).least + 1 < most) wrong.fetch_add(1);
    }
  });
  for (std::thread& thread : threads) thread.join();
  going = false;
  watcher.join();
  CHECK_EQ(wrong.load(), 0u);
  const Range range = rangeOf(balance, kReactors);
  CHECK_EQ(range.least, kRounds);
  CHECK_EQ(range.most, kRounds);
}

TEST("nobody enters a reactor that has stopped taking connections and found that none is on its way") {
  constexpr int kRounds = 1'000;
  std::unique_ptr<Balance> balance;
  std::atomic<int> begun{0}, done{0};
  bool entered = false;
  std::thread sender([&] {
    for (int round = 1; round <= kRounds; ++round) {
      while (begun.load() != round) sched_yield();
      entered = round % 2 == 0 ? balance->tryEnter(0) : balance->enterLeast(1) == 0;
      done.store(round);
    }
  });
  bool wrong = false;
  for (int round = 1; round <= kRounds; ++round) {
    balance = std::make_unique<Balance>(2);
    balance->setTaking(0, true);
    begun.store(round);
    if (round % 3 == 0) sched_yield();
    balance->setTaking(0, false);
    const bool sawNobody = balance->of(0) == 0;
    while (done.load() != round) sched_yield();
    wrong = wrong || (entered && sawNobody) || balance->of(0) != (entered ? 1u : 0u);
  }
  sender.join();
  CHECK(!wrong);
}

TEST("there is nobody for a connection when no reactor takes any") {
  Balance balance(4);
  CHECK_EQ(balance.enterLeast(0), Balance::kNobody);
  CHECK_EQ(balance.ownerOf(1), Balance::kNobody);
  CHECK(!balance.tryEnter(0));
  balance.setTaking(1, true);
  CHECK(!balance.tryEnter(4));
  CHECK(!balance.tryEnter(UINT32_MAX));
  CHECK_EQ(balance.enterLeast(3), 1u);
  balance.setTaking(1, false);
  CHECK_EQ(balance.enterLeast(3), Balance::kNobody);
}

TEST("addresses spread over the reactors, and only those of a reactor that goes or comes change theirs") {
  constexpr uint64_t kAddresses = 10'000;
  Balance balance(8);
  openAll(balance, 5);
  const auto owners = [&] {
    std::vector<uint32_t> all;
    for (uint64_t key = 0; key < kAddresses; ++key) all.push_back(balance.ownerOf(uint64_t{1} << 40 | 0x0a000000 | key));
    return all;
  };
  const std::vector<uint32_t> five = owners();
  for (uint32_t reactor = 0; reactor < 5; ++reactor) {
    const auto its = static_cast<uint64_t>(std::count(five.begin(), five.end(), reactor));
    CHECK(its > kAddresses / 5 * 9 / 10 && its < kAddresses / 5 * 11 / 10);
  }
  balance.setTaking(3, false);
  const std::vector<uint32_t> four = owners();
  for (uint64_t i = 0; i < kAddresses; ++i) {
    CHECK(four[i] != 3);
    if (five[i] != 3) CHECK_EQ(four[i], five[i]);
  }
  balance.setTaking(3, true);
  CHECK(owners() == five);
  balance.setTaking(5, true);
  const std::vector<uint32_t> six = owners();
  for (uint64_t i = 0; i < kAddresses; ++i) CHECK(six[i] == five[i] || six[i] == 5);
}
