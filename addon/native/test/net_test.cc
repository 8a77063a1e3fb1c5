#include <fcntl.h>
#include <malloc.h>
#include <net/if.h>
#include <sys/epoll.h>

#include <map>
#include <random>

#include "net/address.h"
#include "net/epoll.h"
#include "net/out_buffer.h"
#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

Result<size_t> sendText(int fd, const std::string& text) { return sock::send(fd, text.data(), text.size()); }

void append(OutBuffer& buffer, const std::string& text) { buffer.append(text.data(), text.size()); }

std::string randomText(std::mt19937& random, size_t size) {
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

std::map<uint64_t, uint32_t> eventsOf(Epoll& epoll, int timeoutMs = 0) {
  std::map<uint64_t, uint32_t> events;
  for (const epoll_event& event : epoll.wait(timeoutMs)) events[event.data.u64] = event.events;
  return events;
}

}  // namespace

// Address

TEST("keeps IPv4 and IPv6 literals and their ports") {
  for (const char* host : {"127.0.0.1", "0.0.0.0", "255.255.255.255", "::", "::1", "2001:db8::ff00:42:8329"}) {
    const Address address = must(Address::inet(host, 7000));
    CHECK_EQ(address.host(), host);
    CHECK_EQ(address.port(), 7000);
    CHECK_EQ(address.isUnix(), false);
  }
}

TEST("keeps the scope of a link-local address") {
  char name[IF_NAMESIZE];
  if (!if_indextoname(1, name)) return;  // no interface, no scope
  const std::string scoped = std::string("fe80::1%") + name;
  CHECK_EQ(must(Address::inet(scoped, 1)).host(), scoped);
  CHECK_EQ(must(Address::inet("fe80::1%1", 1)).host(), scoped);
}

TEST("refuses what is no literal") {
  for (const std::string host :
       {"", "localhost", "127.0.0", "1.2.3.4.5", "::1%", "::1%no-such-interface", "::1%1x", "127.0.0.1%lo", "[::1]"}) {
    CHECK_EQ(Address::inet(host, 1).error, EINVAL);
  }
  CHECK_EQ(Address::inet(std::string("127.0.0.1\0.evil", 15), 1).error, EINVAL);
}

TEST("keeps Unix paths up to the kernel's length, and abstract names with their zero bytes") {
  for (const std::string& path :
       {std::string("/a"), std::string(107, 'p'), std::string("\0name\0\0", 7), '\0' + std::string(107, 'n')}) {
    const Address address = must(Address::unixPath(path));
    CHECK(address.isUnix());
    CHECK(address.host() == path);
    CHECK_EQ(address.port(), 0);
  }
  CHECK_EQ(Address::unixPath("").error, EINVAL);
  CHECK_EQ(Address::unixPath(std::string("a\0b", 3)).error, EINVAL);
  CHECK_EQ(Address::unixPath(std::string(108, 'p')).error, ENAMETOOLONG);
  CHECK_EQ(Address::unixPath('\0' + std::string(108, 'n')).error, ENAMETOOLONG);
}

TEST("has no name for an unnamed peer") {
  const Pair pair = unixPair();
  CHECK_EQ(must(sock::peerAddress(pair.near.get())).host(), "");
  CHECK_EQ(Address{}.host(), "");
}

// Socket

TEST("accepts what is queued and says EAGAIN when nobody is") {
  const Fd listener = must(sock::bindStream(loopback(), {}));
  must(sock::listen(listener.get(), 16));
  CHECK_EQ(sock::accept(listener.get()).error, EAGAIN);
  const Fd far = connected(must(sock::localAddress(listener.get())));
  CHECK(isReady(listener.get(), POLLIN, kPatienceMs));
  const sock::Accepted got = must(sock::accept(listener.get()));
  CHECK_EQ(got.peer.host(), "127.0.0.1");
  CHECK_EQ(got.peer.port(), must(sock::localAddress(far.get())).port());
  CHECK_EQ(must(sock::peerAddress(got.fd.get())).port(), got.peer.port());
  CHECK_EQ(sock::accept(listener.get()).error, EAGAIN);
}

TEST("makes every descriptor non-blocking and close-on-exec") {
  const Fd listener = must(sock::bindStream(loopback(), {}));
  must(sock::listen(listener.get(), 16));
  const Fd far = connected(must(sock::localAddress(listener.get())));
  const Fd near = accepted(listener.get());
  for (const Fd* fd : {&listener, &far, &near}) {
    CHECK(::fcntl(fd->get(), F_GETFL) & O_NONBLOCK);
    CHECK(::fcntl(fd->get(), F_GETFD) & FD_CLOEXEC);
  }
}

TEST("says that a connection is refused") {
  const Fd bound = must(sock::bindStream(loopback(), {}));  // the port is taken, without a listener
  const Fd fd = must(sock::connect(must(sock::localAddress(bound.get()))));
  CHECK(isReady(fd.get(), POLLOUT, kPatienceMs));
  CHECK_EQ(must(sock::pendingError(fd.get())), ECONNREFUSED);
}

TEST("receives what was sent, EAGAIN, and 0 at the end") {
  const Pair pair = tcpPair();
  char some[16];
  CHECK_EQ(sock::receive(pair.near.get(), some, sizeof(some)).error, EAGAIN);
  CHECK_EQ(must(sendText(pair.far.get(), "hello")), 5u);
  CHECK(isReady(pair.near.get(), POLLIN, kPatienceMs));
  CHECK_EQ(received(pair.near.get()), "hello");
  must(sock::shutdownWrite(pair.far.get()));
  CHECK(isReady(pair.near.get(), POLLIN, kPatienceMs));
  CHECK_EQ(must(sock::receive(pair.near.get(), some, sizeof(some))), 0u);
  // Half-closed: the other direction still works.
  CHECK_EQ(must(sendText(pair.near.get(), "bye")), 3u);
  CHECK(isReady(pair.far.get(), POLLIN, kPatienceMs));
  CHECK_EQ(received(pair.far.get()), "bye");
}

TEST("takes a part of what does not fit, then says EAGAIN") {
  const Pair pair = tcpPair();
  shrinkSendBuffer(pair.near.get());
  const std::string large(16 << 20, 'x');
  const size_t part = must(sendText(pair.near.get(), large));
  CHECK(part > 0 && part < large.size());
  CHECK(becomes([&] { return sendText(pair.near.get(), large).error == EAGAIN; }));
}

TEST("says EPIPE instead of raising a signal") {
  Pair pair = unixPair();
  pair.far.reset();
  CHECK_EQ(sendText(pair.near.get(), "x").error, EPIPE);
  const iovec part{const_cast<char*>("x"), 1};
  CHECK_EQ(sock::sendVector(pair.near.get(), &part, 1).error, EPIPE);
}

TEST("says ECONNRESET once, then the end") {
  Pair pair = tcpPair();
  must(sock::setLingerReset(pair.far.get()));
  pair.far.reset();
  CHECK(isReady(pair.near.get(), POLLIN, kPatienceMs));
  char some[16];
  CHECK_EQ(sock::receive(pair.near.get(), some, sizeof(some)).error, ECONNRESET);
  CHECK_EQ(must(sock::receive(pair.near.get(), some, sizeof(some))), 0u);
  CHECK_EQ(sendText(pair.near.get(), "x").error, EPIPE);
}

TEST("sends several parts as one") {
  const Pair pair = unixPair(SOCK_SEQPACKET);
  std::string a = "one ", b = "two ", c = "three";
  const iovec parts[] = {{a.data(), a.size()}, {b.data(), b.size()}, {c.data(), c.size()}};
  CHECK_EQ(must(sock::sendVector(pair.near.get(), parts, 3)), 13u);
  char some[64];
  CHECK_EQ(must(sock::receive(pair.far.get(), some, sizeof(some))), 13u);
  CHECK_EQ(std::string(some, 13), "one two three");
}

TEST("sets the options of a connection") {
  const Pair pair = tcpPair();
  const int fd = pair.near.get();
  const auto option = [fd](int level, int name) {
    int value = -1;
    socklen_t length = sizeof(value);
    CHECK_EQ(::getsockopt(fd, level, name, &value, &length), 0);
    return value;
  };
  must(sock::setNoDelay(fd, true));
  CHECK(option(IPPROTO_TCP, TCP_NODELAY) != 0);
  must(sock::setNoDelay(fd, false));
  CHECK_EQ(option(IPPROTO_TCP, TCP_NODELAY), 0);
  must(sock::setKeepAlive(fd, true, 33));
  CHECK(option(SOL_SOCKET, SO_KEEPALIVE) != 0);
  CHECK_EQ(option(IPPROTO_TCP, TCP_KEEPIDLE), 33);
  must(sock::setKeepAlive(fd, false, 0));
  CHECK_EQ(option(SOL_SOCKET, SO_KEEPALIVE), 0);
}

TEST("gives the kernel's answer for a descriptor that is no socket") {
  const Epoll notASocket(1);
  char some[1];
  CHECK_EQ(sock::accept(notASocket.fd()).error, ENOTSOCK);
  CHECK_EQ(sock::receive(notASocket.fd(), some, 1).error, ENOTSOCK);
  CHECK_EQ(sock::localAddress(notASocket.fd()).error, ENOTSOCK);
  CHECK_EQ(sock::refuseNewConnections(notASocket.fd()).error, ENOTSOCK);
}

// Epoll

TEST("names a ready descriptor by its whole token") {
  Epoll epoll(8);
  const Pair a = unixPair(), b = unixPair();
  must(epoll.add(a.near.get(), EPOLLIN, 0xfedcba9876543210));
  must(epoll.add(b.near.get(), EPOLLIN, 7));
  CHECK_EQ(eventsOf(epoll).size(), 0u);
  must(sendText(a.far.get(), "x"));
  CHECK((eventsOf(epoll) == std::map<uint64_t, uint32_t>{{0xfedcba9876543210, EPOLLIN}}));
  CHECK_EQ(eventsOf(epoll).size(), 1u);  // level-triggered: until it is read
  CHECK_EQ(received(a.near.get()), "x");
  CHECK_EQ(eventsOf(epoll).size(), 0u);
}

TEST("changes the events and the token of a descriptor, and forgets it") {
  Epoll epoll(8);
  const Pair pair = unixPair();
  must(epoll.add(pair.near.get(), EPOLLIN, 1));
  must(epoll.modify(pair.near.get(), EPOLLOUT, 2));
  CHECK((eventsOf(epoll) == std::map<uint64_t, uint32_t>{{2, EPOLLOUT}}));
  must(epoll.remove(pair.near.get()));
  CHECK_EQ(eventsOf(epoll).size(), 0u);
}

TEST("gives the kernel's answer to a wrong registration") {
  Epoll epoll(8);
  const Pair pair = unixPair();
  CHECK_EQ(epoll.modify(pair.near.get(), EPOLLIN, 1).error, ENOENT);
  CHECK_EQ(epoll.remove(pair.near.get()).error, ENOENT);
  must(epoll.add(pair.near.get(), EPOLLIN, 1));
  CHECK_EQ(epoll.add(pair.near.get(), EPOLLIN, 1).error, EEXIST);
  CHECK_EQ(epoll.add(-1, EPOLLIN, 1).error, EBADF);
}

TEST("leaves to the next wait what does not fit into one") {
  Epoll epoll(2);
  std::vector<Pair> pairs;
  for (uint64_t token = 0; token < 5; ++token) {
    pairs.push_back(unixPair());
    must(epoll.add(pairs.back().near.get(), EPOLLIN, token));
    must(sendText(pairs.back().far.get(), "x"));
  }
  std::set<uint64_t> seen;
  for (int round = 0; round < 5; ++round) {
    const auto events = eventsOf(epoll);
    CHECK(events.size() <= 2);
    for (const auto& [token, mask] : events) seen.insert(token);
  }
  CHECK_EQ(seen.size(), 5u);
}

TEST("is readable itself when a descriptor in it is: nested epoll") {
  Epoll inner(8), outer(8);
  const Pair pair = unixPair();
  must(inner.add(pair.near.get(), EPOLLIN, 1));
  must(outer.add(inner.fd(), EPOLLIN, 2));
  CHECK_EQ(eventsOf(outer).size(), 0u);
  must(sendText(pair.far.get(), "x"));
  CHECK((eventsOf(outer) == std::map<uint64_t, uint32_t>{{2, EPOLLIN}}));
}

// OutBuffer

TEST("costs a pointer while it is empty") {
  CHECK_EQ(sizeof(OutBuffer), sizeof(void*));
  OutBuffer buffer;
  CHECK(buffer.empty());
  buffer.append("", 0);
  CHECK_EQ(buffer.size(), 0u);
  const Pair pair = unixPair();
  CHECK_EQ(must(buffer.flush(pair.near.get())), 0u);
}

TEST("sends adjacent small appends as one") {
  const Pair pair = unixPair(SOCK_SEQPACKET);
  OutBuffer buffer;
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    const std::string reply = std::to_string(i) + '\n';
    append(buffer, reply);
    expected += reply;
  }
  CHECK_EQ(buffer.size(), expected.size());
  CHECK_EQ(must(buffer.flush(pair.near.get())), expected.size());
  CHECK(buffer.empty());
  std::string got(expected.size() * 2, '\0');
  got.resize(must(sock::receive(pair.far.get(), got.data(), got.size())));
  CHECK(got == expected);
  CHECK_EQ(sock::receive(pair.far.get(), got.data(), got.size()).error, EAGAIN);
}

TEST("keeps what a full socket does not take, and its order") {
  const Pair pair = tcpPair();
  shrinkSendBuffer(pair.near.get(), 64 << 10);
  std::mt19937 random(1);
  const std::string expected = randomText(random, 9 << 20);
  OutBuffer buffer;
  append(buffer, expected);
  std::string got;
  size_t taken = must(buffer.flush(pair.near.get()));
  CHECK(taken > 0 && taken < expected.size());
  CHECK_EQ(buffer.size(), expected.size() - taken);
  CHECK(becomes([&] {
    got += received(pair.far.get());
    taken += must(buffer.flush(pair.near.get()));
    return got.size() == expected.size();
  }));
  CHECK_EQ(taken, expected.size());
  CHECK(got == expected);
  CHECK(buffer.empty());
}

TEST("delivers any mixture of appends and flushes as one stream") {
  for (uint32_t seed = 1; seed <= 20; ++seed) {
    const Note note([&] { return "seed " + std::to_string(seed); });
    std::mt19937 random(seed);
    const Pair pair = unixPair();
    shrinkSendBuffer(pair.near.get());
    OutBuffer buffer;
    std::string expected, got;
    const size_t sizes[] = {1, 100, 511, 512, 513, 5000, 16 << 10, (16 << 10) + 1, 64 << 10, 200'000};
    for (int step = 0; step < 200; ++step) {
      const std::string text = randomText(random, sizes[random() % std::size(sizes)]);
      append(buffer, text);
      expected += text;
      if (random() % 3 == 0) must(buffer.flush(pair.near.get()));
      if (random() % 3 == 0) got += received(pair.far.get());
      CHECK(buffer.size() <= expected.size() - got.size());
    }
    while (!buffer.empty()) {
      must(buffer.flush(pair.near.get()));
      got += received(pair.far.get());
    }
    CHECK(got == expected);
  }
}

TEST("says why a flush failed, and keeps the bytes") {
  Pair pair = unixPair();
  pair.far.reset();
  OutBuffer buffer;
  append(buffer, "lost");
  CHECK_EQ(buffer.flush(pair.near.get()).error, EPIPE);
  CHECK_EQ(buffer.size(), 4u);
  buffer.clear();
  CHECK(buffer.empty());
}

TEST("moves its bytes, and drops what the target held") {
  const Pair pair = unixPair();
  OutBuffer from, to;
  append(from, "kept");
  append(to, "dropped");
  to = std::move(from);
  CHECK(from.empty());
  OutBuffer last(std::move(to));
  append(to, "again");  // a moved-from buffer is an empty one
  CHECK_EQ(to.size(), 5u);
  must(last.flush(pair.near.get()));
  CHECK_EQ(received(pair.far.get()), "kept");
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// The sanitizers' allocators do not keep this account.
namespace {
size_t bytesInUse() {
  const auto heap = ::mallinfo2();
  return heap.uordblks + heap.hblkhd;
}
}  // namespace

TEST("costs a slow connection with one small reply less than 1 KiB") {
  const size_t before = bytesInUse();
  OutBuffer buffer;
  append(buffer, std::string(100, 'x'));
  CHECK(bytesInUse() - before < 1024);
}

TEST("gives memory back while it drains, also of one large reply") {
  const Pair pair = unixPair();
  constexpr size_t kSize = 8 << 20;
  const size_t before = bytesInUse();
  OutBuffer buffer;
  append(buffer, std::string(kSize, 'x'));
  char some[64 << 10];
  while (buffer.size() > kSize / 2) {
    must(buffer.flush(pair.near.get()));
    while (sock::receive(pair.far.get(), some, sizeof(some)).ok()) {
    }
  }
  // Beside it, what the thread keeps for its next turn, and what the allocator counts for a heap that other tests have cut up.
  constexpr size_t kKept = kSize / 16;
  CHECK(bytesInUse() - before < buffer.size() + kKept);
  buffer.clear();
  CHECK(bytesInUse() < before + kKept);
}
#endif
