#include "base/fd.h"

#include <unistd.h>

namespace mr {

void Fd::reset(int fd) {
  // close() is not repeated on EINTR: Linux has released the number by then, and another thread may hold it already.
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

}  // namespace mr
