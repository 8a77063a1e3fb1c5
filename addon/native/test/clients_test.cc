// Connections that a reactor makes, until they are open.
#include "reactor/clients.h"

#include <sys/epoll.h>

#include "reactor/framings.h"
#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

ExchangeOptions oneConnection() {
  ExchangeOptions options;
  options.reactors = 1;
  options.admission.connections = 1;
  return options;
}

struct Fixture {
  Fd listener = must(sock::bindStream(loopback(), {}));
  bool listens = (must(sock::listen(listener.get(), 16)), true);
  Address address = must(sock::localAddress(listener.get()));
  Exchange exchange{oneConnection()};
  Epoll epoll{16};
  ReactorCounters counters;
  ClientProfiles profiles;
  Clients clients{exchange, epoll, counters, profiles, 1'000};
  ListenerConfig config;

  uint32_t connect(uint32_t timeoutMs = 0) {
    CHECK(exchange.admission().enter());
    return must(clients.connect(address, nullptr, config, 3, 1'000, timeoutMs));
  }
};

}  // namespace

TEST("an attempt that succeeds is told once, with its socket and its profile") {
  Fixture fixture;
  const uint32_t request = fixture.connect();
  CHECK_EQ(fixture.clients.connecting(), size_t{1});
  CHECK_EQ(fixture.counters.connecting.get(), uint64_t{1});
  CHECK(isReady(fixture.epoll.fd(), POLLIN, kPatienceMs));
  int told = 0;
  const auto ended = [&](Connector::Ended one) {
    ++told;
    CHECK_EQ(one.error, 0);
    CHECK(one.attempt.fd.valid());
    CHECK_EQ(fixture.clients.framing(one.attempt.profile), uint16_t{3});
    fixture.clients.opened();
    fixture.clients.forgotten(one.attempt.profile);
  };
  fixture.clients.finish(request, EPOLLOUT, ended);
  fixture.clients.finish(request, EPOLLOUT, ended);
  CHECK_EQ(told, 1);
  CHECK_EQ(fixture.counters.connecting.get(), uint64_t{0});
  CHECK_EQ(fixture.counters.connected.get(), uint64_t{1});
  CHECK_EQ(fixture.clients.open(), 0u);
}

TEST("one that is cancelled gives its place back, and is told to nobody") {
  Fixture fixture;
  const uint32_t request = fixture.connect();
  CHECK(!fixture.exchange.admission().enter());
  CHECK(fixture.clients.cancel(request));
  CHECK(!fixture.clients.cancel(request));
  CHECK_EQ(fixture.counters.connecting.get(), uint64_t{0});
  CHECK(fixture.exchange.admission().enter());
}

TEST("one that cannot begin gives its place back") {
  Fixture fixture;
  CHECK(fixture.exchange.admission().enter());
  const auto begun = fixture.clients.connect(fixture.address, nullptr, fixture.config, Framings::kNone, 1'000, 0);
  CHECK_EQ(begun.error, ENOBUFS);
  CHECK_EQ(fixture.counters.connectFailures.get(), uint64_t{1});
  CHECK(fixture.exchange.admission().enter());
}

TEST("what has failed, and what is cancelled with all others, is told with its error") {
  Fixture fixture;
  fixture.connect(10);
  int told = 0;
  const auto ended = [&](Connector::Ended one) {
    ++told;
    CHECK(one.error != 0);
    fixture.clients.failed(one);
  };
  fixture.clients.cancelAll(ended);
  fixture.clients.cancelAll(ended);
  CHECK_EQ(told, 1);
  CHECK(fixture.exchange.admission().enter());
  CHECK_EQ(fixture.counters.connectFailures.get(), uint64_t{1});
}

TEST("settings of one client change, and those of others stay") {
  Fixture fixture;
  const uint32_t request = fixture.connect();
  CHECK(isReady(fixture.epoll.fd(), POLLIN, kPatienceMs));
  uint16_t profile = 0;
  fixture.clients.finish(request, EPOLLOUT, [&](Connector::Ended one) { profile = one.attempt.profile; });
  ListenerConfig other = fixture.config;
  other.idleMs = 4711;
  const uint16_t next = fixture.clients.change(profile, other);
  CHECK(next != ClientProfiles::kNone);
  CHECK_EQ(fixture.clients.config(next).idleMs, 4711u);
  CHECK_EQ(fixture.clients.framing(next), uint16_t{3});
}
