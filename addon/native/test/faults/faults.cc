// A library for LD_PRELOAD that makes system calls fail or do less than they could, as the rules of a control page say. Only
// calls that come from the addon: libuv and the rest of Node see the kernel as it is, but for the wall clock, which is one for
// the whole process. For tests, never shipped.
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "rules.h"

namespace mr::faults {

namespace {

// A test that injects nothing would pass for the wrong reason.
[[noreturn]] void giveUp(const char* what) {
  std::fprintf(stderr, "faults: %s: %s\n", what, std::strerror(errno));
  std::abort();
}

Rule* mapRules() {
  const char* path = std::getenv(kFileVariable);
  if (!path) giveUp("no control page is named");
  const int fd = ::open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) giveUp(path);
  void* page = ::mmap(nullptr, sizeof(Rule) * kRules, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (page == MAP_FAILED) giveUp(path);
  ::close(fd);
  return static_cast<Rule*>(page);
}

Rule* rules() {
  static Rule* const mapped = mapRules();
  return mapped;
}

// The development build and the prebuilds have different names, but both name the package and are the only ones that do.
bool isAddonFile(const char* path) {
  const char* slash = std::strrchr(path, '/');
  const char* name = slash ? slash + 1 : path;
  const size_t length = std::strlen(name);
  return std::strstr(name, "multireactor") && length > 5 && std::strcmp(name + length - 5, ".node") == 0;
}

struct Range {
  uintptr_t from = 0, to = 0;
};

int findAddon(dl_phdr_info* info, size_t, void* result) {
  if (!info->dlpi_name || !isAddonFile(info->dlpi_name)) return 0;
  Range& range = *static_cast<Range*>(result);
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type != PT_LOAD) continue;
    const uintptr_t from = info->dlpi_addr + part.p_vaddr;
    range.from = range.to == 0 ? from : std::min(range.from, from);
    range.to = std::max(range.to, from + part.p_memsz);
  }
  return 1;
}

// Not dladdr: it goes through all symbols of Node for each call that Node makes.
bool isAddon(const void* caller) {
  static std::atomic<uintptr_t> from{0}, to{0};
  const auto address = reinterpret_cast<uintptr_t>(caller);
  if (to.load() == 0) {
    // Looked for until it is loaded; it is never unloaded (-z nodelete).
    Range range;
    if (dl_iterate_phdr(findAddon, &range) == 0) return false;
    from.store(range.from);
    to.store(range.to);
  }
  return address >= from.load() && address < to.load();
}

std::atomic<bool> wasAbrupt{false};  // some listening socket has been shut down

// Several threads may want the last one.
bool takeOne(std::atomic<int64_t>& left) {
  int64_t now = left.load();
  while (now > 0) {
    if (left.compare_exchange_weak(now, now - 1)) return true;
  }
  return false;
}

bool applies(Rule& rule, const char* call) {
  const int64_t every = rule.every.load(std::memory_order_acquire);
  if (every == 0 || rule.left.load() <= 0 || std::strcmp(rule.call, call) != 0) return false;
  // The last of each group, so that the first call of all succeeds.
  return rule.asked.fetch_add(1) % every == every - 1;
}

// One intercepted call: its outcome, and the counts of outcomes.
class Fault {
 public:
  Fault(const char* call, const void* caller) {
    if (!isAddon(caller)) return;
    for (Rule* rule = rules(); rule != rules() + kRules; ++rule) {
      if (!applies(*rule, call)) continue;
      if (rule->error == 0) {
        if (!limit_ || rule->atMost < limit_->atMost) limit_ = rule;
      } else if (takeOne(rule->left)) {
        rule->happened.fetch_add(1);
        error_ = static_cast<int>(rule->error);
        return;
      }
    }
  }

  // True: the call returns -1, and errno is set.
  bool fails() const {
    if (error_ == 0) return false;
    errno = error_;
    return true;
  }

  size_t atMost(size_t wanted) {
    if (!limit_ || wanted <= static_cast<size_t>(limit_->atMost) || !takeOne(limit_->left)) return wanted;
    cut_ = true;
    return static_cast<size_t>(limit_->atMost);
  }

  // A call that found no more than it was allowed would have been as short without us.
  template <typename T>
  T done(T result) {
    if (cut_ && result == static_cast<T>(limit_->atMost)) limit_->happened.fetch_add(1);
    return result;
  }

 private:
  Rule* limit_ = nullptr;
  int error_ = 0;
  bool cut_ = false;
};

// The same call in the next library: libc, or a sanitizer before it.
template <typename Call>
Call* next(const char* name) {
  void* found = dlsym(RTLD_NEXT, name);
  if (!found) giveUp(name);
  return reinterpret_cast<Call*>(found);
}

// Seconds by which the wall clock is wrong, for the whole process.
time_t wallClockSetBackBy() {
  for (Rule* rule = rules(); rule != rules() + kRules; ++rule) {
    if (!applies(*rule, "wall_clock") || !takeOne(rule->left)) continue;
    rule->happened.fetch_add(1);
    return static_cast<time_t>(rule->atMost);
  }
  return 0;
}

constexpr int kMostParts = 1024;  // the kernel's limit for one sendmsg

// The parts, cut after `bytes`.
size_t firstParts(const msghdr& message, size_t bytes, iovec* parts) {
  size_t count = 0;
  for (; count < message.msg_iovlen && bytes > 0; ++count) {
    parts[count] = message.msg_iov[count];
    parts[count].iov_len = std::min(parts[count].iov_len, bytes);
    bytes -= parts[count].iov_len;
  }
  return count;
}

size_t sizeOf(const msghdr& message) {
  size_t bytes = 0;
  for (size_t i = 0; i < message.msg_iovlen; ++i) bytes += message.msg_iov[i].iov_len;
  return bytes;
}

}  // namespace

}  // namespace mr::faults

using mr::faults::Fault;
using mr::faults::next;

// The caller's address has to be taken in the intercepting function itself.
#define MR_FAULT(name) Fault fault(name, __builtin_return_address(0))
#define MR_NEXT(name) static const auto real = next<decltype(name)>(#name)

extern "C" {

int socket(int family, int type, int protocol) {
  MR_NEXT(socket);
  MR_FAULT("socket");
  return fault.fails() ? -1 : real(family, type, protocol);
}

int setsockopt(int fd, int level, int option, const void* value, socklen_t size) {
  MR_NEXT(setsockopt);
  const bool steers = level == SOL_SOCKET && option == SO_ATTACH_REUSEPORT_CBPF;
  if (steers) {
    // As a server without any protection: the socket goes, with the connections queued on it.
    MR_FAULT("abrupt");
    if (fault.fails()) {
      mr::faults::wasAbrupt.store(true);
      const int reason = errno;
      ::shutdown(fd, SHUT_RD);
      errno = reason;
      return -1;
    }
  }
  MR_FAULT(steers ? "steer" : "setsockopt");
  return fault.fails() ? -1 : real(fd, level, option, value, size);
}

int clock_gettime(clockid_t clock, timespec* now) {
  MR_NEXT(clock_gettime);
  const int result = real(clock, now);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec -= mr::faults::wallClockSetBackBy();
  return result;
}

int gettimeofday(timeval* now, void* zone) {
  MR_NEXT(gettimeofday);
  const int result = real(now, zone);
  now->tv_sec -= mr::faults::wallClockSetBackBy();
  return result;
}

// As the addon calls it with the flags that Node gives. Only for received bytes: slabs, and frames that need one of their own.
void* mmap64(void* where, size_t size, int protection, int flags, int fd, off64_t offset) {
  const auto call = [&] { return reinterpret_cast<void*>(::syscall(SYS_mmap, where, size, protection, flags, fd, offset)); };
  if (size < (128 << 10)) return call();
  MR_FAULT("mmap");
  return fault.fails() ? MAP_FAILED : call();
}

int eventfd(unsigned int count, int flags) {
  MR_NEXT(eventfd);
  MR_FAULT("eventfd");
  return fault.fails() ? -1 : real(count, flags);
}

int epoll_create1(int flags) {
  MR_NEXT(epoll_create1);
  MR_FAULT("epoll_create1");
  return fault.fails() ? -1 : real(flags);
}

int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) {
  MR_NEXT(epoll_ctl);
  MR_FAULT(operation == EPOLL_CTL_ADD ? "epoll_add" : operation == EPOLL_CTL_MOD ? "epoll_mod" : "epoll_del");
  return fault.fails() ? -1 : real(epoll, operation, fd, event);
}

int epoll_wait(int epoll, epoll_event* events, int most, int timeout) {
  MR_NEXT(epoll_wait);
  MR_FAULT("epoll_wait");
  return fault.fails() ? -1 : fault.done(real(epoll, events, static_cast<int>(fault.atMost(static_cast<size_t>(most))), timeout));
}

int accept4(int listener, sockaddr* address, socklen_t* length, int flags) {
  MR_NEXT(accept4);
  MR_FAULT("accept4");
  if (fault.fails()) return -1;
  const int fd = real(listener, address, length, flags);
  // One that was shut down stays readable until it is closed, and has no connection.
  if (fd < 0 && errno == EINVAL && mr::faults::wasAbrupt.load()) errno = EAGAIN;
  return fd;
}

ssize_t recv(int fd, void* data, size_t size, int flags) {
  MR_NEXT(recv);
  MR_FAULT("recv");
  return fault.fails() ? -1 : fault.done(real(fd, data, fault.atMost(size), flags));
}

ssize_t send(int fd, const void* data, size_t size, int flags) {
  MR_NEXT(send);
  MR_FAULT("send");
  return fault.fails() ? -1 : fault.done(real(fd, data, fault.atMost(size), flags));
}

// The addon's way around the cancellation points of recv() and send() (net/socket.cc).
long syscall(long number, ...) {
  MR_NEXT(syscall);
  va_list list;
  va_start(list, number);
  long given[6];
  for (long& argument : given) argument = va_arg(list, long);
  va_end(list);
  const auto call = [&](size_t size) {
    return real(number, given[0], given[1], static_cast<long>(size), given[3], given[4], given[5]);
  };
  const auto size = static_cast<size_t>(given[2]);
  if (number != SYS_recvfrom && number != SYS_sendto) return call(size);
  MR_FAULT(number == SYS_recvfrom ? "recv" : "send");
  return fault.fails() ? -1 : fault.done(call(fault.atMost(size)));
}

ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  MR_NEXT(sendmsg);
  MR_FAULT("sendmsg");
  if (fault.fails()) return -1;
  const size_t size = mr::faults::sizeOf(*message);
  const size_t atMost = fault.atMost(size);
  if (atMost == size) return real(fd, message, flags);
  iovec parts[mr::faults::kMostParts];
  msghdr shorter = *message;
  shorter.msg_iovlen = mr::faults::firstParts(*message, atMost, parts);
  shorter.msg_iov = parts;
  return fault.done(real(fd, &shorter, flags));
}

// Wakers: the addon reads and writes eventfds, and nothing else, this way.
ssize_t read(int fd, void* data, size_t size) {
  MR_NEXT(read);
  MR_FAULT("read");
  return fault.fails() ? -1 : real(fd, data, size);
}

ssize_t write(int fd, const void* data, size_t size) {
  MR_NEXT(write);
  MR_FAULT("write");
  return fault.fails() ? -1 : real(fd, data, size);
}

}  // extern "C"
