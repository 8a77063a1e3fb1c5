// The handshakes that one reactor has under way. An attempt ends in a connected socket or an errno, and in nothing else: by the
// kernel's word, by its deadline, or because it is cancelled. Belongs to its reactor's thread; emits nothing, has no callbacks.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "net/address.h"
#include "net/epoll.h"
#include "reactor/timer_wheel.h"

namespace mr {

class Connector {
 public:
  // An epoll token below 1 << 32 with this bit is an attempt's.
  static constexpr uint32_t kTokenBit = 1u << 31;

  struct Attempt {
    Fd fd;
    Address address;
    uint16_t profile = 0;
    TimerWheel::Link timer;
  };
  struct Ended {
    uint32_t request;
    Attempt attempt;
    int error;  // 0: connected
  };

  Connector(Epoll& epoll, uint64_t nowMs) : epoll_(epoll), wheel_(nowMs) {}

  // Begins. value: its number; errno when it has failed already. `local`: or null. timeoutMs 0: the kernel's patience.
  Result<uint32_t> begin(const Address& address, const Address* local, uint16_t profile, uint64_t nowMs, uint32_t timeoutMs);
  // Takes epoll's events of an attempt. False: it goes on, or is none. A socket that is connected stays in the set.
  bool finish(uint32_t request, uint32_t events, Ended* ended);
  bool cancel(uint32_t request, Ended* ended);
  // Those whose time is over, as ETIMEDOUT.
  void expire(uint64_t nowMs, std::vector<Ended>* ended);
  std::vector<uint32_t> requests() const;
  size_t size() const { return attempts_.size(); }
  int64_t untilNextMs(uint64_t nowMs) const { return wheel_.untilNextMs(nowMs); }

 private:
  Ended take(uint32_t request, int error);
  TimerWheel::Link& timerOf(uint32_t request) { return attempts_.find(request)->second.timer; }

  Epoll& epoll_;
  std::unordered_map<uint32_t, Attempt> attempts_;
  TimerWheel wheel_;
  std::vector<uint32_t> expired_;
  uint32_t next_ = 0;
};

}  // namespace mr
