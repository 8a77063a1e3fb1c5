#include "base/waker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <system_error>

#include "base/fatal.h"

namespace mr {

Waker::Waker() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (!fd_.valid()) throw std::system_error(errno, std::generic_category(), "eventfd");
}

void Waker::wake() {
  const uint64_t one = 1;
  ssize_t written;
  do written = ::write(fd_.get(), &one, sizeof(one));
  while (written < 0 && errno == EINTR);
  // EAGAIN: the counter is full, so fd() is readable already.
  MR_CHECK(written == sizeof(one) || errno == EAGAIN, "the eventfd cannot be written");
}

uint64_t Waker::drain() {
  uint64_t count;
  ssize_t taken;
  do taken = ::read(fd_.get(), &count, sizeof(count));
  while (taken < 0 && errno == EINTR);
  // EAGAIN: no wake since the last time.
  MR_CHECK(taken == sizeof(count) || errno == EAGAIN, "the eventfd cannot be read");
  return taken == sizeof(count) ? count : 0;
}

}  // namespace mr
