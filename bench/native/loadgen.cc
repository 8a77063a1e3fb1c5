// The load generator: one thread, one epoll, and every reply compared with what it must be.
//
//   loadgen --to PORT|PATH,... --connections N --in-flight K (--seconds S --warmup S | --frames N)
//           --mode echo|lines|json [--payload BYTES] [--data FILE --expect FILE] [--pids P,P]
//   loadgen --to PORT|PATH,... --idle N          opens N connections and holds them until its stdin closes
//
// Several addresses, ports of 127.0.0.1 and paths of Unix sockets, get the connections in turn.
//
// A run is a ring of requests and, line for line, the ring of their replies. In the modes `echo` and `lines` the two are the same
// bytes; in the mode `json` they are the lines of --data and of --expect. Connection c starts at its own place in the ring, so
// that a reply that went to the wrong connection is a mismatch, not a coincidence.
//
// Each connection keeps K requests outstanding: as replies arrive, as many requests follow in one send. --pids names the
// processes of the server, whose CPU time is read at both ends of the measured window, here, where the window is. With --frames
// the window is the whole stream, from the first request to the last reply; after it every connection is half-closed, and the
// server must close its half without another byte.
//
// It prints one JSON line. A wrong byte, a byte too many, a connection lost or a reply that does not come ends it with exit
// code 1.

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr size_t kReadBytes = 256 * 1024;
constexpr int kEventsPerWait = 256;
constexpr size_t kGeneratedMessages = 64;  // Enough that neighbours on the ring differ, few enough to stay in the cache.
constexpr uint64_t kNanosecondsPerSecond = 1'000'000'000;
constexpr uint64_t kDrainLimit = 10 * kNanosecondsPerSecond;  // A reply later than this counts as lost.
constexpr size_t kShownBytes = 160;                           // How much of a wrong reply a message quotes.
constexpr size_t kConnectionStride = 7919;                    // A prime: the starting places spread over any ring.

[[noreturn]] void fail(const std::string& message) {
  std::fprintf(stderr, "loadgen: %s\n", message.c_str());
  std::exit(1);
}

[[noreturn]] void fail_errno(const std::string& what) { fail(what + ": " + std::strerror(errno)); }

uint64_t now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * kNanosecondsPerSecond + static_cast<uint64_t>(time.tv_nsec);
}

// ---- options ------------------------------------------------------------------------------------------------------------------

struct Options {
  std::vector<std::string> to;
  size_t connections = 1;
  size_t in_flight = 1;
  double seconds = 1;
  double warmup = 0.2;
  std::string mode = "echo";
  size_t payload = 64;
  std::string data;
  std::string expect;
  std::vector<int> pids;
  size_t idle = 0;
  uint64_t frames = 0;
};

std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

Options parse_options(int argc, char** argv) {
  std::map<std::string, std::string> given;
  if (argc % 2 == 0) fail("each option takes one value");
  for (int i = 1; i < argc; i += 2) given[argv[i]] = argv[i + 1];
  Options options;
  for (const auto& [name, value] : given) {
    if (name == "--to")
      options.to = parts_of(value);
    else if (name == "--connections")
      options.connections = std::stoul(value);
    else if (name == "--in-flight")
      options.in_flight = std::stoul(value);
    else if (name == "--seconds")
      options.seconds = std::stod(value);
    else if (name == "--warmup")
      options.warmup = std::stod(value);
    else if (name == "--mode")
      options.mode = value;
    else if (name == "--payload")
      options.payload = std::stoul(value);
    else if (name == "--data")
      options.data = value;
    else if (name == "--expect")
      options.expect = value;
    else if (name == "--idle")
      options.idle = std::stoul(value);
    else if (name == "--frames")
      options.frames = std::stoull(value);
    else if (name == "--pids")
      for (const std::string& pid : parts_of(value)) options.pids.push_back(std::stoi(pid));
    else
      fail("unknown option " + name);
  }
  if (options.to.empty()) fail("--to is missing");
  if (options.connections == 0 || options.in_flight == 0) fail("--connections and --in-flight start at 1");
  if (options.mode != "echo" && options.mode != "lines" && options.mode != "json") fail("unknown mode " + options.mode);
  if (options.mode == "json" && (options.data.empty() || options.expect.empty())) fail("mode json needs --data and --expect");
  if (options.payload < 2) fail("--payload starts at 2 bytes");
  return options;
}

// ---- what is sent and what must come back -------------------------------------------------------------------------------------

// Messages laid end to end, read round and round.
struct Ring {
  std::string bytes;
  std::vector<size_t> starts;  // One more than there are messages: the last is the end.

  size_t size() const { return starts.size() - 1; }
  std::string_view message(size_t index) const {
    return std::string_view(bytes).substr(starts[index], starts[index + 1] - starts[index]);
  }
  void add(std::string_view message) {
    if (starts.empty()) starts.push_back(0);
    bytes.append(message);
    starts.push_back(bytes.size());
  }
};

Ring generate(size_t payload, bool lines) {
  Ring ring;
  uint32_t state = 0x9e3779b9;
  for (size_t i = 0; i < kGeneratedMessages; i++) {
    std::string message;
    for (size_t j = 0; j < payload; j++) {
      state ^= state << 13, state ^= state >> 17, state ^= state << 5;
      message.push_back(static_cast<char>('!' + state % 90));
    }
    if (lines) message.back() = '\n';
    ring.add(message);
  }
  return ring;
}

Ring read_lines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail_errno(path);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  Ring ring;
  for (size_t at = 0; at < text.size();) {
    size_t newline = text.find('\n', at);
    if (newline == std::string::npos) fail(path + ": the last line has no newline");
    ring.add(std::string_view(text).substr(at, newline + 1 - at));
    at = newline + 1;
  }
  if (ring.starts.empty()) fail(path + ": no lines");
  return ring;
}

struct Script {
  Ring requests;
  Ring replies;
};

Script make_script(const Options& options) {
  if (options.mode != "json") {
    Ring ring = generate(options.payload, options.mode == "lines");
    return {ring, ring};
  }
  Script script{read_lines(options.data), read_lines(options.expect)};
  if (script.requests.size() != script.replies.size())
    fail(options.data + " has " + std::to_string(script.requests.size()) + " lines, " + options.expect + " has " +
         std::to_string(script.replies.size()));
  return script;
}

// ---- latency ------------------------------------------------------------------------------------------------------------------

// Log-linear: 64 equal buckets in each power of two, so a value is known to better than 1.6 %.
class Histogram {
 public:
  void record(uint64_t nanoseconds) {
    counts_[bucket(nanoseconds)]++;
    total_++;
  }

  double percentile_us(double fraction) const {
    uint64_t rank = static_cast<uint64_t>(fraction * static_cast<double>(total_));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size(); i++) {
      seen += counts_[i];
      if (seen > rank) return middle(i) / 1000.0;
    }
    return 0;
  }

 private:
  static constexpr unsigned kSubBits = 6;
  static constexpr uint64_t kSub = 1u << kSubBits;

  static size_t bucket(uint64_t value) {
    if (value < kSub) return value;
    unsigned shift = static_cast<unsigned>(std::bit_width(value)) - kSubBits - 1;
    return (static_cast<size_t>(shift) << kSubBits) + (value >> shift);
  }

  static double middle(size_t index) {
    if (index < kSub) return static_cast<double>(index);
    unsigned shift = static_cast<unsigned>(index >> kSubBits) - 1;
    uint64_t low = (index - (static_cast<size_t>(shift) << kSubBits)) << shift;
    return static_cast<double>(low) + static_cast<double>(1ull << shift) / 2;
  }

  std::vector<uint64_t> counts_ = std::vector<uint64_t>(65 << kSubBits);
  uint64_t total_ = 0;
};

// ---- the server's CPU time ----------------------------------------------------------------------------------------------------

// User and system time of a process with all its threads, from the scheduler's own nanoseconds where the kernel tells them
// (/proc/PID/stat counts in ticks of 10 ms, which is 1 % of a second). Threads that ended are missing there, so a server must not
// end threads while it is measured.
uint64_t scheduled_ns(int pid) {
  std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* directory = opendir(tasks.c_str());
  if (directory == nullptr) fail("the server process " + std::to_string(pid) + " is gone");
  uint64_t total = 0;
  while (dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    std::ifstream file(tasks + "/" + entry->d_name + "/schedstat");
    uint64_t ran = 0;
    if (file >> ran) total += ran;
  }
  closedir(directory);
  return total;
}

uint64_t ticks_ns(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) fail("the server process " + std::to_string(pid) + " is gone");
  unsigned long user = 0, system = 0;
  std::sscanf(text.c_str() + name_end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (user + system) * (kNanosecondsPerSecond / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)));
}

uint64_t cpu_ns(const std::vector<int>& pids) {
  uint64_t total = 0;
  for (int pid : pids) {
    uint64_t scheduled = scheduled_ns(pid);
    total += scheduled != 0 ? scheduled : ticks_ns(pid);
  }
  return total;
}

// ---- connections --------------------------------------------------------------------------------------------------------------

int connect_to_port(const std::string& port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_errno("socket");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(std::stoul(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail_errno("connect to port " + port);
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return fd;
}

int connect_to_path(const std::string& path) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_errno("socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) fail("a path too long for a Unix socket: " + path);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) fail_errno("connect to " + path);
  return fd;
}

const std::string& address_of(const Options& options, size_t connection) { return options.to[connection % options.to.size()]; }

int connect_to(const std::string& address) {
  int fd = address.front() == '/' ? connect_to_path(address) : connect_to_port(address);
  if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) fail_errno("fcntl");
  return fd;
}

struct Connection {
  int fd = -1;
  size_t number = 0;
  size_t start = 0;       // Its place in the ring.
  uint64_t allowed = 0;   // Requests it may have sent by now.
  uint64_t sent = 0;      // Requests sent whole.
  size_t sent_bytes = 0;  // Bytes sent of the next one.
  uint64_t answered = 0;  // Replies received whole.
  size_t answered_bytes = 0;
  bool waits_for_room = false;
  std::vector<uint64_t> asked_at;  // When each outstanding request was due; request i at i % in_flight.
};

std::string quoted(std::string_view bytes) {
  std::string text = "\"";
  for (unsigned char byte : bytes.substr(0, kShownBytes)) {
    if (byte == '\n')
      text += "\\n";
    else if (byte == '"' || byte == '\\')
      text += {'\\', static_cast<char>(byte)};
    else if (byte < ' ') {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", byte);
      text += code;
    } else
      text += static_cast<char>(byte);
  }
  return text + (bytes.size() > kShownBytes ? "\"…" : "\"");
}

class Load {
 public:
  Load(const Options& options, const Script& script) : options_(options), script_(script), buffer_(kReadBytes) {
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) fail_errno("epoll_create1");
    connections_.resize(options.connections);
    for (size_t i = 0; i < connections_.size(); i++) open(connections_[i], i);
  }

  void run() {
    start();
    uint64_t started = now();
    turn_until(started + static_cast<uint64_t>(options_.warmup * kNanosecondsPerSecond));
    measuring_ = true;
    uint64_t cpu_before = cpu_ns(options_.pids);
    uint64_t begin = now();
    turn_until(begin + static_cast<uint64_t>(options_.seconds * kNanosecondsPerSecond));
    uint64_t end = now();
    uint64_t cpu = cpu_ns(options_.pids) - cpu_before;
    measuring_ = false;
    drain();
    print(static_cast<double>(end - begin) / kNanosecondsPerSecond, cpu);
  }

  void stream() {
    measuring_ = true;
    uint64_t cpu_before = cpu_ns(options_.pids);
    uint64_t begin = now();
    start();
    while (requests_ < options_.frames) turn_with_progress();
    uint64_t end = now();
    uint64_t cpu = cpu_ns(options_.pids) - cpu_before;
    half_close();
    print(static_cast<double>(end - begin) / kNanosecondsPerSecond, cpu);
  }

 private:
  void start() {
    uint64_t time = now();
    for (Connection& connection : connections_) {
      connection.asked_at.resize(options_.in_flight, time);
      for (size_t i = 0; i < options_.in_flight; i++) allow(connection);
      send_allowed(connection);
    }
  }

  // One request more for this connection, unless the stream has all it needs.
  void allow(Connection& connection) {
    if (options_.frames != 0 && allowed_ == options_.frames) return;
    connection.allowed++;
    allowed_++;
  }

  void turn_with_progress() {
    uint64_t before = requests_;
    uint64_t deadline = now() + kDrainLimit;
    while (requests_ == before) {
      if (now() > deadline) fail(std::to_string(outstanding()) + " replies did not come" + first_outstanding());
      turn(100);
    }
  }

  std::string first_outstanding() const {
    for (const Connection& connection : connections_)
      if (connection.answered < connection.allowed) return "; the first: " + where(connection);
    return "";
  }

  void half_close() {
    for (Connection& connection : connections_)
      if (shutdown(connection.fd, SHUT_WR) < 0) fail_errno(where(connection) + ", shutdown");
    half_closed_ = true;
    uint64_t deadline = now() + kDrainLimit;
    while (ended_ < connections_.size()) {
      if (now() > deadline) fail(std::to_string(connections_.size() - ended_) + " connections were not closed by the server");
      turn(100);
    }
  }

  void open(Connection& connection, size_t number) {
    connection.fd = connect_to(address_of(options_, number));
    connection.number = number;
    connection.start = number * kConnectionStride % script_.requests.size();
    watch(connection, EPOLL_CTL_ADD, EPOLLIN);
  }

  void watch(Connection& connection, int operation, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.ptr = &connection;
    if (epoll_ctl(epoll_, operation, connection.fd, &event) < 0) fail_errno("epoll_ctl");
  }

  void turn_until(uint64_t deadline) {
    for (uint64_t time = now(); time < deadline; time = now()) turn(static_cast<int>((deadline - time) / 1'000'000) + 1);
  }

  void turn(int timeout_ms) {
    epoll_event events[kEventsPerWait];
    int ready = epoll_wait(epoll_, events, kEventsPerWait, timeout_ms);
    if (ready < 0 && errno != EINTR) fail_errno("epoll_wait");
    for (int i = 0; i < ready; i++) {
      Connection& connection = *static_cast<Connection*>(events[i].data.ptr);
      if (events[i].events & EPOLLOUT) send_allowed(connection);
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
    }
  }

  // No new requests; each one that was sent still has its reply checked.
  void drain() {
    draining_ = true;
    uint64_t deadline = now() + kDrainLimit;
    while (outstanding() != 0) {
      if (now() > deadline) fail(std::to_string(outstanding()) + " replies did not come" + first_outstanding());
      turn(100);
    }
  }

  uint64_t outstanding() const {
    uint64_t count = 0;
    for (const Connection& connection : connections_) count += connection.allowed - connection.answered;
    return count;
  }

  void send_allowed(Connection& connection) {
    const Ring& requests = script_.requests;
    while (connection.sent < connection.allowed) {
      // Neighbours in the ring are neighbours in memory: one piece up to the ring's end, a second one after it.
      size_t first = (connection.start + connection.sent) % requests.size();
      size_t count = connection.allowed - connection.sent;
      size_t upper = std::min(first + count, requests.size());
      size_t lower = std::min(first + count - upper, first);
      iovec pieces[2];
      char* base = const_cast<char*>(requests.bytes.data());
      pieces[0] = {base + requests.starts[first] + connection.sent_bytes,
                   requests.starts[upper] - requests.starts[first] - connection.sent_bytes};
      pieces[1] = {base, requests.starts[lower]};
      msghdr message{};
      message.msg_iov = pieces;
      message.msg_iovlen = lower == 0 ? 1 : 2;
      ssize_t taken = sendmsg(connection.fd, &message, MSG_NOSIGNAL);
      if (taken < 0) {
        if (errno != EAGAIN) fail_errno("connection " + std::to_string(connection.number) + ", send");
        if (!connection.waits_for_room) watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        connection.waits_for_room = true;
        return;
      }
      advance(connection, static_cast<size_t>(taken));
    }
    if (connection.waits_for_room) watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    connection.waits_for_room = false;
  }

  void advance(Connection& connection, size_t taken) {
    while (taken > 0) {
      size_t index = (connection.start + connection.sent) % script_.requests.size();
      size_t left = script_.requests.message(index).size() - connection.sent_bytes;
      if (taken < left) {
        connection.sent_bytes += taken;
        return;
      }
      taken -= left;
      connection.sent++;
      connection.sent_bytes = 0;
    }
  }

  void receive(Connection& connection) {
    ssize_t received = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (received < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      fail_errno("connection " + std::to_string(connection.number) + ", receive");
    }
    if (received == 0 && half_closed_) {
      watch(connection, EPOLL_CTL_DEL, 0);
      ended_++;
      return;
    }
    if (received == 0)
      fail("connection " + std::to_string(connection.number) + " closed by the server after " +
           std::to_string(connection.answered) + " replies, with " + std::to_string(connection.allowed - connection.answered) +
           " outstanding");
    check(connection, std::string_view(buffer_.data(), static_cast<size_t>(received)));
  }

  void check(Connection& connection, std::string_view got) {
    uint64_t time = now();
    while (!got.empty()) {
      if (connection.answered == connection.sent && !may_answer_partly(connection))
        fail(where(connection) + ": a reply without a request: " + quoted(got));
      std::string_view reply = script_.replies.message((connection.start + connection.answered) % script_.replies.size());
      std::string_view expected = reply.substr(connection.answered_bytes, got.size());
      if (memcmp(got.data(), expected.data(), expected.size()) != 0) fail_mismatch(connection, expected, got);
      got.remove_prefix(expected.size());
      connection.answered_bytes += expected.size();
      if (connection.answered_bytes < reply.size()) return;
      finish_reply(connection, time);
    }
    send_allowed(connection);
  }

  [[noreturn]] void fail_mismatch(const Connection& connection, std::string_view expected, std::string_view got) const {
    size_t wrong = static_cast<size_t>(std::mismatch(expected.begin(), expected.end(), got.begin()).first - expected.begin());
    fail(where(connection) + ", byte " + std::to_string(connection.answered_bytes + wrong) + ": expected " +
         quoted(expected.substr(wrong)) + ", got " + quoted(got.substr(wrong)));
  }

  // An echo may return the first bytes of a message before its last bytes are sent; a framed server may not.
  bool may_answer_partly(const Connection& connection) const {
    return options_.mode == "echo" && connection.answered_bytes < connection.sent_bytes;
  }

  void finish_reply(Connection& connection, uint64_t time) {
    uint64_t& asked_at = connection.asked_at[connection.answered % options_.in_flight];
    if (measuring_) {
      histogram_.record(time - asked_at);
      requests_++;
    }
    connection.answered++;
    connection.answered_bytes = 0;
    verified_++;
    if (draining_) return;
    allow(connection);
    asked_at = time;
  }

  std::string where(const Connection& connection) const {
    return "connection " + std::to_string(connection.number) + " to " + address_of(options_, connection.number) + ", reply " +
           std::to_string(connection.answered) + " (line " +
           std::to_string((connection.start + connection.answered) % script_.replies.size() + 1) + " of the ring)";
  }

  void print(double seconds, uint64_t cpu) const {
    std::printf(
        "{\"requests\":%lu,\"seconds\":%.6f,\"throughput\":%.1f,\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,"
        "\"serverCpuUs\":%.1f,\"verified\":%lu,\"errors\":0}\n",
        requests_, seconds, static_cast<double>(requests_) / seconds, histogram_.percentile_us(0.5),
        histogram_.percentile_us(0.99), histogram_.percentile_us(0.999), static_cast<double>(cpu) / 1000.0, verified_);
  }

  const Options& options_;
  const Script& script_;
  int epoll_;
  std::vector<Connection> connections_;
  std::vector<char> buffer_;
  Histogram histogram_;
  uint64_t requests_ = 0;
  uint64_t verified_ = 0;
  uint64_t allowed_ = 0;  // Requests of all connections.
  size_t ended_ = 0;      // Connections closed by the server after the stream.
  bool half_closed_ = false;
  bool measuring_ = false;
  bool draining_ = false;
};

void hold_idle(const Options& options) {
  std::vector<int> fds;
  for (size_t i = 0; i < options.idle; i++) fds.push_back(connect_to(address_of(options, i)));
  std::printf("{\"connected\":%zu}\n", fds.size());
  std::fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
}

}  // namespace

int main(int argc, char** argv) {
  Options options = parse_options(argc, argv);
  if (options.idle > 0) {
    hold_idle(options);
    return 0;
  }
  Script script = make_script(options);
  Load load(options, script);
  if (options.frames > 0)
    load.stream();
  else
    load.run();
}
