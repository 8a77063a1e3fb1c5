// A second server on the same port fails to start, although SO_REUSEPORT would let it steal half of the traffic. Holds an
// abstract Unix socket named after family, address and port while the address is in use; the kernel frees it with the process.
//
// Any user may bind any abstract name, so that only sockets of one's own user count: those whose port the kernel would share,
// since SO_REUSEPORT compares the same user ids. Another user's server on the port meets EADDRINUSE of the kernel itself. Where
// another user sits on the name, the guard takes one with a random end, which cannot be guessed; its servers find each other in
// the kernel's list.
#pragma once

#include <string>
#include <utility>

#include "base/fd.h"
#include "base/result.h"
#include "net/address.h"

namespace mr {

class StartGuard {
 public:
  // EADDRINUSE when another server holds the address. Port 0 is guarded after the bind, with the real port.
  static Result<StartGuard> take(const Address& address);
  // For the moments in which a server starts on a Unix path: the file itself cannot say "bound, about to listen".
  static Result<StartGuard> takePath(const Address& address);
  StartGuard() = default;
  // The same guard, as another process held it.
  static StartGuard adopt(Fd fd) { return StartGuard(std::move(fd)); }
  const Fd& descriptor() const { return fd_; }

 private:
  static Result<StartGuard> named(const std::string& name);
  static Result<StartGuard> besideOthers(const std::string& name);
  explicit StartGuard(Fd fd) : fd_(std::move(fd)) {}
  Fd fd_;
};

}  // namespace mr
