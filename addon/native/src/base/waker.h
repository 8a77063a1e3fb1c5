// An eventfd that ends another thread's epoll wait. It carries no data: the reason lies in a mailbox or queue.
#pragma once

#include <cstdint>

#include "base/fd.h"

namespace mr {

class Waker {
 public:
  Waker();  // throws std::system_error when no descriptor can be had
  int fd() const { return fd_.get(); }
  void wake();       // Any thread. Never blocks.
  uint64_t drain();  // The woken thread: makes fd() unreadable again. How often wake() has been called since the last time.

 private:
  Fd fd_;
};

}  // namespace mr
