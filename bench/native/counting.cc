// Preloaded into a server: counts the system calls that a message takes and the allocations that it makes, without stopping the
// program at each of them as a tracer does. The counts lie in the file that BENCH_COUNTS names, which is mapped by every process
// of the server and read by the bench. It sees calls through the C library, as those of Node, libuv and the addon are.
//
// The order of the counters is that of `counterNames` in src/counts.ts.

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdint>
#include <cstdlib>

// The allocator under its own names: dlsym itself allocates.
extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

enum Counter : unsigned {
  kEpollWait,
  kEpollCtl,
  kReceive,
  kSend,
  kRead,
  kWrite,
  kAccept,
  kShutdown,
  kClose,
  kAllocate,
  kCounters
};

std::atomic<uint64_t> none[kCounters];  // until the file is mapped, and where none is named
std::atomic<uint64_t>* counters = none;

void count(Counter which) { counters[which].fetch_add(1, std::memory_order_relaxed); }

__attribute__((constructor)) void map_counters() {
  const char* path = std::getenv("BENCH_COUNTS");
  if (path == nullptr) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void* memory = mmap(nullptr, sizeof none, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory != MAP_FAILED) counters = static_cast<std::atomic<uint64_t>*>(memory);
  close(fd);
}

template <typename Function>
Function next(const char* name) {
  return reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
}

}  // namespace

#define COUNTED(counter, result, name, parameters, arguments)   \
  extern "C" result name parameters {                           \
    static const auto real = next<result(*) parameters>(#name); \
    count(counter);                                             \
    return real arguments;                                      \
  }

COUNTED(kEpollWait, int, epoll_wait, (int epoll, epoll_event* events, int most, int timeout), (epoll, events, most, timeout))
COUNTED(kEpollWait, int, epoll_pwait, (int epoll, epoll_event* events, int most, int timeout, const sigset_t* mask),
        (epoll, events, most, timeout, mask))
COUNTED(kEpollCtl, int, epoll_ctl, (int epoll, int operation, int fd, epoll_event* event), (epoll, operation, fd, event))
COUNTED(kReceive, ssize_t, recv, (int fd, void* buffer, size_t length, int flags), (fd, buffer, length, flags))
COUNTED(kReceive, ssize_t, recvmsg, (int fd, msghdr* message, int flags), (fd, message, flags))
COUNTED(kReceive, ssize_t, recvfrom, (int fd, void* buffer, size_t length, int flags, sockaddr* from, socklen_t* size),
        (fd, buffer, length, flags, from, size))
COUNTED(kSend, ssize_t, send, (int fd, const void* buffer, size_t length, int flags), (fd, buffer, length, flags))
COUNTED(kSend, ssize_t, sendmsg, (int fd, const msghdr* message, int flags), (fd, message, flags))
// The addon's way around the C library's receive and send (net/socket.cc).
extern "C" long syscall(long number, ...) {
  static const auto real = next<long (*)(long, ...)>("syscall");
  if (number == SYS_recvfrom) count(kReceive);
  if (number == SYS_sendto) count(kSend);
  va_list list;
  va_start(list, number);
  long arguments[6];
  for (long& argument : arguments) argument = va_arg(list, long);
  va_end(list);
  return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}
COUNTED(kRead, ssize_t, read, (int fd, void* buffer, size_t length), (fd, buffer, length))
COUNTED(kRead, ssize_t, readv, (int fd, const iovec* pieces, int count_), (fd, pieces, count_))
COUNTED(kWrite, ssize_t, write, (int fd, const void* buffer, size_t length), (fd, buffer, length))
COUNTED(kWrite, ssize_t, writev, (int fd, const iovec* pieces, int count_), (fd, pieces, count_))
COUNTED(kAccept, int, accept4, (int fd, sockaddr* address, socklen_t* length, int flags), (fd, address, length, flags))
COUNTED(kAccept, int, accept, (int fd, sockaddr* address, socklen_t* length), (fd, address, length))
COUNTED(kShutdown, int, shutdown, (int fd, int how), (fd, how))
COUNTED(kClose, int, close, (int fd), (fd))

extern "C" void* malloc(size_t size) {
  count(kAllocate);
  return __libc_malloc(size);
}
extern "C" void* calloc(size_t items, size_t size) {
  count(kAllocate);
  return __libc_calloc(items, size);
}
extern "C" void* realloc(void* memory, size_t size) {
  count(kAllocate);
  return __libc_realloc(memory, size);
}
extern "C" void* memalign(size_t alignment, size_t size) {
  count(kAllocate);
  return __libc_memalign(alignment, size);
}
extern "C" void* aligned_alloc(size_t alignment, size_t size) {
  count(kAllocate);
  return __libc_memalign(alignment, size);
}
extern "C" int posix_memalign(void** memory, size_t alignment, size_t size) {
  count(kAllocate);
  *memory = __libc_memalign(alignment, size);
  return *memory == nullptr ? 12 : 0;  // ENOMEM
}
