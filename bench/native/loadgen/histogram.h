// Log-linear: 64 equal buckets in each power of two, so a value is known to better than 1.6 %.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace loadgen {

class Histogram {
 public:
  void record(uint64_t nanoseconds) {
    counts_[bucket(nanoseconds)]++;
    total_++;
  }

  double percentile_us(double fraction) const {
    uint64_t rank = static_cast<uint64_t>(fraction * static_cast<double>(total_));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); i++) {
      seen += counts_[i];
      if (seen > rank) return middle(i) / 1000.0;
    }
    return 0;
  }

 private:
  static constexpr unsigned kSubBits = 6;
  static constexpr uint64_t kSub = 1u << kSubBits;

  static size_t bucket(uint64_t value) {
    if (value < kSub) return value;
    unsigned shift = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
    return (static_cast<size_t>(shift) << kSubBits) + (value >> shift);
  }

  static double middle(size_t index) {
    if (index < kSub) return static_cast<double>(index);
    unsigned shift = static_cast<unsigned>(index >> kSubBits) - 1;
    uint64_t low = (index - (static_cast<size_t>(shift) << kSubBits)) << shift;
    return static_cast<double>(low) + static_cast<double>(1ull << shift) / 2;
  }

  std::vector<uint64_t> counts_ = std::vector<uint64_t>(65 << kSubBits);
  uint64_t total_ = 0;
};

}  // namespace loadgen
