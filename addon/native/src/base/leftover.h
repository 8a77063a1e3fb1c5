// Detects memory that has stayed resident behind work which is over, whoever allocated it: what hooks and `parse` make of their
// frames is counted by nobody, and a burst of it leaves arenas that are free and resident.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace mr {

class Leftover {
 public:
  static constexpr uint64_t kWorth = uint64_t{16} << 20;  // less is not worth the page faults when it is wanted again
  static constexpr uint64_t kQuiet = uint64_t{1} << 20;   // received between two looks: memory that is in use comes back at once

  // One thread, every few seconds. `received`: bytes in all. True: little has come in since the last look, and much more is
  // resident than was at the least since giveBack.
  bool isWorthGivingBack(uint64_t resident, uint64_t received) {
    const bool isQuiet = received - std::exchange(received_, received) < kQuiet;
    least_ = least_ == 0 ? resident : std::min(least_, resident);
    return isQuiet && resident >= least_ + kWorth;
  }
  // So much is left, and is in use: the next look asks for more than that.
  void gaveBack(uint64_t resident) { least_ = resident; }

 private:
  uint64_t least_ = 0;
  uint64_t received_ = 0;
};

// Of the process, in bytes; 0 where the system does not tell.
uint64_t residentBytes();

}  // namespace mr
