// One epoll set. Knows descriptors and 64-bit tokens; the reactor gives tokens their meaning.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace mr {

class Epoll {
 public:
  explicit Epoll(int maxEvents);  // throws std::system_error when no descriptor can be had
  int fd() const { return fd_.get(); }
  Result<int> add(int fd, uint32_t events, uint64_t token);
  Result<int> modify(int fd, uint32_t events, uint64_t token);
  Result<int> remove(int fd);
  // The span is valid until the next wait. EINTR yields an empty span.
  std::span<const epoll_event> wait(int timeoutMs);

 private:
  Fd fd_;
  std::vector<epoll_event> events_;
};

}  // namespace mr
