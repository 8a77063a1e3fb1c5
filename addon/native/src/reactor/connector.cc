#include "reactor/connector.h"

#include <cerrno>

#include "net/socket.h"

namespace mr {

Result<uint32_t> Connector::begin(const Address& address, const Address* local, uint16_t profile, uint64_t nowMs,
                                  uint32_t timeoutMs) {
  Result<Fd> made = sock::connect(address, local);
  if (!made.ok()) return Result<uint32_t>::failure(made.error);
  // A number that is still in use after two thousand million others is passed over.
  do next_ = (next_ + 1) % (kTokenBit - 1);
  while (attempts_.contains(next_));
  const uint32_t request = next_;
  // One that is connected at once is writable, and takes the same way.
  const auto watched = epoll_.add(made.value.get(), EPOLLOUT, kTokenBit | request);
  if (!watched.ok()) return Result<uint32_t>::failure(watched.error);
  Attempt& attempt = attempts_[request];
  attempt.fd = std::move(made.value);
  attempt.address = address;
  attempt.profile = profile;
  if (timeoutMs != 0) {
    wheel_.start(request, nowMs, nowMs + timeoutMs, [this](uint32_t other) -> TimerWheel::Link& { return timerOf(other); });
  }
  return Result<uint32_t>::success(request);
}

Connector::Ended Connector::take(uint32_t request, int error) {
  wheel_.stop(request, [this](uint32_t other) -> TimerWheel::Link& { return timerOf(other); });
  const auto found = attempts_.find(request);
  Ended ended{request, std::move(found->second), error};
  attempts_.erase(found);
  if (error != 0) ended.attempt.fd.reset();
  return ended;
}

bool Connector::finish(uint32_t request, uint32_t events, Ended* ended) {
  const auto found = attempts_.find(request);
  if (found == attempts_.end()) return false;
  const int fd = found->second.fd.get();
  int error = 0;
  // Without a word of them the socket is writable, and nothing else.
  if (events & (EPOLLERR | EPOLLHUP)) {
    const Result<int> pending = sock::pendingError(fd);
    error = pending.ok() ? pending.value : pending.error;
  }
  if (error == 0 && sock::isConnectedToItself(fd, found->second.address)) error = ECONNREFUSED;
  *ended = take(request, error);
  return true;
}

bool Connector::cancel(uint32_t request, Ended* ended) {
  if (!attempts_.contains(request)) return false;
  *ended = take(request, ECANCELED);
  return true;
}

void Connector::expire(uint64_t nowMs, std::vector<Ended>* ended) {
  expired_.clear();
  wheel_.expire(nowMs, &expired_, [this](uint32_t request) -> TimerWheel::Link& { return timerOf(request); });
  for (const uint32_t request : expired_) ended->push_back(take(request, ETIMEDOUT));
}

std::vector<uint32_t> Connector::requests() const {
  std::vector<uint32_t> all;
  all.reserve(attempts_.size());
  for (const auto& [request, attempt] : attempts_) all.push_back(request);
  return all;
}

}  // namespace mr
