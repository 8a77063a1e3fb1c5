// The listening sockets of one reactor: watched by its epoll set, left alone for a moment when the machine is out of descriptors,
// and emptied before they close. Accepting itself is the reactor's. Belongs to its thread.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/fd.h"
#include "net/cidr.h"
#include "net/epoll.h"
#include "net/listener_group.h"

namespace mr {

struct Acceptor {
  static constexpr uint32_t kQuietMs = 10;  // a listener on which no peer has queued for so long is empty

  Fd fd;
  std::shared_ptr<ListenerGroup> group;
  uint16_t listener = 0;
  bool spread = false;
  std::shared_ptr<const CidrSet> proxyFrom;  // a PROXY header comes first, from these addresses only
  bool armed = false;
  bool emptying = false;
  uint64_t retryAtMs = 0;
  uint64_t lastAcceptMs = 0;
  uint32_t quietMs = kQuietMs;
};

// Named by their places, which are the tokens of the epoll set. A place whose descriptor is not valid is empty.
class Acceptors {
 public:
  static constexpr uint32_t kRetryMs = 100;  // after EMFILE and its like

  explicit Acceptors(Epoll& epoll) : epoll_(epoll) {}

  void add(Acceptor acceptor, uint64_t nowMs);
  uint32_t size() const { return static_cast<uint32_t>(all_.size()); }
  Acceptor& operator[](uint32_t index) { return all_[index]; }
  bool any() const;

  void arm(uint32_t index, uint64_t nowMs);
  void disarm(uint32_t index);
  void armAgainAt(uint32_t index, uint64_t ms) {
    disarm(index);
    all_[index].retryAtMs = ms;
  }
  // Peers that the kernel has queued are still accepted, until there has been none for `quietMs`.
  void empty(uint32_t index, uint64_t nowMs, uint32_t quietMs = Acceptor::kQuietMs);
  // It waits neither for its next try nor for a peer. One that waits for descriptors is not quiet.
  bool isQuiet(uint32_t index, uint64_t nowMs) const;
  // Its descriptor goes back to its group, which may live on in another process: the epoll set would go on watching it.
  void giveBack(uint32_t index);
  // For a sibling. The place is empty then.
  Acceptor take(uint32_t index);
  // When one of them has to be looked at, UINT64_MAX: never.
  uint64_t nextMs() const;

 private:
  Epoll& epoll_;
  std::vector<Acceptor> all_;
};

}  // namespace mr
