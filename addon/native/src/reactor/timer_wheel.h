// Deadlines of many connections, coarse and cheap: starting, moving and stopping one is a few stores. Deadlines are names
// (slots, or numbers below 2^31), so the wheel owns nothing and has no callbacks.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

namespace mr {

class TimerWheel {
 public:
  static constexpr uint32_t kTickMs = 16;  // a deadline is met at most one tick late, and never early
  static constexpr uint32_t kNone = UINT32_MAX;

  // A deadline further away is met then: its owner checks again.
  static constexpr uint64_t kFarthestMs = uint64_t{1} << 30;

  // Each timed thing carries one of these; `find` gives the wheel the one of a slot. Small, because every connection has one.
  struct Link {
    uint32_t deadline = 0;      // the low half of its ms
    uint32_t previous = kNone;  // a slot, or kFirst and the bucket; kNone: not in the wheel
    uint32_t next = kNone;

    bool isArmed() const { return previous != kNone; }
    uint64_t deadlineMs(uint64_t nowMs) const {
      return nowMs + static_cast<uint64_t>(int64_t{static_cast<int32_t>(deadline - static_cast<uint32_t>(nowMs))});
    }
  };

  explicit TimerWheel(uint64_t nowMs) : tick_(nowMs / kTickMs) { buckets_.fill(kNone); }

  // `nowMs`: for the bound of kFarthestMs.
  template <typename Find>
  void start(uint32_t slot, uint64_t nowMs, uint64_t deadlineMs, Find&& find) {
    stop(slot, find);
    deadlineMs = std::min(deadlineMs, nowMs + kFarthestMs);
    Link& link = find(slot);
    link.deadline = static_cast<uint32_t>(deadlineMs);
    // Rounded up, and not into the bucket that is being walked.
    const uint64_t tick = std::max(deadlineMs / kTickMs + 1, tick_ + 1);
    const uint32_t bucket = static_cast<uint32_t>(tick % kBuckets);
    link.previous = kFirst | bucket;
    link.next = buckets_[bucket];
    if (link.next != kNone) find(link.next).previous = slot;
    setFirst(bucket, slot);
    ++count_;
  }

  template <typename Find>
  void stop(uint32_t slot, Find&& find) {
    Link& link = find(slot);
    if (!link.isArmed()) return;
    if (link.previous & kFirst) {
      setFirst(link.previous & ~kFirst, link.next);
    } else {
      find(link.previous).next = link.next;
    }
    if (link.next != kNone) find(link.next).previous = link.previous;
    link = Link{};
    --count_;
  }

  // The slots whose deadline has passed, taken out of the wheel.
  template <typename Find>
  void expire(uint64_t nowMs, std::vector<uint32_t>* expired, Find&& find) {
    const uint64_t target = nowMs / kTickMs;
    if (count_ == 0 || target <= tick_) {
      if (target > tick_) tick_ = target;
      return;
    }
    // After a long sleep one walk over all buckets is enough.
    const uint64_t steps = std::min<uint64_t>(target - tick_, kBuckets);
    for (uint64_t i = 0; i < steps; ++i) expireBucket((tick_ + 1 + i) % kBuckets, nowMs, expired, find);
    tick_ = target;
  }

  // When to look again, in ms from now; -1 when there is nothing to wait for.
  int64_t untilNextMs(uint64_t nowMs) const {
    if (count_ == 0) return -1;
    const uint64_t at = (tick_ + 1 + emptyFrom((tick_ + 1) % kBuckets)) * kTickMs;
    return at > nowMs ? static_cast<int64_t>(at - nowMs) : 0;
  }

  uint32_t count() const { return count_; }

 private:
  static constexpr uint32_t kFirst = uint32_t{1} << 31;  // names are smaller
  static constexpr uint64_t kBuckets = 512;              // about 8 s; later deadlines are passed over once a round

  void setFirst(uint32_t bucket, uint32_t slot) {
    buckets_[bucket] = slot;
    const uint64_t bit = uint64_t{1} << bucket % 64;
    if (slot == kNone) {
      used_[bucket / 64] &= ~bit;
    } else {
      used_[bucket / 64] |= bit;
    }
  }

  // How many buckets from this one on are empty, round the wheel. Asked after every turn, while most buckets are.
  uint64_t emptyFrom(uint64_t bucket) const {
    uint64_t word = used_[bucket / 64] >> bucket % 64;
    if (word != 0) return static_cast<uint64_t>(std::countr_zero(word));
    uint64_t empty = 64 - bucket % 64;
    for (uint64_t i = 1; i <= used_.size(); ++i, empty += 64) {
      word = used_[(bucket / 64 + i) % used_.size()];
      if (word != 0) return empty + static_cast<uint64_t>(std::countr_zero(word));
    }
    return empty;  // of all of them
  }

  template <typename Find>
  void expireBucket(uint64_t bucket, uint64_t nowMs, std::vector<uint32_t>* expired, Find&& find) {
    for (uint32_t slot = buckets_[bucket]; slot != kNone;) {
      const Link& link = find(slot);
      const uint32_t next = link.next;
      if (link.deadlineMs(nowMs) <= nowMs) {
        stop(slot, find);
        expired->push_back(slot);
      }
      slot = next;
    }
  }

  std::array<uint32_t, kBuckets> buckets_;
  std::array<uint64_t, kBuckets / 64> used_{};  // a bit for each that is not empty
  uint64_t tick_;
  uint32_t count_ = 0;
};

}  // namespace mr
