// The baseline that is 1.00: an epoll server with nothing but the kernel and a buffer in the way.
//
//   epoll_echo --work echo|lines|orders [--threads N]      prints {"addresses":[port]}, and its counts on SIGUSR2
//
// Each thread has its own epoll and its own SO_REUSEPORT listener. `echo` returns bytes as they come; `lines` returns whole lines
// only, as a framed server must; `orders` finds the three numbers of an order in its line and answers with its total. That is not
// a JSON parser: it is the least work for a known format.

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr int kEventsPerWait = 256;
constexpr size_t kReadBytes = 64 * 1024;
constexpr int kBacklog = 4096;  // The load generator connects in a burst.

enum class Work { kEcho, kLines, kOrders };

struct Connection {
  int fd;
  std::string partial;  // A line whose end has not arrived.
  std::string unsent;   // Bytes that the socket did not take.
};

Work work = Work::kEcho;
std::atomic<int> open_connections{0};

void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

int listen_on(uint16_t port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) die("socket");
  int on = 1;
  if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) < 0) die("SO_REUSEPORT");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) die("bind");
  if (listen(fd, kBacklog) < 0) die("listen");
  return fd;
}

uint16_t port_of(int fd) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) < 0) die("getsockname");
  return ntohs(address.sin_port);
}

void watch(int epoll, int operation, int fd, uint32_t events, void* owner) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = owner;
  if (epoll_ctl(epoll, operation, fd, &event) < 0) die("epoll_ctl");
}

void destroy(Connection* connection) {
  close(connection->fd);
  delete connection;
  open_connections.fetch_sub(1, std::memory_order_relaxed);
}

void accept_all(int epoll, int listener) {
  for (;;) {
    int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN || errno == ECONNABORTED) return;
      die("accept4");
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, new Connection{fd, {}, {}});
    open_connections.fetch_add(1, std::memory_order_relaxed);
  }
}

// False when the connection is gone.
bool send_all(int epoll, Connection* connection, const char* bytes, size_t length) {
  ssize_t sent = send(connection->fd, bytes, length, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN) return false;
    sent = 0;
  }
  if (static_cast<size_t>(sent) < length) {
    connection->unsent.append(bytes + sent, length - sent);
    // A peer that does not read is not read from.
    watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLOUT, connection);
  }
  return true;
}

bool on_writable(int epoll, Connection* connection) {
  std::string unsent = std::move(connection->unsent);
  connection->unsent.clear();
  if (!send_all(epoll, connection, unsent.data(), unsent.size())) return false;
  if (connection->unsent.empty()) watch(epoll, EPOLL_CTL_MOD, connection->fd, EPOLLIN, connection);
  return true;
}

std::string_view text_after(std::string_view line, std::string_view key) {
  const size_t at = line.find(key);
  return at == std::string_view::npos ? std::string_view() : line.substr(at + key.size());
}

// Up to two decimals, in hundredths: prices are quarters.
int64_t hundredths(std::string_view text) {
  int64_t value = 0;
  int decimals = -1;  // before the point
  for (const char c : text) {
    if (c == '.')
      decimals = 0;
    else if (c >= '0' && c <= '9' && decimals < 2)
      value = value * 10 + (c - '0'), decimals += decimals >= 0;
    else
      break;
  }
  for (int missing = decimals < 0 ? 2 : 2 - decimals; missing > 0; missing--) value *= 10;
  return value;
}

// {"id":7,"price":2.5,"count":3,...}  ->  {"id":7,"total":7.5}
void answer_order(std::string_view line, std::string* out) {
  const std::string_view id = text_after(line, "\"id\":");
  const int64_t total = hundredths(text_after(line, "\"price\":")) * (hundredths(text_after(line, "\"count\":")) / 100);
  char reply[96];
  int length = std::snprintf(reply, sizeof reply, "{\"id\":%.*s,\"total\":%ld.%02ld", static_cast<int>(id.find(',')), id.data(),
                             total / 100, total % 100);
  // As JavaScript writes a number: no zeros at its end.
  while (reply[length - 1] == '0') length--;
  if (reply[length - 1] == '.') length--;
  out->append(reply, static_cast<size_t>(length)).append("}\n");
}

void answer_orders(std::string_view lines, std::string* out) {
  for (size_t start = 0, end; (end = lines.find('\n', start)) != std::string_view::npos; start = end + 1)
    answer_order(lines.substr(start, end - start), out);
}

bool answer_lines(int epoll, Connection* connection, std::string_view lines) {
  if (work == Work::kLines) return send_all(epoll, connection, lines.data(), lines.size());
  thread_local std::string replies;
  replies.clear();
  answer_orders(lines, &replies);
  return send_all(epoll, connection, replies.data(), replies.size());
}

bool on_readable(int epoll, Connection* connection, char* buffer) {
  ssize_t received = recv(connection->fd, buffer, kReadBytes, 0);
  if (received == 0) return false;
  if (received < 0) return errno == EAGAIN || errno == EINTR;
  size_t length = static_cast<size_t>(received);
  if (work == Work::kEcho) return send_all(epoll, connection, buffer, length);

  // Every line is found, as a server that handles each one would have to.
  size_t whole = 0;
  while (const void* newline = memchr(buffer + whole, '\n', length - whole)) {
    whole = static_cast<const char*>(newline) - buffer + 1;
  }
  if (whole == 0) {
    connection->partial.append(buffer, length);
    return true;
  }
  bool alive;
  if (connection->partial.empty()) {
    alive = answer_lines(epoll, connection, {buffer, whole});
  } else {
    connection->partial.append(buffer, whole);
    const std::string lines = std::move(connection->partial);
    connection->partial.clear();
    alive = answer_lines(epoll, connection, lines);
  }
  if (alive) connection->partial.append(buffer + whole, length - whole);
  return alive;
}

void run(int listener) {
  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll_create1");
  watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, nullptr);
  std::vector<char> buffer(kReadBytes);
  epoll_event events[kEventsPerWait];
  for (;;) {
    int ready = epoll_wait(epoll, events, kEventsPerWait, -1);
    if (ready < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < ready; i++) {
      auto* connection = static_cast<Connection*>(events[i].data.ptr);
      if (connection == nullptr) {
        accept_all(epoll, listener);
        continue;
      }
      bool alive = (events[i].events & EPOLLOUT) ? on_writable(epoll, connection) : on_readable(epoll, connection, buffer.data());
      if (!alive) destroy(connection);
    }
  }
}

// The bench asks every server how many connections it has open.
[[noreturn]] void report_when_asked(const sigset_t& asked) {
  for (;;) {
    int signal = 0;
    if (sigwait(&asked, &signal) != 0) die("sigwait");
    std::printf("{\"open\":%d,\"frames\":[],\"held\":0}\n", open_connections.load(std::memory_order_relaxed));
    std::fflush(stdout);
  }
}

Work work_named(const std::string& name) {
  if (name == "echo") return Work::kEcho;
  if (name == "lines") return Work::kLines;
  if (name == "orders") return Work::kOrders;
  std::fprintf(stderr, "usage: epoll_echo --work echo|lines|orders [--threads N]\n");
  std::exit(2);
}

}  // namespace

int main(int argc, char** argv) {
  int threads = 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string name = argv[i], value = argv[i + 1];
    if (name == "--threads")
      threads = std::atoi(value.c_str());
    else
      work = work_named(name == "--work" ? value : "");
  }
  sigset_t asked;
  sigemptyset(&asked);
  sigaddset(&asked, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &asked, nullptr);
  int first = listen_on(0);
  uint16_t port = port_of(first);
  std::vector<std::thread> others;
  for (int i = 1; i < threads; i++) others.emplace_back(run, listen_on(port));
  others.emplace_back(report_when_asked, asked);
  std::printf("{\"addresses\":[%u]}\n", port);
  std::fflush(stdout);
  run(first);
}
