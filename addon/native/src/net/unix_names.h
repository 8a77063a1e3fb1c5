// The owners of the names of Unix sockets in this network namespace: the kernel's own list (sock_diag), which also tells
// of sockets that do not listen, and of those of other users.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"

namespace mr {

struct UnixName {
  std::string name;  // an abstract one begins with a zero byte
  uint32_t inode;    // as fstat() has it of a socket's descriptor
  uint32_t user;     // the user that made the socket
};

// Those whose name begins with `prefix`. An error where the kernel does not tell: before Linux 5.3, without CONFIG_UNIX_DIAG, or
// where a sandbox forbids it.
Result<std::vector<UnixName>> unixNames(const std::string& prefix);

}  // namespace mr
