// Shared by tests on real sockets: waiting for a fact instead of for a while, connected pairs, and the kernel's own view.
#pragma once

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "base/clock.h"
#include "harness.h"
#include "net/listener_group.h"
#include "net/socket.h"

namespace mr::test {

constexpr int kPatienceMs = 60'000;  // only a broken test waits as long

inline bool isReady(int fd, short events, int timeoutMs) {
  pollfd wanted{fd, events, 0};
  int count;
  do count = ::poll(&wanted, 1, timeoutMs);
  while (count < 0 && errno == EINTR);
  return count == 1;
}

template <typename Condition>
bool becomes(Condition&& condition) {
  const uint64_t deadline = monotonicMs() + kPatienceMs;
  while (!condition()) {
    if (monotonicMs() >= deadline) return false;
    sched_yield();
  }
  return true;
}

template <typename T>
T must(Result<T> result) {
  if (!result.ok()) fail(__FILE__, __LINE__, "errno " + std::to_string(result.error));
  return std::move(result.value);
}

inline Address loopback(uint16_t port = 0) { return must(Address::inet("127.0.0.1", port)); }

// A connection whose handshake is over.
inline Fd connected(const Address& address) {
  Fd fd = must(sock::connect(address));
  CHECK(isReady(fd.get(), POLLOUT, kPatienceMs));
  CHECK_EQ(must(sock::pendingError(fd.get())), 0);
  return fd;
}

inline Fd accepted(int listener) {
  CHECK(isReady(listener, POLLIN, kPatienceMs));
  return must(sock::accept(listener)).fd;
}

struct Pair {
  Fd near;
  Fd far;
};

inline Pair tcpPair() {
  const Fd listener = must(sock::bindStream(loopback(), {}));
  must(sock::listen(listener.get(), 16));
  Pair pair;
  pair.far = connected(must(sock::localAddress(listener.get())));
  pair.near = accepted(listener.get());
  return pair;
}

inline Pair unixPair(int type = SOCK_STREAM) {
  int fds[2];
  CHECK_EQ(::socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  return {Fd(fds[0]), Fd(fds[1])};
}

// The kernel doubles the value and has a floor of a few KiB. On TCP a buffer that small waits for delayed ACKs.
inline void shrinkSendBuffer(int fd, int bytes = 1) {
  CHECK_EQ(::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)), 0);
}

// The descriptor of its peer over IPv4, in this process as well.
inline int otherEndOf(const Fd& near) {
  const Address name = must(sock::localAddress(near.get()));
  for (int fd = 3; fd < 1024; ++fd) {
    sockaddr_in peer{};
    socklen_t size = sizeof(peer);
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &size) != 0 || peer.sin_family != AF_INET) continue;
    if (ntohs(peer.sin_port) == name.port()) return fd;
  }
  return -1;
}

// To hold much that is not read. The kernel has a ceiling.
inline void growReceiveBuffer(int fd) {
  const int bytes = 1 << 20;
  CHECK_EQ(::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)), 0);
}

// The bytes that are there now.
inline std::string received(int fd) {
  std::string all;
  char some[4096];
  for (;;) {
    const Result<size_t> got = sock::receive(fd, some, sizeof(some));
    if (!got.ok() || got.value == 0) return all;
    all.append(some, got.value);
  }
}

inline uint64_t inodeOf(int fd) {
  struct stat status;
  CHECK_EQ(::fstat(fd, &status), 0);
  return status.st_ino;
}

// One line of /proc/net/tcp.
struct TcpEntry {
  uint16_t port;
  int state;  // TCP_LISTEN, TCP_SYN_SENT, ...
  uint64_t inode;
};

inline std::vector<TcpEntry> tcpEntries(uint16_t port) {
  std::vector<TcpEntry> entries;
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line);
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string number, local, remote, state, skipped;
    TcpEntry entry{};
    fields >> number >> local >> remote >> state;
    for (int i = 0; i < 5; ++i) fields >> skipped;
    fields >> entry.inode;
    entry.port = static_cast<uint16_t>(std::stoul(local.substr(local.find(':') + 1), nullptr, 16));
    entry.state = std::stoi(state, nullptr, 16);
    if (entry.port == port) entries.push_back(entry);
  }
  return entries;
}

inline std::set<uint64_t> inodesInState(uint16_t port, int state) {
  std::set<uint64_t> inodes;
  for (const TcpEntry& entry : tcpEntries(port)) {
    if (entry.state == state) inodes.insert(entry.inode);
  }
  return inodes;
}

// A folder for Unix paths, gone with the test.
class Folder {
 public:
  Folder() {
    char name[] = "/tmp/multireactor-test-XXXXXX";
    if (!::mkdtemp(name)) fail(__FILE__, __LINE__, "mkdtemp");
    path_ = name;
  }
  ~Folder() {
    for (const std::string& file : files_) ::unlink(file.c_str());
    ::rmdir(path_.c_str());
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) {
    files_.insert(path_ + '/' + name);
    return path_ + '/' + name;
  }

 private:
  std::string path_;
  std::set<std::string> files_;
};

inline bool exists(const std::string& path) {
  struct stat status;
  return ::lstat(path.c_str(), &status) == 0;
}

}  // namespace mr::test
