// Turns the samples of a thread that runs frames (pool worker or reactor) into entries of the cost table. A sample is wall time;
// the table holds work. Belongs to the thread that runs the frames.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>

#include "base/run_clock.h"
#include "exchange/cost_table.h"

namespace mr {

// The cost of frames of one CostTable::Key, up to their first return. JavaScript writes samples into an OutBox or InlineBox.
struct CostSample {
  static constexpr uint32_t kMost = 64;  // in a box
  // kAsynchronous: some of the frames returned a promise. kCold: a reactor had hardly run any such frame, so that its code is
  // still being compiled.
  enum Flags : uint32_t { kAsynchronous = 1, kCold = 2 };
  uint32_t key, runs, ns, flags;  // ns of all runs together
};

class CostSampler {
 public:
  // Reading the clock costs as much as running a small frame. Frames below this cost are measured together.
  static constexpr uint64_t kTogetherNs = 5'000;

  // `rowBits`: bits that stand beside the key in a sample and are not part of it.
  explicit CostSampler(CostTable& costs, uint32_t rowBits = 0) : costs_(costs), rowBits_(rowBits) {}

  // Before a batch. `mayBeDear`: some frame may cost more than a hop, so that the thread's CPU time is worth two system calls.
  void begin(uint64_t nowNs, bool mayBeDear) { clock_.begin(nowNs, mayBeDear); }

  // A batch that was measured from outside: its one sample replaces those of the box. JavaScript has left only flags there.
  static void asWhole(std::span<CostSample> box, uint32_t* count, CostTable::Key key, uint32_t runs, uint64_t wallNs) {
    box[0] = {key, runs, static_cast<uint32_t>(std::min<uint64_t>(wallNs, UINT32_MAX)), *count == 0 ? 0 : box[0].flags};
    *count = 1;
  }

  // Samples of a pool worker.
  void learnInPool(std::span<const CostSample> samples, uint64_t nowNs);
  // Samples of a reactor. `overran(key, ns)`: the sample held up the reactor, and its key is banned now.
  template <typename Overran>
  void learnInline(std::span<const CostSample> samples, uint64_t nowNs, Overran&& overran) {
    for (const CostSample& sample : samples) {
      // A reactor looks closer from one hop on, however many runs there were: other connections wait for it.
      const auto read = readSample(sample, CostTable::kHopNs, nowNs);
      if (!read) continue;
      const bool isOverrun = read->ns > CostTable::kOverrunNs;
      // A reactor that lost its core for a moment has learned nothing, and the first runs say little of those that follow.
      if ((read->exact && !(sample.flags & CostSample::kCold)) || isOverrun) {
        costs_.learnInline(read->key, read->ns / sample.runs);
      }
      if (isOverrun) {
        costs_.ban(read->key, read->ns / sample.runs, nowNs);
        overran(read->key, read->ns);
      }
      if (sample.flags & CostSample::kAsynchronous) costs_.banAsynchronous(read->key);
    }
  }

 private:
  struct Read {
    CostTable::Key key;
    uint64_t ns;
    bool exact;  // otherwise the thread lost its core, and `ns` is a lower bound
  };
  // Nothing for a sample that does not name a key or a run. From `dearNs` on the kernel is asked for the thread's CPU time.
  std::optional<Read> readSample(const CostSample& sample, uint64_t dearNs, uint64_t nowNs) const;

  CostTable& costs_;
  const uint32_t rowBits_;
  RunClock clock_;
};

}  // namespace mr
