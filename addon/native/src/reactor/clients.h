// Connections that one reactor makes itself, until they are open, and what it knows of them instead of a listener's settings.
// Belongs to its thread; emits nothing.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "exchange/counters.h"
#include "exchange/exchange.h"
#include "reactor/client_profiles.h"
#include "reactor/connector.h"

namespace mr {

class Clients {
 public:
  Clients(Exchange& exchange, Epoll& epoll, ReactorCounters& counters, ClientProfiles& profiles, uint64_t nowMs)
      : exchange_(exchange), counters_(counters), profiles_(profiles), connector_(epoll, nowMs) {}

  // Begins to connect. The caller has taken a place among the connections of the process for it, which is given back when this
  // fails. Its number, or an errno: ENOBUFS when there are too many different profiles, or the kernel's own. `framing`:
  // Framings::kNone when there are too many.
  Result<uint32_t> connect(const Address& address, const Address* local, const ListenerConfig& config, uint16_t framing,
                           uint64_t nowMs, uint32_t timeoutMs);
  // Nothing is told of it. False when it has ended.
  bool cancel(uint32_t request);
  // Attempts that have ended: by epoll's word, by their deadlines, and all that are left. `ended(Connector::Ended)`.
  template <typename Do>
  void finish(uint32_t request, uint32_t events, Do&& ended) {
    Connector::Ended one;
    if (connector_.finish(request, events, &one)) tell(std::move(one), ended);
  }
  template <typename Do>
  void expire(uint64_t nowMs, Do&& ended) {
    expired_.clear();
    connector_.expire(nowMs, &expired_);
    for (Connector::Ended& one : expired_) tell(std::move(one), ended);
  }
  template <typename Do>
  void cancelAll(Do&& ended) {
    for (const uint32_t request : connector_.requests()) {
      Connector::Ended one;
      if (connector_.cancel(request, &one)) tell(std::move(one), ended);
    }
  }
  // What has become of one that has ended.
  void failed(const Connector::Ended& ended);
  void opened() {
    ++open_;
    counters_.connected.add(1);
  }
  void forgotten(uint16_t profile) {
    --open_;
    profiles_.release(profile);
  }

  // --- profiles, which stand in Connection::listener ---
  const ListenerConfig& config(uint16_t profile) const { return profiles_.config(profile); }
  uint16_t framing(uint16_t profile) const { return profiles_.framing(profile); }
  // The number of a profile with these settings instead; ClientProfiles::kNone when there are too many, and then the old one
  // stays.
  uint16_t change(uint16_t profile, const ListenerConfig& config);
  template <typename Look>
  void eachFraming(Look&& look) const {
    profiles_.eachFraming(look);
  }

  uint32_t open() const { return open_; }  // in the table
  size_t connecting() const { return connector_.size(); }
  int64_t untilNextMs(uint64_t nowMs) const { return connector_.untilNextMs(nowMs); }

 private:
  template <typename Do>
  void tell(Connector::Ended ended, Do&& to) {
    counters_.connecting.sub(1);
    to(std::move(ended));
  }

  Exchange& exchange_;
  ReactorCounters& counters_;
  ClientProfiles& profiles_;
  Connector connector_;
  std::vector<Connector::Ended> expired_;
  uint32_t open_ = 0;
};

}  // namespace mr
