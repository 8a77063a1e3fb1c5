#include "reactor/acceptors.h"

#include <sys/epoll.h>

#include <algorithm>

namespace mr {

void Acceptors::add(Acceptor acceptor, uint64_t nowMs) {
  all_.push_back(std::move(acceptor));
  arm(size() - 1, nowMs);
}

bool Acceptors::any() const {
  return std::any_of(all_.begin(), all_.end(), [](const Acceptor& acceptor) { return acceptor.fd.valid(); });
}

void Acceptors::arm(uint32_t index, uint64_t nowMs) {
  Acceptor& acceptor = all_[index];
  acceptor.retryAtMs = 0;
  if (acceptor.armed || !acceptor.fd.valid()) return;
  const auto added = epoll_.add(acceptor.fd.get(), EPOLLIN, index);
  if (added.ok()) {
    acceptor.armed = true;
  } else {
    acceptor.retryAtMs = nowMs + kRetryMs;
  }
}

void Acceptors::disarm(uint32_t index) {
  Acceptor& acceptor = all_[index];
  if (!acceptor.armed) return;
  (void)epoll_.remove(acceptor.fd.get());
  acceptor.armed = false;
}

void Acceptors::empty(uint32_t index, uint64_t nowMs, uint32_t quietMs) {
  Acceptor& acceptor = all_[index];
  acceptor.emptying = true;
  acceptor.quietMs = quietMs;
  acceptor.lastAcceptMs = nowMs;
}

bool Acceptors::isQuiet(uint32_t index, uint64_t nowMs) const {
  const Acceptor& acceptor = all_[index];
  return acceptor.emptying && acceptor.retryAtMs == 0 && nowMs >= acceptor.lastAcceptMs + acceptor.quietMs;
}

void Acceptors::giveBack(uint32_t index) {
  Acceptor left = take(index);
  if (left.fd.valid()) left.group->giveBack(std::move(left.fd));
}

Acceptor Acceptors::take(uint32_t index) {
  disarm(index);
  return std::exchange(all_[index], Acceptor{});
}

uint64_t Acceptors::nextMs() const {
  uint64_t next = UINT64_MAX;
  for (const Acceptor& acceptor : all_) {
    if (!acceptor.fd.valid()) continue;  // it may have closed while it waited for its next try
    if (acceptor.retryAtMs != 0) {
      next = std::min(next, acceptor.retryAtMs);
    } else if (acceptor.emptying) {
      next = std::min(next, acceptor.lastAcceptMs + acceptor.quietMs);
    }
  }
  return next;
}

}  // namespace mr
