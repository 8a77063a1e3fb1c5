#include "net/socket.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <iterator>
#include <map>

namespace mr::sock {

namespace {

// The one place where EINTR disappears and -1 becomes an errno.
template <typename Call>
auto checked(Call&& call) -> Result<decltype(call())> {
  for (;;) {
    const auto value = call();
    if (value >= 0) return Result<decltype(call())>::success(value);
    if (errno != EINTR) return Result<decltype(call())>::failure(errno);
  }
}

Result<size_t> transferred(const Result<ssize_t>& result) {
  return result.ok() ? Result<size_t>::success(static_cast<size_t>(result.value)) : Result<size_t>::failure(result.error);
}

template <typename T>
Result<int> setOption(int fd, int level, int name, const T& value) {
  return checked([&] { return ::setsockopt(fd, level, name, &value, sizeof(value)); });
}

sockaddr* raw(Address& address) { return reinterpret_cast<sockaddr*>(&address.storage); }
const sockaddr* raw(const Address& address) { return reinterpret_cast<const sockaddr*>(&address.storage); }

Result<Fd> owned(const Result<int>& result) {
  return result.ok() ? Result<Fd>::success(Fd(result.value)) : Result<Fd>::failure(result.error);
}

// Drops the packets that would start a connection: only they carry SYN towards a listener. The last ACK of a handshake under
// way passes, and so does all that belongs to a connection, for accepted sockets inherit the filter.
Result<int> attachSynFilter(int fd) {
  constexpr uint32_t kFlagsOffset = 13;  // the filter of a TCP socket sees the packet from the TCP header on
  constexpr uint32_t kSyn = 0x02;
  constexpr uint32_t kDrop = 0, kPass = 0xffffffff;
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlagsOffset),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kSyn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, kDrop),
      BPF_STMT(BPF_RET | BPF_K, kPass),
  };
  const sock_fprog program{static_cast<unsigned short>(std::size(code)), code};
  return setOption(fd, SOL_SOCKET, SO_ATTACH_FILTER, program);
}

Result<int> intOption(int fd, int name) {
  int value = 0;
  socklen_t length = sizeof(value);
  const auto result = checked([&] { return ::getsockopt(fd, SOL_SOCKET, name, &value, &length); });
  return result.ok() ? Result<int>::success(value) : result;
}

}  // namespace

Result<Fd> create(int family) {
  return owned(checked([&] { return ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }));
}

Result<Fd> createDiagnosis() {
  return owned(checked([&] { return ::socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, NETLINK_SOCK_DIAG); }));
}

Result<Fd> bindStream(const Address& address, const ListenOptions& options) {
  Result<Fd> made = create(address.family());
  if (!made.ok()) return made;
  const int fd = made.value.get();
  Result<int> step = Result<int>::success(0);
  // Without SO_REUSEADDR the connections of the last run, in TIME_WAIT, would keep the port for a minute.
  if (!address.isUnix()) step = setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (step.ok() && options.reusePort && !address.isUnix()) step = setOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
  if (step.ok() && address.family() == AF_INET6) step = setOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6Only ? 1 : 0);
  if (step.ok()) step = checked([&] { return ::bind(fd, raw(address), address.length); });
  return step.ok() ? std::move(made) : Result<Fd>::failure(step.error);
}

Result<int> listen(int fd, int backlog) {
  return checked([&] { return ::listen(fd, backlog); });
}

Result<Accepted> accept(int fd) {
  Accepted accepted;
  accepted.peer.length = sizeof(accepted.peer.storage);
  const auto result =
      checked([&] { return ::accept4(fd, raw(accepted.peer), &accepted.peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC); });
  if (!result.ok()) return Result<Accepted>::failure(result.error);
  accepted.fd = Fd(result.value);
  return Result<Accepted>::success(std::move(accepted));
}

Result<Fd> connect(const Address& address, const Address* local) {
  Result<Fd> made = create(address.family());
  if (!made.ok()) return made;
  if (local) {
    const int fd = made.value.get();
    // Without a port of its own, the kernel chooses one at connect(), where it may serve several destinations at once; a given
    // one may still be in TIME_WAIT towards some other destination.
    (void)(local->port() == 0 ? setOption(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                              : setOption(fd, SOL_SOCKET, SO_REUSEADDR, 1));
    const auto bound = checked([&] { return ::bind(fd, raw(*local), local->length); });
    if (!bound.ok()) return Result<Fd>::failure(bound.error);
  }
  // Not repeated on EINTR: the handshake goes on by itself, and a second call would only say so.
  const int result = ::connect(made.value.get(), raw(address), address.length);
  if (result == 0 || errno == EINPROGRESS || errno == EINTR) return made;
  return Result<Fd>::failure(errno);
}

// The C library's recv() and send() are cancellation points: in a process with threads each call pays for two atomic operations,
// so that a thread could be cancelled in it, which no thread here ever is. The sanitizers know those functions only.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
Result<size_t> receive(int fd, void* data, size_t size) {
  return transferred(checked([&] { return ::recv(fd, data, size, 0); }));
}

Result<size_t> send(int fd, const void* data, size_t size) {
  return transferred(checked([&] { return ::send(fd, data, size, MSG_NOSIGNAL); }));
}
#else
Result<size_t> receive(int fd, void* data, size_t size) {
  return transferred(checked([&] { return ssize_t{::syscall(SYS_recvfrom, fd, data, size, 0, nullptr, nullptr)}; }));
}

Result<size_t> send(int fd, const void* data, size_t size) {
  return transferred(checked([&] { return ssize_t{::syscall(SYS_sendto, fd, data, size, MSG_NOSIGNAL, nullptr, 0)}; }));
}
#endif

Result<size_t> sendVector(int fd, const iovec* parts, int count) {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<size_t>(count);
  return transferred(checked([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL); }));
}

Result<int> shutdownWrite(int fd) {
  return checked([&] { return ::shutdown(fd, SHUT_WR); });
}

Result<Address> localAddress(int fd) {
  Address address;
  address.length = sizeof(address.storage);
  const auto result = checked([&] { return ::getsockname(fd, raw(address), &address.length); });
  return result.ok() ? Result<Address>::success(address) : Result<Address>::failure(result.error);
}

bool isConnectedToItself(int fd, const Address& target) {
  if (target.isUnix()) return false;
  const Result<Address> near = localAddress(fd);
  if (near.ok() && near.value.port() != target.port()) return false;
  const Result<Address> far = peerAddress(fd);  // that of the target may stand for another one: 0.0.0.0
  return near.ok() && far.ok() && !near.value.isUnix() && near.value.length == far.value.length &&
         near.value.port() == far.value.port() && near.value.host() == far.value.host();
}

Result<Address> peerAddress(int fd) {
  Address address;
  address.length = sizeof(address.storage);
  const auto result = checked([&] { return ::getpeername(fd, raw(address), &address.length); });
  return result.ok() ? Result<Address>::success(address) : Result<Address>::failure(result.error);
}

Result<int> setNoDelay(int fd, bool on) { return setOption(fd, IPPROTO_TCP, TCP_NODELAY, on ? 1 : 0); }

Result<int> setKeepAlive(int fd, bool on, uint32_t initialDelaySeconds) {
  const Result<int> switched = setOption(fd, SOL_SOCKET, SO_KEEPALIVE, on ? 1 : 0);
  if (!switched.ok() || !on || initialDelaySeconds == 0) return switched;
  return setOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, static_cast<int>(initialDelaySeconds));
}

Result<int> setLingerReset(int fd) { return setOption(fd, SOL_SOCKET, SO_LINGER, linger{1, 0}); }

Result<size_t> peek(int fd) {
  uint8_t first;
  return transferred(checked([&] { return ::recv(fd, &first, 1, MSG_PEEK | MSG_DONTWAIT); }));
}

bool isReadable(int fd) {
  pollfd asked{fd, POLLIN, 0};
  const Result<int> answer = checked([&] { return ::poll(&asked, 1, 0); });
  return answer.ok() && answer.value != 0;
}

Result<int> pendingError(int fd) {
  int error = 0;
  socklen_t length = sizeof(error);
  const auto result = checked([&] { return ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length); });
  return result.ok() ? Result<int>::success(error) : result;
}

namespace {

using Program = std::vector<sock_filter>;

constexpr uint32_t kCpu = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_CPU);
constexpr uint32_t kRandom = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_RANDOM);
constexpr size_t kMostBehindJump = 255;  // a jump's length is a byte

void randomOf(Program& program, uint32_t count) {
  program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kRandom));
  program.push_back(BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, count));
}

// One of these sockets.
Program anyOf(const std::vector<uint32_t>& sockets) {
  Program program;
  if (sockets.size() > 1) randomOf(program, static_cast<uint32_t>(sockets.size()));
  for (uint32_t i = 0; i + 1 < sockets.size(); ++i) {
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, i, 0, 1));
    program.push_back(BPF_STMT(BPF_RET | BPF_K, sockets[i]));
  }
  program.push_back(BPF_STMT(BPF_RET | BPF_K, sockets.back()));
  return program;
}

}  // namespace

Result<int> steer(int fd, uint32_t count, std::span<const int> cpus) {
  std::map<int, std::vector<uint32_t>> socketsOf;
  for (uint32_t i = 0; i < count && i < cpus.size(); ++i) socketsOf[cpus[i]].push_back(i);
  Program program;
  if (!socketsOf.empty()) program.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kCpu));
  for (const auto& [cpu, sockets] : socketsOf) {
    const Program found = anyOf(sockets);
    if (found.size() > kMostBehindJump) return Result<int>::failure(E2BIG);
    program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(cpu), 0, static_cast<uint8_t>(found.size())));
    program.insert(program.end(), found.begin(), found.end());
  }
  randomOf(program, count);
  program.push_back(BPF_STMT(BPF_RET | BPF_A, 0));
  if (program.size() > BPF_MAXINSNS) return Result<int>::failure(E2BIG);
  const sock_fprog attached{static_cast<unsigned short>(program.size()), program.data()};
  return setOption(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, attached);
}

Result<int> refuseNewConnections(int fd) {
  const Result<Address> local = localAddress(fd);
  if (!local.ok()) return Result<int>::failure(local.error);
  // A Unix socket knows no packets, but its receiving side can be closed alone: connect() fails, the queue stays.
  if (local.value.isUnix()) return checked([&] { return ::shutdown(fd, SHUT_RD); });
  return attachSynFilter(fd);
}

Result<int> stopSteering(int fd) { return setOption(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, 0); }

Result<int> checkListening(int fd) {
  const Result<int> type = intOption(fd, SO_TYPE);
  if (!type.ok()) return type;
  if (type.value != SOCK_STREAM) return Result<int>::failure(EPROTOTYPE);
  const Result<int> family = intOption(fd, SO_DOMAIN);
  if (!family.ok()) return family;
  if (family.value != AF_INET && family.value != AF_INET6 && family.value != AF_UNIX) return Result<int>::failure(EAFNOSUPPORT);
  const Result<int> listening = intOption(fd, SO_ACCEPTCONN);
  if (!listening.ok()) return listening;
  return listening.value != 0 ? Result<int>::success(0) : Result<int>::failure(EINVAL);
}

Result<bool> sharesPort(int fd) {
  const Result<int> on = intOption(fd, SO_REUSEPORT);
  return on.ok() ? Result<bool>::success(on.value != 0) : Result<bool>::failure(on.error);
}

Result<int> makeOurs(int fd) {
  const Result<int> flags = checked([&] { return ::fcntl(fd, F_GETFL); });
  if (!flags.ok()) return flags;
  const Result<int> set = checked([&] { return ::fcntl(fd, F_SETFL, flags.value | O_NONBLOCK); });
  return set.ok() ? checked([&] { return ::fcntl(fd, F_SETFD, FD_CLOEXEC); }) : set;
}

Result<Fd> duplicate(int fd) {
  return owned(checked([&] { return ::fcntl(fd, F_DUPFD_CLOEXEC, 0); }));
}

bool isUnixSocket(int fd) {
  int domain = 0;
  socklen_t size = sizeof(domain);
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

Result<uint32_t> peerUser(int fd) {
  ucred credentials{};
  socklen_t length = sizeof(credentials);
  const auto result = checked([&] { return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length); });
  return result.ok() ? Result<uint32_t>::success(credentials.uid) : Result<uint32_t>::failure(result.error);
}

Result<size_t> sendWithDescriptors(int fd, std::span<const uint8_t> bytes, std::span<const int> descriptors) {
  if (descriptors.size() > kMaxPassed) return Result<size_t>::failure(EINVAL);
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassed * sizeof(int))] = {};
  iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(header), descriptors.data(), descriptors.size_bytes());
  }
  return transferred(checked([&] { return ::sendmsg(fd, &message, MSG_NOSIGNAL); }));
}

Result<size_t> receiveWithDescriptors(int fd, std::span<uint8_t> room, std::vector<Fd>* descriptors) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPassed * sizeof(int))];
  iovec part{room.data(), room.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const auto received = transferred(checked([&] { return ::recvmsg(fd, &message, MSG_CMSG_CLOEXEC); }));
  if (!received.ok()) return received;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int descriptor;
      std::memcpy(&descriptor, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      descriptors->emplace_back(descriptor);
    }
  }
  return message.msg_flags & MSG_CTRUNC ? Result<size_t>::failure(EMFILE) : received;
}

Result<bool> addressIsFree(const Address& address, const ListenOptions& options) {
  ListenOptions alone = options;
  alone.reusePort = false;  // the kernel then compares with every socket that listens there
  const Result<Fd> probe = bindStream(address, alone);
  if (probe.ok()) return Result<bool>::success(true);
  return probe.error == EADDRINUSE ? Result<bool>::success(false) : Result<bool>::failure(probe.error);
}

}  // namespace mr::sock
