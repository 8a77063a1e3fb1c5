// Connections that a reactor makes itself, and pairs that are piped.
#include <dlfcn.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>

#include "harness.h"
#include "reactors.h"

namespace {

// By the whole program.
std::atomic<uint64_t> setChanges = 0, shutdowns = 0;

template <typename Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

}  // namespace

extern "C" int epoll_ctl(int set, int operation, int fd, epoll_event* event) noexcept {
  static const auto call = next<int(int, int, int, epoll_event*)>("epoll_ctl");
  setChanges.fetch_add(1, std::memory_order_relaxed);
  return call(set, operation, fd, event);
}

extern "C" int shutdown(int fd, int how) noexcept {
  static const auto call = next<int(int, int)>("shutdown");
  shutdowns.fetch_add(1, std::memory_order_relaxed);
  return call(fd, how);
}

namespace mr::test {
namespace {

ListenerConfig client(uint32_t hooks = kHookOpen | kHookMessage | kHookClose) {
  ListenerConfig config;
  config.framing.kind = FramingKind::kDelimiter;
  config.hooks = hooks;
  return config;
}

// A server without any hook of its own: its frames go to a pool without workers.
struct Dialer : Reactors {
  explicit Dialer(ExchangeOptions options = {}) : Reactors(lines(false), 1, options) {}

  uint32_t begin(const Address& to, uint32_t timeoutMs = 0, const Address* from = nullptr, ListenerConfig config = client()) {
    return must(reactor().connect(to, from, config, timeoutMs));
  }
  // The row of this connect, when it has come: the slot, and the generation in `generation`.
  uint32_t connected(uint32_t request) {
    EventRow found{};
    untilRow(Event::kConnected, request, &found);
    generation = found.generation;
    return found.slot;
  }
  int failed(uint32_t request) {
    EventRow found{};
    untilRow(Event::kConnectFailed, request, &found);
    return static_cast<int>(found.b);
  }
  void watch() {
    js().hook = [this](const EventRow& row, std::string_view) { rows.push_back(row); };
  }
  void untilRow(Event event, uint32_t request, EventRow* out) {
    until([&] {
      for (const EventRow& row : rows) {
        if (row.event != event || row.a != request) continue;
        *out = row;
        return true;
      }
      return false;
    });
  }
  uint64_t connecting() { return reactor().counters().connecting.get(); }
  uint64_t failures() { return reactor().counters().connectFailures.get(); }

  std::vector<EventRow> rows;
  uint32_t generation = 0;
};

struct Listener {
  explicit Listener(const Address& at = loopback(), int backlog = 16) {
    fd = must(sock::bindStream(at, {}));
    must(sock::listen(fd.get(), backlog));
    address = must(sock::localAddress(fd.get()));
  }
  Fd fd;
  Address address;
};

// A port without a listener, kept by a socket that is only bound.
struct Closed {
  Closed() : fd(must(sock::bindStream(loopback(), {}))), address(must(sock::localAddress(fd.get()))) {}
  Fd fd;
  Address address;
};

// An accepted connection and one to an upstream, piped with each other.
struct Proxy : Dialer {
  explicit Proxy(uint32_t hooks = kHookClose, ListenerConfig config = {}) {
    watch();
    config.framing.kind = FramingKind::kDelimiter;
    config.hooks = hooks;
    down = connect();
    // Its own row has the slot of the accepted one.
    until([&] { return !rows.empty(); });
    a = rows[0].slot, ga = rows[0].generation;
    b = connected(begin(upstream.address, 0, nullptr, config)), gb = generation;
    up = accepted(upstream.fd.get());
  }
  void join() {
    CHECK(reactor().pipe(a, ga, Reactor::kOutsideMessage, b, gb, Reactor::kOutsideMessage) == Reactor::Piped::kDone);
  }
  Listener upstream;
  Fd down, up;
  uint32_t a = 0, ga = 0, b = 0, gb = 0;
};

std::string pattern(size_t size) {
  std::string text(size, 0);
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + i * 7 % 26);
  return text;
}

}  // namespace

// Its writes are lost, and what its server has said may be why.
TEST("connect: a client whose server has reset reads all that the server had said") {
  Dialer dialer;
  Listener listener;
  size_t frames = 0;
  dialer.js().hook = [&](const EventRow& row, std::string_view) {
    dialer.rows.push_back(row);
    if (row.event != Event::kFrame) return;
    ++frames;
    (void)dialer.reactor().write(row.slot, row.generation, spanOf("more"), Reactor::Place::kInOrder);
  };
  const uint32_t slot = dialer.connected(dialer.begin(listener.address));
  const uint32_t generation = dialer.generation;
  CHECK(dialer.reactor().pause(slot, generation, Reactor::kOutsideMessage));
  Fd server = accepted(listener.fd.get());
  growReceiveBuffer(otherEndOf(server));
  const std::string line(1023, 'x');
  int unsent = 1;
  for (int i = 0; i < 200; ++i) say(server, line + "\n");
  // What has not arrived goes with the reset.
  CHECK(becomes([&] { return ::ioctl(server.get(), SIOCOUTQ, &unsent) == 0 && (dialer.turns(1), true) && unsent == 0; }));
  must(sock::setLingerReset(server.get()));
  server.reset();
  dialer.turns(5);
  CHECK_EQ(frames, 0u);
  CHECK(dialer.reactor().resume(slot, generation));
  dialer.until([&] { return dialer.closed(CloseReason::kReset) == 1; });
  CHECK_EQ(frames, 200u);
}

TEST("connect: opens, sends, receives, and is counted") {
  for (const char* host : {"127.0.0.1", "::1"}) {
    Dialer dialer;
    dialer.watch();
    const Listener there(must(Address::inet(host, 0)));
    const uint32_t request = dialer.begin(there.address, 5000);
    CHECK_EQ(dialer.connecting(), 1u);
    CHECK_EQ(dialer.admitted(), 1u);
    const uint32_t slot = dialer.connected(request);
    CHECK_EQ(dialer.connecting(), 0u);
    CHECK_EQ(dialer.open(), 1u);
    const Fd far = accepted(there.fd.get());
    say(far, "hello\nyou\n");
    dialer.until([&] { return dialer.js().frames(slot) == "hello|you|"; });
    Reactor::Details details;
    CHECK(dialer.reactor().details(slot, dialer.generation, &details));
    CHECK_EQ(details.peer.port, there.address.port());
    (void)dialer.reactor().write(slot, dialer.generation, spanOf("hi\n"), Reactor::Place::kBetween);
    dialer.reactor().flush();
    CHECK_EQ(dialer.read(far, 3), "hi\n");
    CHECK(dialer.reactor().end(slot, dialer.generation, Reactor::Place::kBetween));
    CHECK_EQ(dialer.read(far, 1), "");
    CHECK_EQ(::shutdown(far.get(), SHUT_WR), 0);
    dialer.until([&] { return dialer.closed(CloseReason::kEnd) == 1; });
    CHECK_EQ(dialer.admitted(), 0u);
    CHECK_EQ(dialer.open(), 0u);
    CHECK_EQ(dialer.reactor().counters().connected.get(), 1u);
    CHECK_EQ(dialer.failures(), 0u);
  }
}

TEST("connect: a Unix path, and our own listener too") {
  Dialer dialer;
  dialer.watch();
  const uint32_t slot = dialer.connected(dialer.begin(dialer.address));
  CHECK_EQ(dialer.reactor().counters().accepted.get(), 1u);
  CHECK_EQ(dialer.open(), 2u);
  CHECK(dialer.reactor().destroy(slot, dialer.generation, CloseReason::kDestroyed));
  dialer.until([&] { return dialer.open() == 0; });
}

TEST("connect: refused is an errno, and leaves nothing") {
  Dialer dialer;
  dialer.watch();
  const Closed nobody;
  CHECK_EQ(dialer.failed(dialer.begin(nobody.address, 5000)), ECONNREFUSED);
  CHECK_EQ(dialer.connecting(), 0u);
  CHECK_EQ(dialer.failures(), 1u);
  CHECK_EQ(dialer.admitted(), 0u);
  // A path answers at once.
  const auto missing = dialer.reactor().connect(must(Address::unixPath(dialer.folder.file("none"))), nullptr, client(), 0);
  CHECK_EQ(missing.error, ENOENT);
  CHECK_EQ(dialer.failures(), 2u);
  CHECK_EQ(dialer.admitted(), 0u);
}

TEST("connect: nobody answers, and the time is over, not early") {
  Dialer dialer;
  dialer.watch();
  // The queue of this listener is full: the kernel drops further handshakes.
  const Listener full(loopback(), 0);
  std::vector<Fd> queued;
  for (int i = 0; i < 4; ++i) queued.push_back(must(sock::connect(full.address)));
  const uint64_t start = monotonicMs();
  const uint32_t request = dialer.begin(full.address, 60);
  CHECK(dialer.reactor().untilNextTimerMs() >= 0);
  CHECK_EQ(dialer.failed(request), ETIMEDOUT);
  CHECK(monotonicMs() - start >= 60);
  CHECK_EQ(dialer.admitted(), 0u);
}

TEST("connect: cancelled, nothing follows") {
  Dialer dialer;
  dialer.watch();
  const Listener there;
  const Closed nobody;
  for (const Address& address : {there.address, nobody.address}) {
    const uint32_t request = dialer.begin(address);
    dialer.reactor().cancelConnect(request);
    dialer.reactor().cancelConnect(request);
    dialer.turns(20);
  }
  CHECK_EQ(dialer.rows.size(), 0u);
  CHECK_EQ(dialer.connecting(), 0u);
  CHECK_EQ(dialer.admitted(), 0u);
}

TEST("connect: from an address and a port of our own") {
  Dialer dialer;
  dialer.watch();
  const Listener there;
  const Address from = must(Address::inet("127.0.0.9", 0));
  const uint32_t slot = dialer.connected(dialer.begin(there.address, 0, &from));
  CHECK_EQ(must(dialer.reactor().localAddress(slot, dialer.generation)).host(), "127.0.0.9");
  CHECK_EQ(must(sock::peerAddress(accepted(there.fd.get()).get())).host(), "127.0.0.9");
  const Address strange = must(Address::inet("192.0.2.1", 0));
  CHECK_EQ(dialer.reactor().connect(there.address, &strange, client(), 0).error, EADDRNOTAVAIL);
  const Address otherFamily = must(Address::inet("::1", 0));
  CHECK(!dialer.reactor().connect(there.address, &otherFamily, client(), 0).ok());
}

TEST("connect: a port that meets itself is nobody") {
  // From the very port that it connects to: the kernel lets the socket shake hands with itself.
  Dialer dialer;
  dialer.watch();
  Address port;
  {
    const Closed free;
    port = free.address;
  }
  CHECK_EQ(dialer.failed(dialer.begin(port, 0, &port)), ECONNREFUSED);
}

TEST("connect: counts among the connections of the process, from the first moment on") {
  ExchangeOptions options;
  options.admission.connections = 2;
  Dialer dialer(options);
  dialer.watch();
  const Listener there;
  const uint32_t request = dialer.begin(there.address);
  const uint32_t other = dialer.begin(there.address);
  CHECK_EQ(dialer.reactor().connect(there.address, nullptr, client(), 0).error, ENOSPC);
  dialer.connected(request);
  const uint32_t slot = dialer.connected(other);
  CHECK_EQ(dialer.reactor().connect(there.address, nullptr, client(), 0).error, ENOSPC);
  CHECK(dialer.reactor().destroy(slot, dialer.generation, CloseReason::kDestroyed));
  dialer.connected(dialer.begin(there.address));
}

TEST("connect: without a message hook it is not read until it is resumed") {
  Dialer dialer;
  dialer.watch();
  const Listener there;
  const uint32_t slot = dialer.connected(dialer.begin(there.address, 0, nullptr, client(kHookClose)));
  const Fd far = accepted(there.fd.get());
  say(far, "early\n");
  dialer.turns(20);
  CHECK_EQ(dialer.js().frames(slot), "");
  CHECK(dialer.reactor().resume(slot, dialer.generation));
  dialer.until([&] { return dialer.js().frames(slot) == "early|"; });
}

TEST("connect: profiles of equal options are one, and are given out again") {
  ClientProfiles profiles;
  ListenerConfig config = client();
  const uint16_t first = profiles.use(config, 3);
  CHECK_EQ(profiles.use(config, 3), first);
  config.idleMs = 7;
  const uint16_t second = profiles.use(config, 3);
  CHECK(second != first);
  profiles.release(first);
  CHECK(profiles.use(client(kHookClose), 3) != first);
  profiles.release(first);
  CHECK_EQ(profiles.use(client(kHookOpen), 3), first);
  CHECK_EQ(profiles.config(second).idleMs, 7u);
  for (uint32_t i = 0; i < 2000; ++i) {
    config.idleMs = 100 + i;
    if (profiles.use(config, 3) == ClientProfiles::kNone) return;
  }
  CHECK(false);
}

TEST("connect: a reactor that closes ends its clients when nobody is served any more") {
  Dialer dialer;
  dialer.watch();
  const Listener there;
  const Fd served = dialer.connect();
  const uint32_t slot = dialer.connected(dialer.begin(there.address));
  const Fd far = accepted(there.fd.get());
  // The frame waits for an answer that only the client can bring.
  CHECK(dialer.reactor().hold(dialer.rows[0].slot, dialer.rows[0].generation, true) != Reactor::kNoPlace);
  dialer.reactor().drain(1000);
  dialer.turns(50);
  say(far, "answer\n");
  dialer.until([&] { return dialer.js().frames(slot) == "answer|"; });
  const uint32_t late = dialer.begin(there.address);
  dialer.connected(late);
  const Fd second = accepted(there.fd.get());
  CHECK(dialer.reactor().hold(dialer.rows[0].slot, dialer.rows[0].generation, false) != Reactor::kNoPlace);
  CHECK_EQ(dialer.read(served, 1), "");
  CHECK_EQ(::shutdown(served.get(), SHUT_WR), 0);
  for (const Fd* fd : {&far, &second}) {
    CHECK_EQ(dialer.read(*fd, 1), "");
    CHECK_EQ(::shutdown(fd->get(), SHUT_WR), 0);
  }
  dialer.until([&] { return dialer.js().saw("0 drained"); });
  CHECK_EQ(dialer.reactor().connect(there.address, nullptr, client(), 0).error, ECANCELED);
  CHECK_EQ(dialer.admitted(), 0u);
}

TEST("connect: one that is under way does not hold up a reactor that closes") {
  Dialer dialer;
  dialer.watch();
  const Listener full(loopback(), 0);
  std::vector<Fd> queued;
  for (int i = 0; i < 4; ++i) queued.push_back(must(sock::connect(full.address)));
  const uint32_t request = dialer.begin(full.address);
  dialer.reactor().drain(1000);
  CHECK_EQ(dialer.failed(request), ECANCELED);
  dialer.until([&] { return dialer.js().saw("0 drained"); });
}

TEST("connect: clients end with their thread; those under way are forgotten") {
  Dialer dialer;
  dialer.watch();
  const Listener there;
  const Fd served = dialer.connect();
  dialer.connected(dialer.begin(there.address));
  const Fd far = accepted(there.fd.get());
  (void)dialer.begin(there.address);
  dialer.leave();
  CHECK_EQ(received(far.get()), "");
  CHECK_EQ(dialer.closed(CloseReason::kThreadLost), 1u);
  CHECK_EQ(dialer.connecting(), 0u);
  dialer.takeOver(true);
  dialer.turns(5);
  CHECK_EQ(dialer.open(), 1u);
  CHECK_EQ(dialer.admitted(), 1u);
}

TEST("connect: a reload lets them answer first, and tells their hooks") {
  Dialer dialer;
  dialer.watch();
  const Listener there;
  const Fd served = dialer.connect();
  const uint32_t slot = dialer.connected(dialer.begin(there.address));
  const Fd far = accepted(there.fd.get());
  CHECK(dialer.reactor().hold(dialer.rows[0].slot, dialer.rows[0].generation, true) != Reactor::kNoPlace);
  dialer.reactor().quiesce();
  dialer.turns(10);
  say(far, "answer\n");
  dialer.until([&] { return dialer.js().frames(slot) == "answer|"; });
  CHECK(dialer.reactor().hold(dialer.rows[0].slot, dialer.rows[0].generation, false) != Reactor::kNoPlace);
  dialer.until([&] { return dialer.js().saw("0 quiet"); });
  const auto& seen = dialer.js().seen;
  const auto closed = std::find(seen.begin(), seen.end(), std::to_string(slot) + " close thread-lost");
  CHECK(closed < std::find(seen.begin(), seen.end(), "0 quiet"));
}

TEST("connect: many at once, refused, cancelled and open, and no descriptor is left") {
  Dialer dialer;
  dialer.watch();
  const Listener there(loopback(), 512);
  const Closed nobody;
  uint32_t opened = 0, refused = 0;
  for (int round = 0; round < 5; ++round) {
    dialer.rows.clear();
    std::vector<uint32_t> cancelled;
    for (int i = 0; i < 60; ++i) {
      const uint32_t request = dialer.begin(i % 3 == 0 ? nobody.address : there.address, 5000);
      if (i % 5 == 0) cancelled.push_back(request);
    }
    for (const uint32_t request : cancelled) dialer.reactor().cancelConnect(request);
    dialer.until([&] { return dialer.connecting() == 0; });
    dialer.turns(3);
    const std::vector<EventRow> rows = dialer.rows;
    for (const EventRow& row : rows) {
      if (row.event == Event::kConnectFailed) ++refused;
      if (row.event != Event::kConnected) continue;
      ++opened;
      CHECK(dialer.reactor().destroy(row.slot, row.generation, CloseReason::kDestroyed));
    }
  }
  CHECK_EQ(opened, 5u * 32);
  CHECK_EQ(refused, 5u * 16);
  dialer.turns(3);
  CHECK_EQ(dialer.open(), 0u);
  CHECK_EQ(dialer.admitted(), 0u);
}

// ---------------------------------------------------------------- pipes

TEST("pipe: bytes go both ways, without a hook, whatever lay there before") {
  Proxy proxy(kHookMessage | kHookClose);
  // One hook has seen a frame, and pipes behind it: the rest of the batch goes through.
  proxy.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (frame != "first") return;
    CHECK(proxy.reactor().pipe(proxy.a, proxy.ga, row.d, proxy.b, proxy.gb, Reactor::kOutsideMessage) == Reactor::Piped::kDone);
    proxy.js().stop(row);
  };
  say(proxy.down, "first\nsecond\nthi");
  CHECK_EQ(proxy.read(proxy.up, 10), "second\nthi");
  say(proxy.down, "rd\n");
  CHECK_EQ(proxy.read(proxy.up, 3), "rd\n");
  say(proxy.up, "back\n");
  CHECK_EQ(proxy.read(proxy.down, 5), "back\n");
  CHECK_EQ(proxy.js().frames(proxy.a), "first|");
  CHECK_EQ(proxy.js().frames(proxy.b), "");
  CHECK_EQ(proxy.reactor().counters().piped.get(), 1u);
}

TEST("pipe: what was received before it, and what waits paused, goes first") {
  Proxy proxy;
  CHECK(proxy.reactor().pause(proxy.a, proxy.ga, Reactor::kOutsideMessage));
  say(proxy.down, "early ");
  say(proxy.up, "banner ");
  proxy.turns(10);
  proxy.join();
  say(proxy.down, "late");
  CHECK_EQ(proxy.read(proxy.up, 10), "early late");
  CHECK_EQ(proxy.read(proxy.down, 7), "banner ");
}

TEST("pipe: who does not read stops the other, and not the way back") {
  Proxy proxy;
  proxy.join();
  shrinkSendBuffer(proxy.down.get(), 1 << 16);
  const std::string much = pattern(12 << 20);
  size_t sent = 0;
  const auto feed = [&] {
    for (;;) {
      const ssize_t more = ::send(proxy.down.get(), much.data() + sent, much.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (more <= 0) return;
      sent += static_cast<size_t>(more);
    }
  };
  uint64_t idle = 0, before = 0;
  std::string got;
  Note note([&] { return std::to_string(sent) + " sent, " + std::to_string(got.size()) + " got, idle " + std::to_string(idle); });
  proxy.until([&] {
    feed();
    const uint64_t now = proxy.reactor().counters().bytesRead.get();
    idle = now == before ? idle + 1 : 0;
    before = now;
    return idle > 20 && proxy.reactor().counters().pausesByPeer.get() != 0;
  });
  CHECK(sent < much.size());
  Reactor::Details details;
  CHECK(proxy.reactor().details(proxy.b, proxy.gb, &details));
  CHECK(details.waiting <= (64u << 10) * 2);
  // The other direction goes on meanwhile.
  say(proxy.up, "still here");
  CHECK_EQ(proxy.read(proxy.down, 10), "still here");
  char some[65536];
  proxy.until([&] {
    feed();
    for (;;) {
      const auto more = sock::receive(proxy.up.get(), some, sizeof(some));
      if (!more.ok() || more.value == 0) break;
      got.append(some, more.value);
    }
    return got.size() == much.size();
  });
  CHECK(got == much);
}

TEST("pipe: the end of both, told with their last bytes, closes both with all of those") {
  Proxy proxy;
  CHECK(proxy.reactor().pause(proxy.a, proxy.ga, Reactor::kOutsideMessage));
  CHECK(proxy.reactor().pause(proxy.b, proxy.gb, Reactor::kOutsideMessage));
  say(proxy.down, "request");
  say(proxy.up, "answer");
  CHECK_EQ(::shutdown(proxy.down.get(), SHUT_WR), 0);
  CHECK_EQ(::shutdown(proxy.up.get(), SHUT_WR), 0);
  proxy.turns(3);
  const uint64_t before = shutdowns;
  proxy.join();
  CHECK_EQ(proxy.read(proxy.down, 100), "answer");
  CHECK_EQ(proxy.read(proxy.up, 100), "request");
  proxy.until([&] { return proxy.closed(CloseReason::kEnd) == 2; });
  CHECK_EQ(proxy.open(), 0u);
  CHECK_EQ(shutdowns, before);  // closing says it, too
  // An end, and no reset: nothing that was sent is lost.
  for (const Fd* fd : {&proxy.down, &proxy.up}) {
    const auto pending = sock::pendingError(fd->get());
    CHECK(pending.ok() && pending.value == 0);
  }
}

TEST("pipe: the epoll set hears five times of a pair, from the first to its end, and not more") {
  const uint64_t before = setChanges;
  Proxy proxy;
  proxy.join();
  say(proxy.down, "request");
  CHECK_EQ(proxy.read(proxy.up, 7), "request");
  say(proxy.up, "answer");
  proxy.up.reset();
  CHECK_EQ(proxy.read(proxy.down, 6), "answer");
  proxy.down.reset();
  proxy.until([&] { return proxy.closed(CloseReason::kEnd) == 2; });
  // And twice of the reactor's own: its mailbox and its listener.
  CHECK(setChanges - before <= 5 + 2);
}

TEST("pipe: half-close goes through, and the end is the end of both") {
  Proxy proxy;
  proxy.join();
  say(proxy.down, "request");
  CHECK_EQ(::shutdown(proxy.down.get(), SHUT_WR), 0);
  CHECK_EQ(proxy.read(proxy.up, 100), "request");
  proxy.turns(5);
  CHECK_EQ(proxy.open(), 2u);
  say(proxy.up, "answer");
  proxy.up.reset();
  CHECK_EQ(proxy.read(proxy.down, 100), "answer");
  proxy.until([&] { return proxy.closed(CloseReason::kEnd) == 2; });
  CHECK_EQ(proxy.open(), 0u);
  proxy.turns(2);
  CHECK(proxy.js().saw(std::to_string(proxy.a) + " close end"));
  CHECK(proxy.js().saw(std::to_string(proxy.b) + " close end"));
}

TEST("pipe: a peer that had finished before it was piped is told of") {
  Proxy proxy;
  CHECK(proxy.reactor().pause(proxy.a, proxy.ga, Reactor::kOutsideMessage));
  say(proxy.down, "all of it");
  CHECK_EQ(::shutdown(proxy.down.get(), SHUT_WR), 0);
  proxy.turns(5);
  proxy.join();
  CHECK_EQ(proxy.read(proxy.up, 100), "all of it");
}

TEST("pipe: a reset is passed on as one, behind what came before it") {
  // Two of TCP: a Unix path knows no reset.
  Proxy proxy;
  const Listener second;
  const uint32_t slot = proxy.connected(proxy.begin(second.address, 0, nullptr, client(kHookClose)));
  const Fd far = accepted(second.fd.get());
  CHECK(proxy.reactor().pipe(proxy.b, proxy.gb, Reactor::kOutsideMessage, slot, proxy.generation, Reactor::kOutsideMessage) ==
        Reactor::Piped::kDone);
  say(far, "never read");
  proxy.until([&] { return isReady(proxy.up.get(), POLLIN, 0); });
  say(proxy.up, "413\n");
  must(sock::setLingerReset(proxy.up.get()));
  proxy.up.reset();
  CHECK_EQ(proxy.read(far, 4), "413\n");
  proxy.until([&] { return proxy.closed(CloseReason::kReset) == 2; });
  char byte;
  CHECK_EQ(sock::receive(far.get(), &byte, 1).error, ECONNRESET);
}

TEST("pipe: a reset behind the end of the stream cuts nothing off") {
  Proxy proxy;
  proxy.join();
  // More than the client's buffers take, and no more than ours and the kernel's do.
  shrinkSendBuffer(proxy.up.get(), 1 << 20);
  const std::string much = pattern(280 << 10);
  size_t sent = 0;
  int unread = 1;
  proxy.until([&] {
    const ssize_t more = ::send(proxy.up.get(), much.data() + sent, much.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (more > 0) sent += static_cast<size_t>(more);
    CHECK_EQ(::ioctl(proxy.up.get(), SIOCOUTQ, &unread), 0);
    return sent == much.size() && unread == 0;
  });
  proxy.up.reset();
  say(proxy.down, "too late");
  proxy.until([&] { return proxy.closed(CloseReason::kReset) == 1; });
  CHECK(proxy.read(proxy.down, much.size()) == much);
  CHECK_EQ(proxy.read(proxy.down, 1), "");
  proxy.down.reset();
  proxy.until([&] { return proxy.open() == 0; });
}

TEST("pipe: end and destroy of one are those of the other") {
  for (const bool destroy : {false, true}) {
    Proxy proxy;
    proxy.join();
    (void)proxy.reactor().write(proxy.a, proxy.ga, spanOf("last words"), Reactor::Place::kBetween);
    if (destroy) {
      CHECK(proxy.reactor().destroy(proxy.b, proxy.gb, CloseReason::kDestroyed));
    } else {
      CHECK(proxy.reactor().end(proxy.b, proxy.gb, Reactor::Place::kBetween));
    }
    CHECK_EQ(proxy.read(proxy.down, 100), "last words");
    CHECK_EQ(::shutdown(proxy.down.get(), SHUT_WR), 0);
    CHECK_EQ(proxy.read(proxy.up, 100), "");
    proxy.up.reset();
    const CloseReason reason = destroy ? CloseReason::kDestroyed : CloseReason::kEnd;
    proxy.until([&] { return proxy.closed(reason) == 2; });
    CHECK_EQ(proxy.open(), 0u);
  }
}

TEST("pipe: one that ends in the hook that has piped it, while a frame that came in pieces is with the hook") {
  for (const bool destroy : {false, true}) {
    Proxy proxy(kHookMessage | kHookClose);
    proxy.js().hook = [&](const EventRow& row, std::string_view frame) {
      if (frame != "first") return;
      CHECK(proxy.reactor().pipe(proxy.a, proxy.ga, row.d, proxy.b, proxy.gb, Reactor::kOutsideMessage) == Reactor::Piped::kDone);
      proxy.js().stop(row);
      if (destroy) {
        CHECK(proxy.reactor().destroy(proxy.b, proxy.gb, CloseReason::kDestroyed));
      } else {
        CHECK(proxy.reactor().end(proxy.b, proxy.gb, Reactor::Place::kBetween));
      }
    };
    say(proxy.down, "fir");
    Reactor::Details details{};
    proxy.until([&] { return proxy.reactor().details(proxy.a, proxy.ga, &details) && details.bytesRead == 3; });
    say(proxy.down, "st\nsecond\nthi");
    CHECK_EQ(proxy.read(proxy.down, 100), "");
    proxy.down.reset();
    proxy.up.reset();
    proxy.until([&] { return proxy.open() == 0; });
    CHECK_EQ(proxy.js().frames(proxy.a), "first|");
    CHECK_EQ(proxy.closed(destroy ? CloseReason::kDestroyed : CloseReason::kEnd), 2u);
  }
}

TEST("pipe: silence closes both, and bytes in one direction are none") {
  ListenerConfig config;
  config.idleMs = 60;
  Proxy proxy(kHookClose, config);
  proxy.join();
  const uint64_t end = monotonicMs() + 200;
  proxy.until([&] {
    (void)::send(proxy.down.get(), "x", 1, MSG_NOSIGNAL);
    (void)received(proxy.up.get());
    return monotonicMs() >= end;
  });
  CHECK_EQ(proxy.open(), 2u);
  proxy.until([&] { return proxy.closed(CloseReason::kIdleTimeout) == 1; });
  CHECK_EQ(proxy.read(proxy.down, 1), "");
  proxy.down.reset();
  proxy.until([&] { return proxy.closed(CloseReason::kIdleTimeout) == 2; });
}

TEST("pipe: goes on when the thread dies, and without any") {
  Proxy proxy;
  proxy.join();
  proxy.leave();
  say(proxy.down, "meanwhile ");
  proxy.takeOver(true);
  say(proxy.down, "and later");
  CHECK_EQ(proxy.read(proxy.up, 19), "meanwhile and later");
  say(proxy.up, "yes");
  CHECK_EQ(proxy.read(proxy.down, 3), "yes");
  CHECK(proxy.js().saw(std::to_string(proxy.a) + " restore"));
  proxy.up.reset();
  proxy.down.reset();
  proxy.until([&] { return proxy.open() == 0; });
  CHECK(!proxy.js().saw(std::to_string(proxy.b) + " close end"));
}

TEST("pipe: a reload does not stop it") {
  Proxy proxy;
  proxy.join();
  proxy.reactor().quiesce();
  proxy.until([&] { return proxy.js().saw("0 quiet"); });
  say(proxy.up, "through");
  CHECK_EQ(proxy.read(proxy.down, 7), "through");
  proxy.leave();
  proxy.takeOver(false);
  say(proxy.up, " and through");
  CHECK_EQ(proxy.read(proxy.down, 12), " and through");
}

TEST("pipe: a reactor that closes waits for it, and for nothing else") {
  Proxy proxy;
  proxy.join();
  proxy.reactor().drain(1000);
  proxy.turns(50);
  say(proxy.down, "request");
  CHECK_EQ(proxy.read(proxy.up, 7), "request");
  CHECK(!proxy.js().saw("0 drained"));
  proxy.down.reset();
  proxy.up.reset();
  proxy.until([&] { return proxy.js().saw("0 drained"); });
}

TEST("pipe: refuses what cannot be piped") {
  Proxy proxy;
  const auto pipe = [&](uint32_t a, uint32_t ga, uint32_t b, uint32_t gb) {
    return proxy.reactor().pipe(a, ga, Reactor::kOutsideMessage, b, gb, Reactor::kOutsideMessage);
  };
  CHECK(pipe(proxy.a, proxy.ga, proxy.a, proxy.ga) == Reactor::Piped::kBusy);
  CHECK(pipe(proxy.a, proxy.ga + 1, proxy.b, proxy.gb) == Reactor::Piped::kGone);
  uint64_t sequence;
  CHECK(proxy.reactor().defer(proxy.a, proxy.ga, &sequence));
  CHECK(pipe(proxy.a, proxy.ga, proxy.b, proxy.gb) == Reactor::Piped::kBusy);
  CHECK(proxy.reactor().settleDeferred(proxy.a, proxy.ga, sequence, {}, Reply::kLast) == Reactor::WriteResult::kBelowHigh);
  proxy.join();
  CHECK(pipe(proxy.b, proxy.gb, proxy.a, proxy.ga) == Reactor::Piped::kBusy);
  CHECK(!proxy.reactor().moveTo(proxy.a, proxy.ga, 0, Reactor::kOutsideMessage));
  CHECK(proxy.reactor().end(proxy.a, proxy.ga, Reactor::Place::kBetween));
  CHECK(pipe(proxy.a, proxy.ga, proxy.b, proxy.gb) != Reactor::Piped::kDone);
}

}  // namespace mr::test
