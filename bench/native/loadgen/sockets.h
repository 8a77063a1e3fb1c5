// Connecting, and waiting.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <vector>

#include "failure.h"

namespace loadgen {

constexpr size_t kReadBytes = 256 * 1024;
constexpr int kEventsPerWait = 256;

// The kernel completes a handshake on the loopback within connect(), whether or not the server accepts at once.
// `from`: the last byte of the own address, 127.0.0.from; 0 leaves it to the kernel.
inline int connect_to_port(const std::string& port, uint8_t from) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_errno("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  int on = 1;
  if (from != 0) {
    // Without this, the port is chosen at bind, and one that is in use towards any other server counts as taken.
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK - 1 + from);
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail_errno("bind");
  }
  address.sin_port = htons(static_cast<uint16_t>(std::stoul(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail_errno("connect to port " + port);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

inline int connect_to_path(const std::string& path) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_errno("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) fail("a path too long for a Unix socket: " + path);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail_errno("connect to " + path);
  return fd;
}

inline int connect_to(const std::string& address, uint8_t from = 0) {
  int fd = address.front() == '/' ? connect_to_path(address) : connect_to_port(address, from);
  if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) fail_errno("fcntl");
  return fd;
}

// The several addresses of a server get the connections in turn.
inline const std::string& address_of(const std::vector<std::string>& to, size_t connection) { return to[connection % to.size()]; }

// One address has 28,000 ports towards a server, a closed connection holds its own for a minute, and the search for a free one
// among the last half is slow: thousands of connections come from several addresses of the loopback.
constexpr size_t kSourceAddresses = 64;

inline uint8_t source_of(size_t connection) { return static_cast<uint8_t>(2 + connection % kSourceAddresses); }

class Epoll {
 public:
  Epoll() : fd_(epoll_create1(EPOLL_CLOEXEC)) {
    if (fd_ < 0) fail_errno("epoll_create1");
  }
  void watch(int operation, int fd, uint32_t events, void* owner) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = owner;
    if (epoll_ctl(fd_, operation, fd, &event) < 0) fail_errno("epoll_ctl");
  }
  int wait(epoll_event (&events)[kEventsPerWait], int timeout_ms) {
    int ready = epoll_wait(fd_, events, kEventsPerWait, timeout_ms);
    if (ready < 0 && errno != EINTR) fail_errno("epoll_wait");
    return ready;
  }

 private:
  int fd_;
};

}  // namespace loadgen
