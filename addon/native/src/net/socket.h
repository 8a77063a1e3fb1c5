// The only file that calls the socket syscalls. Each function returns the kernel's answer as a Result; none retries or
// decides, except that EINTR is invisible. Every socket made here is non-blocking and close-on-exec.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>

#include "base/fd.h"
#include "base/result.h"
#include "net/address.h"

namespace mr::sock {

struct ListenOptions {
  bool reusePort = false;
  bool ipv6Only = false;
};

struct Accepted {
  Fd fd;
  Address peer;
};

Result<Fd> create(int family);                                                // SOCK_STREAM
Result<Fd> bindStream(const Address& address, const ListenOptions& options);  // socket + SO_REUSEADDR (inet) + bind
Result<int> listen(int fd, int backlog);
Result<Accepted> accept(int fd);                                   // accept4, non-blocking
Result<Fd> connect(const Address& address);                        // value may still be in progress
Result<size_t> receive(int fd, void* data, size_t size);           // 0: the peer has finished sending
Result<size_t> send(int fd, const void* data, size_t size);        // MSG_NOSIGNAL
Result<size_t> sendVector(int fd, const iovec* parts, int count);  // sendmsg, MSG_NOSIGNAL
Result<int> shutdownWrite(int fd);
Result<Address> localAddress(int fd);
Result<Address> peerAddress(int fd);
Result<int> setNoDelay(int fd, bool on);
Result<int> setKeepAlive(int fd, bool on, uint32_t initialDelaySeconds);
Result<int> setLingerReset(int fd);  // close() will send RST
bool isReadable(int fd);             // asked without waiting
Result<int> pendingError(int fd);    // SO_ERROR as value
// The orderly way to empty a listener: what is queued, and what is in its handshake, can still be accepted. On TCP a new
// connection waits in vain (its SYN is dropped) until the listener closes; on a Unix path it gets ECONNREFUSED, and the
// listener stays readable for ever: accept until EAGAIN, then take it out of the epoll set.
// Of the listening sockets that share the port of this one, only the first `count` get new connections, in random turn.
Result<int> steerToFirst(int fd, uint32_t count);
Result<int> refuseNewConnections(int fd);
// false: some program listens there, without SO_REUSEPORT or with it. Error EACCES, EADDRNOTAVAIL, ... from bind.
Result<bool> addressIsFree(const Address& address, const ListenOptions& options);

}  // namespace mr::sock
