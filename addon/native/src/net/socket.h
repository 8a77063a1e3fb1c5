// The only file that calls the socket syscalls. Each function returns the kernel's answer as a Result; none retries or
// decides, except that EINTR is invisible. Every socket made here is non-blocking and close-on-exec.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

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
Result<Fd> createDiagnosis();                                                 // netlink: asks the kernel about sockets
Result<Fd> bindStream(const Address& address, const ListenOptions& options);  // socket + SO_REUSEADDR (inet) + bind
Result<int> listen(int fd, int backlog);
Result<Accepted> accept(int fd);  // accept4, non-blocking
// The value may still be in progress. `local`: where to connect from, or null; its port may be 0.
Result<Fd> connect(const Address& address, const Address* local = nullptr);
bool isConnectedToItself(int fd, const Address& target);           // on loopback a port without a listener can meet itself
Result<size_t> receive(int fd, void* data, size_t size);           // 0: the peer has finished sending
Result<size_t> peek(int fd);                                       // 0: as above. 1: bytes wait
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
// The orderly way to empty a listener: connections queued or in their handshake can still be accepted. On TCP a new
// connection waits in vain (its SYN is dropped) until the listener closes; on a Unix path it gets ECONNREFUSED, and the
// listener stays readable for ever: accept until EAGAIN, then take it out of the epoll set.
Result<int> refuseNewConnections(int fd);
// Of the listening sockets that share the port of this one, only the first `count` get new connections: those of the CPU that
// received it (`cpus` has one for each socket, or none at all), and where there is none, any of them in random turn. One
// program for both, since a second one would replace the first. E2BIG: too many for a program.
Result<int> steer(int fd, uint32_t count, std::span<const int> cpus);
Result<int> stopSteering(int fd);    // undoes steer(), for all sockets of the port
Result<int> checkListening(int fd);  // EBADF, ENOTSOCK, EPROTOTYPE (no stream), EAFNOSUPPORT, EINVAL (does not listen)
Result<bool> sharesPort(int fd);     // SO_REUSEPORT is on
Result<int> makeOurs(int fd);        // non-blocking and close-on-exec, as if it had been made here
Result<Fd> duplicate(int fd);        // close-on-exec; the same socket, which stays open with the last of its descriptors
bool isUnixSocket(int fd);
Result<uint32_t> peerUser(int fd);  // of a Unix connection: the user id its other side had when it connected
// Descriptors travel with the first byte. At most kMaxPassed of them.
constexpr size_t kMaxPassed = 253;  // SCM_MAX_FD of the kernel
Result<size_t> sendWithDescriptors(int fd, std::span<const uint8_t> bytes, std::span<const int> descriptors);
// Appends the received descriptors. EMFILE when this process has no room for it: the kernel has dropped some then.
Result<size_t> receiveWithDescriptors(int fd, std::span<uint8_t> room, std::vector<Fd>* descriptors);
// false: some program listens there, without SO_REUSEPORT or with it. Error EACCES, EADDRNOTAVAIL, ... from bind.
Result<bool> addressIsFree(const Address& address, const ListenOptions& options);

}  // namespace mr::sock
