// Which reactor gets a fresh connection. Knows how many connections each of them has, those on their way to it included. Without
// a lock: only reactors that accept touch a place that is not their own.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace mr {

class Balance {
 public:
  // In the order in which they cross from JS: see `balancePolicies` in addon/src.
  enum class Policy : uint8_t {
    kKernel,            // the accepting reactor keeps it
    kLeastConnections,  // the reactor that has fewest
    kAddress,           // the same remote address, the same reactor
    kApp,               // the app's balance hook says
  };
  static constexpr uint32_t kNobody = UINT32_MAX;

  explicit Balance(uint32_t reactors);

  // Whether a reactor takes connections from its siblings. One that stops takes none that entered later, and those that
  // entered before are in of(): when that is 0, none is on its way.
  void setTaking(uint32_t reactor, bool on);
  bool takes(uint32_t reactor) const;

  // Any reactor. Each connection enters once for each reactor that it goes to, before it is sent there, and leaves once.
  void enter(uint32_t reactor);     // it is there already
  bool tryEnter(uint32_t reactor);  // false: it takes none, or there is no such reactor
  void leave(uint32_t reactor);
  // Enters where there are fewest: `first` when it is one of those, else the one that follows it. While none leaves, the fullest
  // has at most one more than the emptiest, however many reactors accept at once. kNobody when no reactor takes any.
  uint32_t enterLeast(uint32_t first);
  // The reactor of this address (see addressKey()), among those that take connections; kNobody when none does. When a reactor
  // comes or goes, only the addresses that it gets or had change theirs.
  uint32_t ownerOf(uint64_t key) const;
  uint32_t of(uint32_t reactor) const { return seats_[reactor].connections.load(std::memory_order_seq_cst); }
  uint32_t end() const { return end_.load(std::memory_order_acquire); }  // no reactor from here on has ever taken any

 private:
  struct alignas(64) Seat {
    std::atomic<uint32_t> connections{0};
    std::atomic<bool> takes{false};
  };

  const uint32_t size_;
  std::unique_ptr<Seat[]> seats_;
  std::atomic<uint32_t> end_{0};
};

}  // namespace mr
