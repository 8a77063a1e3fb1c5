// The budget of one turn of a reactor, in bytes and in CPU time of its thread. The rest waits for the next turn: between
// two turns memory is shed, and other connections are served. Pure accounting: knows no connection.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace mr {

class TurnBudget {
 public:
  static constexpr size_t kBytes = 2 << 20;         // copied, received or sent in one turn
  static constexpr uint64_t kCpuNs = 4'000'000;     // of the thread, without the hooks of the app
  static constexpr uint32_t kShares = 8;            // the phases of a turn divide it by these
  static constexpr size_t kUnitBytes = 256;         // the price of a step beside its bytes
  static constexpr size_t kSyscallBytes = 2 << 10;  // the price of a system call beside its bytes
  static constexpr size_t kAcceptBytes = 16 << 10;  // the price of a fresh connection
  static constexpr size_t kLookBytes = 128 << 10;   // asking for the CPU time is a system call: once in so many bytes

  // A turn begins, with its first phase.
  void begin(uint32_t shares = kShares) {
    largestBytes_ = std::max(largestBytes_, spent_);
    largestCpuNs_ = std::max(largestCpuNs_, cpuNs_);
    spent_ = 0;
    cpuNs_ = 0;
    lookAt_ = kLookBytes;
    measures_ = false;
    away_ = false;
    ended_ = false;
    open(shares);
  }
  // The next phase. It and those before it may use so many shares together, so that one that has always work leaves some for the
  // next.
  void open(uint32_t shares) {
    mostBytes_ = kBytes / kShares * shares;
    mostCpuNs_ = kCpuNs / kShares * shares;
  }
  void spend(size_t bytes = 0) {
    spent_ += bytes + kUnitBytes;
    if (spent_ >= lookAt_) look();
  }
  // Asked where there is more to do. False: it waits for the next turn.
  bool left() {
    if (spent_ < mostBytes_ && cpuNs_ < mostCpuNs_) return true;
    ended_ = true;
    return false;
  }
  // The app's hooks run: their time is not this turn's.
  void leave() {
    measures_ = false;
    away_ = true;
  }
  void comeBack() { away_ = false; }
  bool ended() const { return ended_; }
  size_t spent() const { return spent_; }
  uint64_t cpuNs() const { return cpuNs_; }
  // Of all turns so far.
  size_t largestBytes() const { return std::max(largestBytes_, spent_); }
  uint64_t largestCpuNs() const { return std::max(largestCpuNs_, cpuNs_); }

 private:
  void look();

  size_t spent_ = 0, lookAt_ = kLookBytes, mostBytes_ = kBytes;
  uint64_t cpuNs_ = 0, mostCpuNs_ = kCpuNs, sinceNs_ = 0;
  size_t largestBytes_ = 0;
  uint64_t largestCpuNs_ = 0;
  bool measures_ = false;  // sinceNs_ is from this turn
  bool away_ = false;      // spending by hooks counts in bytes only
  bool ended_ = false;
};

}  // namespace mr
