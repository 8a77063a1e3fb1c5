// The costs of frames so far, by listener, hook and size class, and whether such a frame may run on a reactor. Written by the
// threads that run frames, a batch at a time; read by reactors, once for each frame that they cut. Locks nothing.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace mr {

class CostTable {
 public:
  static constexpr uint32_t kMaxListeners = 256;
  static constexpr uint32_t kSizes = 24;  // a class holds the sizes up to twice its smallest; the last one all that are larger
  static constexpr uint32_t kClasses = 2 * kSizes;  // of frames for parse, then of values for task
  static constexpr uint64_t kHopNs = 50'000;  // the cost for a frame of going to the pool and back, sleeping worker included
  static constexpr uint64_t kOverrunNs = 1'000'000;      // one run on a reactor that takes longer is an overrun
  static constexpr uint64_t kBannedNs = 10'000'000'000;  // after one, the class stays in the pool at least so long,
  static constexpr uint32_t kCheapRuns = 100;            // and until so many runs in a row there were cheaper than a hop

  CostTable() = default;
  ~CostTable();
  CostTable(const CostTable&) = delete;
  CostTable& operator=(const CostTable&) = delete;

  // Names listener, hook and size class in one number.
  using Key = uint32_t;
  static constexpr uint32_t kListenerShift = 8;
  static constexpr bool isKey(uint32_t key) { return (key >> kListenerShift) < kMaxListeners && (key & 0xff) < kClasses; }
  static constexpr Key keyOf(uint16_t listener, size_t bytes, bool isValue = false) {
    return uint32_t{listener} << kListenerShift |
           ((isValue ? kSizes : 0) + std::min<uint32_t>(std::bit_width(bytes), kSizes - 1));
  }

  // --- reactors ---
  // The expected cost of one more frame, in ns; 0: none has run yet.
  uint64_t costNs(Key key) const { return word(key) & kCostMask; }
  // Known to be cheaper than a hop, and not banned.
  bool staysInline(Key key) const { return word(key) - 1 < kHopNs - 1; }

  // --- threads that run frames. A sample may be the mean of several runs ---
  void learnInPool(Key key, uint32_t runs, uint64_t nsEach, uint64_t nowNs);
  void learnInline(Key key, uint64_t nsEach);
  // One run of so many ns held up a reactor.
  void ban(Key key, uint64_t ns, uint64_t nowNs);
  // Its work behind its first return cannot be measured: it stays in the pool as long as it goes on so.
  void banAsynchronous(Key key);
  // It had not been its fault.
  void pardon(Key key);
  bool isBanned(Key key) const { return (word(key) & kBanned) != 0; }

 private:
  // One word, so that a reader sees cost and ban at once: cost in ns, ban, cheap runs in a row since.
  static constexpr uint64_t kCostMask = 0xffff'ffff;
  static constexpr uint64_t kBanned = uint64_t{1} << 32;
  static constexpr uint32_t kRunsShift = 40;
  static bool isNews(uint64_t known, uint64_t next) {
    return known == 0 || next + known / 64 < known || next > known + known / 64;
  }
  struct Cell {
    std::atomic<uint64_t> word{0};
    std::atomic<uint64_t> bannedUntilNs{0};
  };
  using Row = std::array<Cell, kClasses>;

  uint64_t word(Key key) const {
    const Row* row = rows_[key >> 8].load(std::memory_order_acquire);
    return row ? (*row)[key & 0xff].word.load(std::memory_order_relaxed) : 0;
  }
  Cell& cell(Key key);
  template <typename Change>
  void update(Key key, Change&& change);

  std::array<std::atomic<Row*>, kMaxListeners> rows_{};  // made when the first frame of the listener has run
};

}  // namespace mr
