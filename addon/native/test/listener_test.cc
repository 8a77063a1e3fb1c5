#include <fcntl.h>
#include <sys/fsuid.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>

#include "net/listener_group.h"
#include "net/start_guard.h"
#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

using Group = std::shared_ptr<ListenerGroup>;

Group opened(const Address& address, const ListenerOptions& options = {}) { return must(ListenerGroup::open(address, options)); }

int errorOf(const Address& address, const ListenerOptions& options = {}) { return ListenerGroup::open(address, options).error; }

bool hasIpv6() { return sock::bindStream(must(Address::inet("::1", 0)), {}).ok(); }

// Established, SYN sent, ... as the kernel sees the socket.
int tcpState(int fd) {
  tcp_info info{};
  socklen_t length = sizeof(info);
  CHECK_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length), 0);
  return info.tcpi_state;
}

// The reader got the byte, and no reset.
bool gotByte(int fd) {
  char byte = 0;
  return isReady(fd, POLLIN, kPatienceMs) && sock::receive(fd, &byte, 1).value == 1 && byte == '!';
}

std::vector<Fd> acceptAll(int listener) {
  std::vector<Fd> all;
  for (;;) {
    Result<sock::Accepted> next = sock::accept(listener);
    if (!next.ok()) {
      CHECK_EQ(next.error, EAGAIN);
      return all;
    }
    all.push_back(std::move(next.value.fd));
  }
}

// The remains of a killed server: a path without a listener.
void leaveStale(const std::string& path) { must(sock::bindStream(must(Address::unixPath(path)), {})); }

}  // namespace

TEST("opens one listening socket for each member, all on the port that the first one picked") {
  const Group group = opened(loopback(), {.members = 4});
  const uint16_t port = group->address().port();
  CHECK(port != 0);
  CHECK_EQ(group->members(), 4);
  std::vector<Fd> sockets;
  std::set<uint64_t> inodes;
  for (int i = 0; i < 4; ++i) {
    sockets.push_back(group->take(i));
    CHECK_EQ(must(sock::localAddress(sockets.back().get())).port(), port);
    inodes.insert(inodeOf(sockets.back().get()));
  }
  CHECK_EQ(inodes.size(), 4u);
  CHECK(inodesInState(port, TCP_LISTEN) == inodes);
}

TEST("spreads connections over all members") {
  const Group group = opened(loopback(), {.members = 2});
  const Fd a = group->take(0), b = group->take(1);
  std::vector<Fd> connections;
  for (int i = 0; i < 64; ++i) connections.push_back(connected(group->address()));
  size_t onA = 0, onB = 0;
  CHECK(becomes([&] {
    onA += acceptAll(a.get()).size();
    onB += acceptAll(b.get()).size();
    return onA + onB == 64;
  }));
  CHECK(onA > 0 && onB > 0);
}

TEST("fails to start on a port that another server has, whatever the port was asked as") {
  const Group first = opened(loopback(), {.members = 2});
  CHECK_EQ(errorOf(first->address()), EADDRINUSE);
  CHECK_EQ(errorOf(first->address(), {.members = 2}), EADDRINUSE);
}

TEST("fails to start beside a wildcard, and a wildcard beside it") {
  const Group wildcard = opened(must(Address::inet("0.0.0.0", 0)));
  CHECK_EQ(errorOf(loopback(wildcard->address().port())), EADDRINUSE);
  const Group single = opened(loopback());
  CHECK_EQ(errorOf(must(Address::inet("0.0.0.0", single->address().port()))), EADDRINUSE);
}

TEST("sees a foreign listener that would share the port") {
  const Fd foreign = must(sock::bindStream(loopback(), {.reusePort = true}));
  must(sock::listen(foreign.get(), 16));
  CHECK_EQ(errorOf(must(sock::localAddress(foreign.get()))), EADDRINUSE);
}

TEST("sees a server that holds the port and does not listen yet") {
  const Fd bound = must(sock::bindStream(loopback(), {.reusePort = true}));
  const Address address = must(sock::localAddress(bound.get()));
  const StartGuard starting = must(StartGuard::take(address));
  CHECK(must(sock::addressIsFree(address, {})));  // the probe alone would not
  CHECK_EQ(errorOf(address), EADDRINUSE);
}

namespace {

// A name bound by another user. Needs root; the kernel takes the user of a socket from the thread that makes it.
Fd foreignName(const Address& address) {
  const std::string name = std::string(1, '\0') + "multireactor:4:" + address.host() + ':' + std::to_string(address.port());
  ::setfsuid(65534);
  Fd squatter = must(sock::bindStream(must(Address::unixPath(name)), {}));
  ::setfsuid(::geteuid());
  return squatter;
}

bool mayBeOthers() {
  if (::geteuid() == 0) return true;
  std::puts("  not tried: only root can be another user");
  return false;
}

Address freePort() { return opened(loopback())->address(); }

}  // namespace

TEST("starts although another user holds the name of its guard, and a second server of its own user does not") {
  if (!mayBeOthers()) return;
  const Address address = freePort();
  Fd squatter = foreignName(address);
  const Group server = opened(address);
  CHECK_EQ(errorOf(address), EADDRINUSE);
  // The guard alone, without the probe that finds a listener. Also when the name is free again.
  CHECK_EQ(StartGuard::take(address).error, EADDRINUSE);
  squatter.reset();
  CHECK_EQ(StartGuard::take(address).error, EADDRINUSE);
}

TEST("does not take a name that begins like its own for its own") {
  if (!mayBeOthers()) return;
  const Address address = freePort();
  const std::string name = std::string(1, '\0') + "multireactor:4:" + address.host() + ':' + std::to_string(address.port());
  const Fd other = must(sock::bindStream(must(Address::unixPath(name + "0")), {}));
  CHECK_EQ(errorOf(address), 0);
}

TEST("lets one of the servers start that find the name of their guard taken by another user") {
  if (!mayBeOthers()) return;
  const Address address = freePort();
  const Fd squatter = foreignName(address);
  for (int round = 0; round < 20; ++round) {
    std::vector<Result<StartGuard>> results(4);
    std::vector<std::thread> threads;
    for (Result<StartGuard>& result : results) threads.emplace_back([&] { result = StartGuard::take(address); });
    for (std::thread& thread : threads) thread.join();
    // None may win where two meet at the same instant. Never two.
    const auto started = std::count_if(results.begin(), results.end(), [](const auto& result) { return result.ok(); });
    CHECK(started <= 1);
  }
}

TEST("shares a port on purpose") {
  const Group first = opened(loopback(), {.members = 2});
  const Group second = opened(first->address(), {.members = 2, .shared = true});
  CHECK_EQ(second->address().port(), first->address().port());
  CHECK_EQ(inodesInState(first->address().port(), TCP_LISTEN).size(), 4u);
}

TEST("leaves the port when the group and its sockets are gone, and after a failed start") {
  Group first = opened(loopback());
  const Address address = first->address();
  Fd taken = first->take(0);
  CHECK_EQ(errorOf(address), EADDRINUSE);
  taken.reset();
  CHECK_EQ(errorOf(address), EADDRINUSE);  // the guard goes with the group
  first.reset();
  CHECK_EQ(opened(address)->address().port(), address.port());
  {
    const Fd foreign = must(sock::bindStream(address, {}));
    must(sock::listen(foreign.get(), 16));
    CHECK_EQ(errorOf(address, {.shared = true}), EADDRINUSE);  // it has no SO_REUSEPORT
    CHECK_EQ(errorOf(address), EADDRINUSE);
  }
  CHECK_EQ(errorOf(address), 0);
}

TEST("starts beside connections of the last server, open ones and those in TIME_WAIT") {
  Group first = opened(loopback());
  const Address address = first->address();
  Fd listener = first->take(0);
  const Fd farOpen = connected(address), nearOpen = accepted(listener.get());
  Fd far = connected(address), near = accepted(listener.get());
  near.reset();  // the side that closes first keeps the port in TIME_WAIT
  CHECK(isReady(far.get(), POLLIN, kPatienceMs));
  far.reset();
  listener.reset();
  first.reset();
  CHECK(becomes([&] { return !inodesInState(address.port(), TCP_TIME_WAIT).empty(); }));
  const Fd naive = must(sock::create(AF_INET));
  CHECK_EQ(::bind(naive.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length), -1);
  CHECK_EQ(errorOf(address, {.members = 2}), 0);
}

TEST("gives one of many servers that start at once the port") {
  const uint16_t port = opened(loopback())->address().port();
  std::atomic<int> ready{0};
  std::vector<Result<Group>> results(8);
  std::vector<std::thread> threads;
  for (Result<Group>& result : results) {
    threads.emplace_back([&ready, &result, address = loopback(port)] {
      ++ready;
      while (ready < 8) sched_yield();
      result = ListenerGroup::open(address, {.members = 2});
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(std::count_if(results.begin(), results.end(), [](const auto& result) { return result.ok(); }), 1);
  CHECK_EQ(std::count_if(results.begin(), results.end(), [](const auto& result) { return result.error == EADDRINUSE; }), 7);
}

TEST("gives every server that asks for any port its own") {
  std::vector<Group> groups;
  std::set<uint16_t> ports;
  for (int i = 0; i < 50; ++i) {
    groups.push_back(opened(loopback(), {.members = 2}));
    ports.insert(groups.back()->address().port());
  }
  CHECK_EQ(ports.size(), groups.size());
}

TEST("says what the kernel says about an address that is not here") {
  CHECK_EQ(errorOf(must(Address::inet("203.0.113.1", 7000))), EADDRNOTAVAIL);
  CHECK_EQ(errorOf(must(Address::inet("203.0.113.1", 0))), EADDRNOTAVAIL);
  CHECK_EQ(errorOf(loopback(), {.members = 0}), EINVAL);
}

TEST("listens on IPv6 for both families, or for IPv6 alone") {
  if (!hasIpv6()) return;
  const Address any = must(Address::inet("::", 0));
  const Group both = opened(any, {.members = 2});
  connected(must(Address::inet("::1", both->address().port())));
  connected(loopback(both->address().port()));
  CHECK_EQ(errorOf(must(Address::inet("0.0.0.0", both->address().port()))), EADDRINUSE);
  // The kernel's choice is free for IPv6. With IPv4 another program may have it: then the next one.
  std::vector<Group> chosen;
  int withIpv4 = EADDRINUSE;
  while (withIpv4 == EADDRINUSE && chosen.size() < 100) {
    chosen.push_back(opened(any, {.members = 2, .ipv6Only = true}));
    withIpv4 = errorOf(must(Address::inet("0.0.0.0", chosen.back()->address().port())));
  }
  CHECK_EQ(withIpv4, 0);
  const Group& alone = chosen.back();
  connected(must(Address::inet("::1", alone->address().port())));
  const Fd refused = must(sock::connect(loopback(alone->address().port())));
  CHECK(isReady(refused.get(), POLLOUT, kPatienceMs));
  CHECK_EQ(must(sock::pendingError(refused.get())), ECONNREFUSED);
}

// Refusing

TEST("refuses new connections and resets none of the queued ones") {
  const Group group = opened(loopback());
  Fd listener = group->take(0);
  std::vector<Fd> queued;
  for (int i = 0; i < 100; ++i) queued.push_back(connected(group->address()));
  must(sock::refuseNewConnections(listener.get()));
  const Fd late = must(sock::connect(group->address()));
  CHECK(!isReady(late.get(), POLLOUT, 20));
  CHECK_EQ(tcpState(late.get()), TCP_SYN_SENT);
  const std::vector<Fd> near = acceptAll(listener.get());
  CHECK_EQ(near.size(), queued.size());
  listener.reset();
  for (const Fd& fd : near) CHECK_EQ(must(sock::send(fd.get(), "!", 1)), 1u);
  for (const Fd& fd : queued) CHECK(gotByte(fd.get()));
}

TEST("completes a handshake that is under way when it begins to refuse") {
  const Group group = opened(loopback());
  const Fd listener = group->take(0);
  // The listener keeps the handshake open until the first data come.
  const int seconds = 30;
  CHECK_EQ(::setsockopt(listener.get(), IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)), 0);
  const Fd far = connected(group->address());
  CHECK_EQ(sock::accept(listener.get()).error, EAGAIN);
  CHECK_EQ(inodesInState(group->address().port(), TCP_SYN_RECV).size(), 1u);
  must(sock::refuseNewConnections(listener.get()));
  must(sock::send(far.get(), "!", 1));
  const Fd near = accepted(listener.get());
  CHECK(gotByte(near.get()));
}

TEST("resets nobody when it refuses, empties and closes under load") {
  std::atomic<int> served{0}, resets{0};
  for (int round = 0; round < 5; ++round) {
    const Group group = opened(loopback(), {.backlog = 4096});
    Fd listener = group->take(0);
    std::vector<std::thread> load;
    for (int i = 0; i < 2; ++i) {
      load.emplace_back([&, address = group->address()] {
        for (;;) {
          const Result<Fd> far = sock::connect(address);
          if (!far.ok() || !isReady(far.value.get(), POLLOUT, 100)) return;  // in vain: it refuses
          if (sock::pendingError(far.value.get()).value != 0) return;        // closed while this one waited in vain
          ++(gotByte(far.value.get()) ? served : resets);
        }
      });
    }
    const auto serve = [&](const std::vector<Fd>& connections) {
      for (const Fd& fd : connections) (void)sock::send(fd.get(), "!", 1);
      return connections.size();
    };
    size_t accepts = 0;
    CHECK(becomes([&] { return (accepts += serve(acceptAll(listener.get()))) >= 300; }));
    must(sock::refuseNewConnections(listener.get()));
    while (isReady(listener.get(), POLLIN, 10)) serve(acceptAll(listener.get()));
    listener.reset();
    for (std::thread& thread : load) thread.join();
  }
  CHECK(served >= 1500);
  CHECK_EQ(resets.load(), 0);
}

TEST("refuses on a Unix path too, and keeps what is queued") {
  Folder folder;
  const Group group = opened(must(Address::unixPath(folder.file("s"))));
  Fd listener = group->take(0);
  const Fd queued = connected(group->address());
  must(sock::refuseNewConnections(listener.get()));
  CHECK_EQ(sock::connect(group->address()).error, ECONNREFUSED);
  const std::vector<Fd> near = acceptAll(listener.get());  // ends with EAGAIN
  CHECK_EQ(near.size(), 1u);
  listener.reset();
  must(sock::send(near[0].get(), "!", 1));
  CHECK(gotByte(queued.get()));
}

// Unix paths

TEST("opens one listening socket on a Unix path, however many members are wanted") {
  Folder folder;
  const std::string path = folder.file("s");
  {
    const Group group = opened(must(Address::unixPath(path)), {.members = 4});
    CHECK_EQ(group->members(), 1);
    CHECK_EQ(group->address().host(), path);
    const Fd listener = group->take(0);
    const Fd far = connected(group->address());
    accepted(listener.get());
    CHECK(exists(path));
  }
  CHECK(!exists(path));
}

TEST("replaces a path that a dead server left") {
  Folder folder;
  const std::string path = folder.file("s");
  leaveStale(path);
  CHECK(exists(path));
  const Group group = opened(must(Address::unixPath(path)));
  connected(group->address());
}

TEST("does not replace a living server, also one whose queue is full") {
  Folder folder;
  const Address address = must(Address::unixPath(folder.file("s")));
  const Group first = opened(address, {.backlog = 0});
  CHECK_EQ(errorOf(address), EADDRINUSE);
  CHECK_EQ(errorOf(address, {.shared = true}), EADDRINUSE);
  std::vector<Fd> queued;
  for (Result<Fd> next = sock::connect(address); next.ok(); next = sock::connect(address))
    queued.push_back(std::move(next.value));
  CHECK_EQ(sock::connect(address).error, EAGAIN);
  CHECK_EQ(errorOf(address), EADDRINUSE);
  CHECK(exists(address.host()));
}

TEST("does not replace what is no socket") {
  Folder folder;
  const std::string path = folder.file("s"), link = folder.file("link"), stale = folder.file("stale");
  Fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK_EQ(errorOf(must(Address::unixPath(path))), EADDRINUSE);
  CHECK(exists(path));
  leaveStale(stale);
  CHECK_EQ(::symlink(stale.c_str(), link.c_str()), 0);
  CHECK_EQ(errorOf(must(Address::unixPath(link))), EADDRINUSE);
  CHECK(exists(link) && exists(stale));
}

TEST("does not take a server that is about to listen for a dead one") {
  Folder folder;
  const Address address = must(Address::unixPath(folder.file("s")));
  const StartGuard starting = must(StartGuard::takePath(address));
  leaveStale(address.host());
  CHECK_EQ(errorOf(address), EADDRINUSE);
  CHECK(exists(address.host()));
  // The same file by another spelling.
  CHECK_EQ(errorOf(must(Address::unixPath(folder.path() + "/./s"))), EADDRINUSE);
}

TEST("gives one of many servers that start at once the path of a dead one") {
  Folder folder;
  const Address address = must(Address::unixPath(folder.file("s")));
  for (int round = 0; round < 10; ++round) {
    leaveStale(address.host());
    std::atomic<int> ready{0};
    std::vector<Result<Group>> results(4);
    std::vector<std::thread> threads;
    for (Result<Group>& result : results) {
      threads.emplace_back([&] {
        ++ready;
        while (ready < 4) sched_yield();
        result = ListenerGroup::open(address, {});
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK_EQ(std::count_if(results.begin(), results.end(), [](const auto& result) { return result.ok(); }), 1);
    connected(address);
  }
}

TEST("leaves alone a path that belongs to another server by now") {
  Folder folder;
  const Address address = must(Address::unixPath(folder.file("s")));
  Group first = opened(address);
  first->take(0);  // closed at once: the first server no longer listens
  const Group second = opened(address);
  first.reset();
  CHECK(exists(address.host()));
  connected(address);
}

TEST("unlinks a relative path from whatever folder the process is in by then") {
  Folder folder;
  const std::string path = folder.file("s");
  const Fd here(::open(".", O_PATH | O_DIRECTORY | O_CLOEXEC));
  CHECK_EQ(::chdir(folder.path().c_str()), 0);
  Result<Group> group = ListenerGroup::open(must(Address::unixPath("s")), {});
  CHECK_EQ(::fchdir(here.get()), 0);
  CHECK_EQ(group.error, 0);
  CHECK(exists(path));
  group.value.reset();
  CHECK(!exists(path));
}

TEST("says what the kernel says about a Unix path that cannot be") {
  Folder folder;
  CHECK_EQ(errorOf(must(Address::unixPath(folder.path() + "/no/such/s"))), ENOENT);
  Fd(::open(folder.file("file").c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK_EQ(errorOf(must(Address::unixPath(folder.path() + "/file/s"))), ENOTDIR);
}

TEST("listens on an abstract name without a file") {
  const std::string name = std::string("\0multireactor-test-", 19) + std::to_string(::getpid());
  const Address address = must(Address::unixPath(name));
  const Group group = opened(address);
  CHECK_EQ(errorOf(address), EADDRINUSE);
  connected(address);
}
