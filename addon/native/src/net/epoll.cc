#include "net/epoll.h"

#include <cerrno>
#include <system_error>

#include "base/fatal.h"

namespace mr {

namespace {

Result<int> control(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = token;
  return ::epoll_ctl(epoll, operation, fd, &event) == 0 ? Result<int>::success(0) : Result<int>::failure(errno);
}

}  // namespace

Epoll::Epoll(int maxEvents) : fd_(::epoll_create1(EPOLL_CLOEXEC)), events_(static_cast<size_t>(maxEvents)) {
  if (!fd_.valid()) throw std::system_error(errno, std::generic_category(), "epoll_create1");
}

Result<int> Epoll::add(int fd, uint32_t events, uint64_t token) { return control(fd_.get(), EPOLL_CTL_ADD, fd, events, token); }

Result<int> Epoll::modify(int fd, uint32_t events, uint64_t token) {
  return control(fd_.get(), EPOLL_CTL_MOD, fd, events, token);
}

Result<int> Epoll::remove(int fd) { return control(fd_.get(), EPOLL_CTL_DEL, fd, 0, 0); }

std::span<const epoll_event> Epoll::wait(int timeoutMs) {
  const int count = ::epoll_wait(fd_.get(), events_.data(), static_cast<int>(events_.size()), timeoutMs);
  // Anything else would be a set that is closed or was never one: our own bug.
  MR_CHECK(count >= 0 || errno == EINTR, "the epoll set cannot be waited on");
  return {events_.data(), count > 0 ? static_cast<size_t>(count) : 0};
}

}  // namespace mr
