// Deadlines of the wheel, in links that keep only the low half of a time.
#include <algorithm>
#include <functional>
#include <vector>

#include "harness.h"
#include "reactor/short_time.h"
#include "reactor/timer_wheel.h"

using namespace mr;

namespace {

struct Wheel {
  explicit Wheel(uint64_t nowMs) : wheel(nowMs), links(8) {}

  TimerWheel wheel;
  std::vector<TimerWheel::Link> links;

  void start(uint32_t slot, uint64_t nowMs, uint64_t deadlineMs) { wheel.start(slot, nowMs, deadlineMs, find()); }
  void stop(uint32_t slot) { wheel.stop(slot, find()); }
  std::vector<uint32_t> expire(uint64_t nowMs) {
    std::vector<uint32_t> expired;
    wheel.expire(nowMs, &expired, find());
    return expired;
  }
  std::function<TimerWheel::Link&(uint32_t)> find() {
    return [this](uint32_t slot) -> TimerWheel::Link& { return links[slot]; };
  }
};

constexpr uint64_t kTurnOver = uint64_t{1} << 32;  // where the low half of a time starts anew

}  // namespace

TEST("a deadline is met at most one tick late and never early, also where 32 bits of milliseconds start anew") {
  for (const uint64_t start : {uint64_t{5}, kTurnOver - 100, 7 * kTurnOver - 100}) {
    Wheel timers(start);
    timers.start(3, start, start + 150);
    uint64_t now = start;
    while (timers.expire(now).empty()) ++now;
    CHECK(now >= start + 150);
    CHECK(now <= start + 150 + TimerWheel::kTickMs);
    CHECK_EQ(timers.wheel.count(), uint32_t{0});
    CHECK(!timers.links[3].isArmed());
  }
}

TEST("a link says its whole deadline, passed or to come") {
  for (const uint64_t start : {uint64_t{40'000}, kTurnOver - 1'000, kTurnOver + 1'000}) {
    Wheel timers(start);
    timers.start(0, start, start + 2'000);
    CHECK_EQ(timers.links[0].deadlineMs(start), start + 2'000);
    CHECK_EQ(timers.links[0].deadlineMs(start + 30'000), start + 2'000);
  }
}

TEST("what is too far away for a link is met at the farthest it can say") {
  const uint64_t start = 1'000;
  Wheel timers(start);
  timers.start(0, start, start + 3 * kTurnOver);
  CHECK_EQ(timers.links[0].deadlineMs(start), start + TimerWheel::kFarthestMs);
  CHECK(timers.expire(start + TimerWheel::kFarthestMs - 1).empty());
  CHECK_EQ(timers.expire(start + TimerWheel::kFarthestMs + TimerWheel::kTickMs).size(), size_t{1});
}

TEST("links of one bucket leave it from the front, the middle and the back") {
  for (const uint32_t first : {0u, 1u, 2u}) {
    Wheel timers(0);
    for (uint32_t slot = 0; slot < 3; ++slot) timers.start(slot, 0, 1'000);
    timers.stop(first);
    timers.stop(first);  // it is out: nothing happens
    CHECK_EQ(timers.wheel.count(), uint32_t{2});
    std::vector<uint32_t> expired = timers.expire(2'000);
    std::sort(expired.begin(), expired.end());
    std::vector<uint32_t> others = {0, 1, 2};
    others.erase(others.begin() + first);
    CHECK(expired == others);
  }
}

TEST("a deadline that is moved is met once, at its new time") {
  Wheel timers(0);
  timers.start(0, 0, 500);
  timers.start(0, 100, 900);
  CHECK(timers.expire(899).empty());
  CHECK_EQ(timers.expire(920).size(), size_t{1});
  CHECK(timers.expire(60'000).empty());
}

TEST("a short time is exact for 49 days, and for what another thread has just noted") {
  const uint64_t day = 86'400'000;
  for (const uint64_t noted : {uint64_t{1}, kTurnOver - 1, kTurnOver, 9 * kTurnOver + 12'345}) {
    const ShortTime time(noted);
    CHECK_EQ(time.ms(noted), noted);
    CHECK_EQ(time.ms(noted + 49 * day), noted);
    if (noted > 5) CHECK_EQ(time.ms(noted - 5), noted);
    // Older: it is taken for a later moment, but never for one that is to come.
    CHECK(time.ms(noted + 200 * day) <= noted + 200 * day + 60'000);
  }
}

TEST("the wheel says how long it may be left alone, wherever the next deadline and its own hand are") {
  for (const uint64_t start : {uint64_t{0}, uint64_t{63 * 16}, uint64_t{64 * 16}, uint64_t{300 * 16 + 7}, uint64_t{511 * 16}}) {
    for (uint64_t ahead = 1; ahead < 511 * TimerWheel::kTickMs; ahead += 13) {
      Wheel timers(start);
      CHECK_EQ(timers.wheel.untilNextMs(start), int64_t{-1});
      timers.start(1, start, start + 511 * TimerWheel::kTickMs - 1);
      timers.start(2, start, start + ahead);
      const auto wait = static_cast<uint64_t>(timers.wheel.untilNextMs(start));
      CHECK(wait >= ahead);
      CHECK(wait <= ahead + TimerWheel::kTickMs);
      timers.stop(2);
      CHECK(static_cast<uint64_t>(timers.wheel.untilNextMs(start)) >= 511 * TimerWheel::kTickMs - 1);
      CHECK(static_cast<uint64_t>(timers.wheel.untilNextMs(start)) <= 512 * TimerWheel::kTickMs);
    }
  }
}
