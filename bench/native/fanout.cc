// One message to many connections: the plainest server there is, and the reader of all servers.
//
//   fanout serve BYTES [THREADS]
//       prints its port; sends BYTES to every connection that has said "s\n", once for each "p\n" that any connection says. With
//       several threads each has its own listener, its own connections, and an eventfd by which the others tell it of a "p\n"
//   fanout read PORT CONNECTIONS BYTES ROUNDS PID
//       opens so many connections that say "s\n", and one that says "p\n" for each round; a round is over when all have their
//       BYTES. Prints the CPU time of the process PID, with all its threads, for each delivery in nanoseconds. The first tenth
//       warms up.

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "fanout: %s: %s\n", what, std::strerror(errno));
  std::exit(1);
}

int checked(int result, const char* what) {
  if (result < 0) fail(what);
  return result;
}

void noDelay(int fd) {
  const int on = 1;
  checked(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)), "setsockopt");
}

void watch(int epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  checked(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
}

sockaddr_in loopback(uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

void sendAll(int fd, const char* data, size_t size) {
  // The reader asks for the next round when it has all of this one, so that a full socket is a mistake of the bench.
  if (send(fd, data, size, MSG_NOSIGNAL) != static_cast<ssize_t>(size)) fail("send");
}

int listenOn(uint16_t* port) {
  const int listener = checked(socket(AF_INET, SOCK_STREAM, 0), "socket");
  const int on = 1;
  checked(setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), "setsockopt");
  sockaddr_in address = loopback(*port);
  socklen_t length = sizeof(address);
  checked(bind(listener, reinterpret_cast<sockaddr*>(&address), length), "bind");
  checked(listen(listener, 4096), "listen");
  checked(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length), "getsockname");
  *port = ntohs(address.sin_port);
  return listener;
}

[[noreturn]] void serve(const std::string& message, int listener, const std::vector<int>& wakers, size_t own) {
  const int epoll = checked(epoll_create1(0), "epoll_create1");
  watch(epoll, listener);
  watch(epoll, wakers[own]);
  std::vector<int> subscribers;
  epoll_event events[256];
  for (;;) {
    const int count = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < count; ++i) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        const int accepted = checked(accept(listener, nullptr, nullptr), "accept");
        noDelay(accepted);
        watch(epoll, accepted);
        continue;
      }
      if (fd == wakers[own]) {
        eventfd_t asked = 0;
        checked(eventfd_read(fd, &asked), "eventfd_read");
        for (; asked != 0; --asked)
          for (const int subscriber : subscribers) sendAll(subscriber, message.data(), message.size());
        continue;
      }
      char said[256];
      const ssize_t size = recv(fd, said, sizeof(said), 0);
      if (size <= 0) {
        close(fd);
        std::erase(subscribers, fd);
        continue;
      }
      for (ssize_t at = 0; at < size; ++at) {
        if (said[at] == 's') {
          subscribers.push_back(fd);
          sendAll(fd, "s", 1);
        }
        if (said[at] == 'p')
          for (const int waker : wakers) checked(eventfd_write(waker, 1), "eventfd_write");
      }
    }
  }
}

[[noreturn]] void serve(size_t bytes, size_t threads) {
  const std::string message(bytes, 'm');
  uint16_t port = 0;
  std::vector<int> listeners, wakers;
  for (size_t i = 0; i < threads; ++i) {
    listeners.push_back(listenOn(&port));
    wakers.push_back(checked(eventfd(0, 0), "eventfd"));
  }
  std::printf("%d\n", port);
  std::fflush(stdout);
  for (size_t i = 1; i < threads; ++i) std::thread([&, i] { serve(message, listeners[i], wakers, i); }).detach();
  serve(message, listeners[0], wakers, 0);
}

uint64_t cpuNs(const std::string& pid) {
  const std::string folder = "/proc/" + pid + "/task";
  DIR* tasks = opendir(folder.c_str());
  if (!tasks) fail("opendir");
  uint64_t sum = 0;
  while (const dirent* task = readdir(tasks)) {
    if (task->d_name[0] == '.') continue;
    uint64_t own = 0;
    std::ifstream(folder + "/" + task->d_name + "/schedstat") >> own;
    sum += own;
  }
  closedir(tasks);
  return sum;
}

int connected(uint16_t port) {
  const int fd = checked(socket(AF_INET, SOCK_STREAM, 0), "socket");
  const sockaddr_in address = loopback(port);
  checked(connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), "connect");
  noDelay(fd);
  return fd;
}

int read(uint16_t port, size_t connections, size_t bytes, size_t rounds, const std::string& pid) {
  const int epoll = checked(epoll_create1(0), "epoll_create1");
  for (size_t i = 0; i < connections; ++i) {
    const int fd = connected(port);
    sendAll(fd, "s\n", 2);
    char answer;
    if (recv(fd, &answer, 1, MSG_WAITALL) != 1 || answer != 's') fail("a connection could not subscribe");
    watch(epoll, fd);
  }
  const int control = connected(port);
  std::vector<char> buffer(1 << 20);
  epoll_event events[256];
  uint64_t before = 0;
  for (size_t round = 0; round < rounds + rounds / 10; ++round) {
    if (round == rounds / 10) before = cpuNs(pid);
    sendAll(control, "p\n", 2);
    for (size_t missing = connections * bytes; missing != 0;) {
      const int count = epoll_wait(epoll, events, 256, 10'000);
      if (count <= 0) fail("nothing came for ten seconds");
      for (int i = 0; i < count; ++i) {
        const ssize_t size = recv(events[i].data.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
        if (size <= 0 || static_cast<size_t>(size) > missing) fail("too much, or an end");
        missing -= static_cast<size_t>(size);
      }
    }
  }
  std::printf("%.1f\n", static_cast<double>(cpuNs(pid) - before) / static_cast<double>(rounds * connections));
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  const std::string mode = count > 1 ? arguments[1] : "";
  if (mode == "serve" && (count == 3 || count == 4)) {
    const size_t threads = count == 4 ? std::strtoull(arguments[3], nullptr, 10) : 1;
    serve(std::strtoull(arguments[2], nullptr, 10), std::max<size_t>(threads, 1));
  }
  if (mode == "read" && count == 7) {
    return read(static_cast<uint16_t>(std::atoi(arguments[2])), std::strtoull(arguments[3], nullptr, 10),
                std::strtoull(arguments[4], nullptr, 10), std::strtoull(arguments[5], nullptr, 10), arguments[6]);
  }
  std::fprintf(stderr, "usage: fanout serve BYTES [THREADS] | fanout read PORT CONNECTIONS BYTES ROUNDS PID\n");
  return 2;
}
