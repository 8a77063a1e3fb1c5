// Fresh connections find their reactor before anything of them is read.
#include <thread>

#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

using Policy = Balance::Policy;

ListenerConfig balanced(Policy policy, bool toPool = true) {
  ListenerConfig config = lines(toPool);
  config.balance = policy;
  return config;
}

ExchangeOptions withRoom(const AdmissionLimits& limits) {
  ExchangeOptions options;
  options.maxReactors = 8;
  options.admission = limits;
  return options;
}

// Reactors that all listen on one port of loopback, with or without PROXY headers.
struct Ports {
  Ports(const ListenerConfig& config, uint32_t count, bool proxied = false, AdmissionLimits limits = {})
      : reactors(config, count, withRoom(limits)) {
    ListenerOptions options{.members = static_cast<int>(count)};
    if (proxied) options.proxyFrom = std::make_shared<const CidrSet>(must(CidrSet::parse({"127.0.0.0/8"})));
    const auto group = must(ListenerGroup::open(loopback(), options));
    address = group->address();
    for (uint32_t i = 0; i < count; ++i) reactors.reactor(i).listen(0, group, static_cast<int>(i), false);
  }
  // From an address of its own: all of 127.0.0.0/8 is loopback.
  Fd from(const std::string& host) {
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const Address local = must(Address::inet(host, 0));
    CHECK_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&local.storage), local.length), 0);
    CHECK_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length), 0);
    (void)must(sock::makeOurs(fd.get()));
    return fd;
  }
  uint32_t total() {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < reactors.reactors.size(); ++i) sum += reactors.open(i);
    return static_cast<uint32_t>(sum);
  }
  // The reactor that has one more than `before` says.
  uint32_t grown(const std::vector<uint64_t>& before) {
    for (uint32_t i = 0; i < before.size(); ++i) {
      if (reactors.open(i) != before[i]) return i;
    }
    return UINT32_MAX;
  }
  std::vector<uint64_t> opens() {
    std::vector<uint64_t> all;
    for (uint32_t i = 0; i < reactors.reactors.size(); ++i) all.push_back(reactors.open(i));
    return all;
  }
  uint64_t sum(Counter ReactorCounters::*counter) {
    uint64_t all = 0;
    for (uint32_t i = 0; i < reactors.reactors.size(); ++i) all += (reactors.reactor(i).counters().*counter).get();
    return all;
  }
  // The counts of the balance are those of the reactors.
  void checkCounts() {
    for (uint32_t i = 0; i < reactors.reactors.size(); ++i) CHECK_EQ(reactors.exchange->balance().of(i), reactors.open(i));
    CHECK_EQ(reactors.admitted(), total());
  }

  Reactors reactors;
  Address address;
};

std::string proxyLine(const std::string& source) { return "PROXY TCP4 " + source + " 10.0.0.1 4711 7000\r\n"; }

}  // namespace

TEST("least-connections: 2 to 50 connections on 4 reactors differ by at most one, while they open") {
  Ports ports(balanced(Policy::kLeastConnections), 4);
  std::vector<Fd> clients;
  for (uint32_t count = 1; count <= 50; ++count) {
    clients.push_back(ports.from("127.0.0.1"));
    ports.reactors.until([&] { return ports.total() == count; });
    const std::vector<uint64_t> opens = ports.opens();
    CHECK(*std::max_element(opens.begin(), opens.end()) - *std::min_element(opens.begin(), opens.end()) <= 1);
  }
  CHECK_EQ(ports.sum(&ReactorCounters::accepted), 50u);
  ports.checkCounts();
  // Each of them is served where it is.
  say(clients.front(), "x\n");
  ports.reactors.echo(ports.reactors.task());
  CHECK_EQ(ports.reactors.read(clients.front(), 2), "x\n");
  clients.clear();
  ports.reactors.until([&] { return ports.total() == 0; });
  ports.checkCounts();
}

TEST("least-connections: reactors that accept at the same time on threads of their own agree") {
  constexpr uint32_t kReactors = 4, kConnections = 50;
  for (int round = 0; round < 10; ++round) {
    Ports ports(balanced(Policy::kLeastConnections), kReactors);
    for (uint32_t i = 0; i < kReactors; ++i) ports.reactors.leave(i);
    std::vector<Fd> clients;
    for (uint32_t i = 0; i < kConnections; ++i) clients.push_back(ports.from("127.0.0.1"));
    std::atomic<bool> going{true};
    std::vector<std::thread> threads;
    for (uint32_t i = 0; i < kReactors; ++i) {
      threads.emplace_back([&, i] {
        Js js;
        CHECK(ports.reactors.reactor(i).attach(&js));
        while (going) ports.reactors.reactor(i).turn(1);
        ports.reactors.reactor(i).detach();
      });
    }
    const bool all = becomes([&] { return ports.total() == kConnections; });
    const std::vector<uint64_t> opens = ports.opens();
    going = false;
    for (std::thread& thread : threads) thread.join();
    CHECK(all);
    CHECK(*std::max_element(opens.begin(), opens.end()) - *std::min_element(opens.begin(), opens.end()) <= 1);
    ports.checkCounts();
  }
}

TEST("least-connections on a Unix path: the one socket's connections are shared out evenly") {
  Reactors server(balanced(Policy::kLeastConnections), 4);
  std::vector<Fd> clients;
  for (int i = 0; i < 10; ++i) clients.push_back(connected(server.address));
  server.until([&] { return server.admitted() == 10; });
  for (uint32_t i = 0; i < 4; ++i) CHECK(server.open(i) == 2 || server.open(i) == 3);
}

TEST("address: one address is always with one reactor, and the addresses are spread") {
  Ports ports(balanced(Policy::kAddress), 4);
  std::vector<Fd> clients;
  std::set<uint32_t> used;
  for (int host = 1; host <= 24; ++host) {
    std::set<uint32_t> owners;
    for (int i = 0; i < 4; ++i) {
      const std::vector<uint64_t> before = ports.opens();
      clients.push_back(ports.from("127.0.1." + std::to_string(host)));
      ports.reactors.until([&] { return ports.grown(before) != UINT32_MAX; });
      owners.insert(ports.grown(before));
    }
    CHECK_EQ(owners.size(), 1u);
    used.insert(*owners.begin());
  }
  CHECK_EQ(used.size(), 4u);
  ports.checkCounts();
}

TEST("address: behind a PROXY header it is the header's, and the bytes behind it go along") {
  Ports ports(balanced(Policy::kAddress), 4, true);
  std::vector<Fd> clients;
  std::set<uint32_t> used;
  for (int host = 1; host <= 16; ++host) {
    const std::string source = "10.1.2." + std::to_string(host);
    std::set<uint32_t> owners;
    for (int i = 0; i < 4; ++i) {
      const uint32_t before = ports.total();
      clients.push_back(ports.from("127.0.0.1"));
      ports.reactors.until([&] { return ports.total() == before + 1; });
      const std::string header = proxyLine(source);
      // The header in two parts, and a line and a half behind it.
      say(clients.back(), header.substr(0, 10));
      ports.reactors.turns(3);
      say(clients.back(), header.substr(10) + "whole\nha");
      const FrameRef first = ports.reactors.task();
      CHECK_EQ(Reactors::bodyOf(first), "whole");
      CHECK_EQ(first.task->header().peer.port, 4711u);
      owners.insert(*ports.reactors.exchange->directory().owner(first.task->header().connection));
      ports.reactors.echo(first);
      say(clients.back(), "lf\n");
      const FrameRef second = ports.reactors.task();
      CHECK_EQ(Reactors::bodyOf(second), "half");
      ports.reactors.echo(second);
      CHECK_EQ(ports.reactors.read(clients.back(), 11), "whole\nhalf\n");
    }
    CHECK_EQ(owners.size(), 1u);
    used.insert(*owners.begin());
  }
  CHECK_EQ(used.size(), 4u);
  CHECK_EQ(ports.sum(&ReactorCounters::accepted), clients.size());
  CHECK(ports.sum(&ReactorCounters::handedOver) > 0);
  ports.checkCounts();
  clients.clear();
  ports.reactors.until([&] { return ports.total() == 0; });
  ports.checkCounts();
  CHECK_EQ(ports.sum(&ReactorCounters::buffered), 0u);
}

TEST("address: the limit of one address is exact when its connections are handed over") {
  Ports ports(balanced(Policy::kAddress), 4, true, {.connections = 40, .perAddress = 3});
  std::vector<Fd> clients;
  for (int i = 0; i < 8; ++i) {
    clients.push_back(ports.from("127.0.0.1"));
    say(clients.back(), proxyLine("10.1.2.3") + "x\n");
  }
  ports.reactors.until([&] {
    uint64_t refused = 0;
    for (uint32_t i = 0; i < 4; ++i) refused += ports.reactors.closed(CloseReason::kAddressLimit, i);
    return refused == 5 && ports.total() == 3;
  });
  ports.reactors.turns(3);
  CHECK_EQ(ports.total(), 3u);
  ports.checkCounts();
  for (int i = 0; i < 3; ++i) ports.reactors.echo(ports.reactors.task());
  clients.clear();
  ports.reactors.until([&] { return ports.total() == 0; });
  // No connection is left in the count: three more may come.
  for (int i = 0; i < 3; ++i) {
    clients.push_back(ports.from("127.0.0.1"));
    say(clients.back(), proxyLine("10.1.2.3") + "y\n");
    ports.reactors.echo(ports.reactors.task());
  }
  ports.checkCounts();
}

TEST("least-connections: what the process has no room for is refused where it was sent, and counted nowhere") {
  Ports ports(balanced(Policy::kLeastConnections), 4, false, {.connections = 5});
  std::vector<Fd> clients;
  for (int i = 0; i < 12; ++i) clients.push_back(ports.from("127.0.0.1"));
  ports.reactors.until([&] { return ports.sum(&ReactorCounters::accepted) == 12; });
  CHECK_EQ(ports.total(), 5u);
  ports.checkCounts();
}

TEST("app: a fresh connection waits for the answer, and nothing of it is read before") {
  Reactors server(balanced(Policy::kApp, false), 3);
  std::vector<EventRow> asked;
  server.js(0).hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kBalance) asked.push_back(row);
  };
  const Fd a = connected(server.address), b = connected(server.address);
  say(a, "a1\n");
  say(b, "b1\n");
  server.until([&] { return asked.size() == 2; });
  server.turns(3);
  CHECK_EQ(server.js(0).all("0 "), "balance|");
  CHECK_EQ(server.reactor(0).counters().bytesRead.get(), 0u);
  CHECK(server.reactor(0).assign(asked[0].slot, asked[0].generation, 2));
  server.until([&] { return server.js(2).saw("0 frame a1"); });
  CHECK_EQ(server.js(2).all("0 "), "open|frame a1|");
  // No such reactor, and one that takes none: asked again with its own.
  server.exchange->setActive(1, false);
  for (const uint32_t wrong : {1u, 3u, UINT32_MAX}) CHECK(!server.reactor(0).assign(asked[1].slot, asked[1].generation, wrong));
  CHECK(server.reactor(0).assign(asked[1].slot, asked[1].generation, 0));
  server.until([&] { return server.js(0).saw("1 frame b1"); });
  CHECK_EQ(server.js(0).all("1 "), "balance|open|frame b1|");
  CHECK_EQ(server.open(0), 1u);
  CHECK_EQ(server.open(2), 1u);
  CHECK_EQ(server.admitted(), 2u);
  CHECK_EQ(server.exchange->balance().of(0), 1u);
}

TEST("app: whoever waits for an answer when the thread dies is asked about again") {
  Reactors server(balanced(Policy::kApp, false), 2);
  server.js(0).diesBefore = "0 balance";
  const Fd a = connected(server.address);
  say(a, "a1\n");
  server.until([&] { return server.js(0).dead; });
  server.leave();
  server.takeOver(true);
  server.js(0).hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kBalance) CHECK(server.reactor(0).assign(row.slot, row.generation, 1));
  };
  server.until([&] { return server.js(1).saw("0 frame a1"); });
  CHECK_EQ(server.js(0).all("0 "), "balance|");
  CHECK_EQ(server.admitted(), 1u);
}

TEST("app: whoever waits for an answer when the server drains is served where it is") {
  Reactors server(balanced(Policy::kApp, false), 2);
  const Fd a = connected(server.address);
  say(a, "a1\n");
  server.until([&] { return server.js(0).saw("0 balance"); });
  server.reactor(0).drain(1'000);
  server.reactor(1).drain(1'000);
  server.until([&] { return server.js(0).saw("0 frame a1"); });
  CHECK_EQ(server.read(a, 1), "");
}

TEST("a connection that waits for its PROXY header opens once, also when its reactor gets another thread or retires") {
  for (const bool retires : {false, true}) {
    Ports ports(balanced(Policy::kKernel, false), 2, true);
    const Fd a = ports.from("127.0.0.1");
    ports.reactors.until([&] { return ports.total() == 1; });
    const uint32_t at = ports.reactors.open(0) == 1 ? 0 : 1;
    say(a, "PROXY TCP4 10.1.2.3 ");
    ports.reactors.turns(3);
    if (retires) {
      ports.reactors.exchange->setActive(at, false);
      ports.reactors.reactor(at).retire(false);
      ports.reactors.until([&] { return ports.reactors.open(1 - at) == 1; });
    } else {
      ports.reactors.leave(at);
      ports.reactors.takeOver(true, at);
    }
    const uint32_t now = retires ? 1 - at : at;
    ports.reactors.turns(3);
    CHECK_EQ(ports.reactors.js(now).all("0 "), "");
    say(a, "10.0.0.1 4711 7000\r\na1\n");
    ports.reactors.until([&] { return ports.reactors.js(now).saw("0 frame a1"); });
    CHECK_EQ(ports.reactors.js(now).all("0 "), "open|frame a1|");
  }
}

TEST("a retiring reactor's connections go where their listener's policy says") {
  Ports least(balanced(Policy::kLeastConnections), 4);
  std::vector<Fd> clients;
  for (int i = 0; i < 16; ++i) clients.push_back(least.from("127.0.0.1"));
  least.reactors.until([&] { return least.total() == 16; });
  least.reactors.exchange->setActive(3, false);
  least.reactors.reactor(3).retire(false);
  least.reactors.until([&] { return least.total() == 16 && least.reactors.open(3) == 0; });
  for (uint32_t i = 0; i < 3; ++i) CHECK(least.reactors.open(i) == 5 || least.reactors.open(i) == 6);
  least.checkCounts();

  Ports address(balanced(Policy::kAddress), 4);
  std::vector<Fd> peers;
  for (int host = 1; host <= 32; ++host) peers.push_back(address.from("127.0.1." + std::to_string(host)));
  address.reactors.until([&] { return address.total() == 32; });
  address.reactors.exchange->setActive(3, false);
  address.reactors.reactor(3).retire(false);
  address.reactors.until([&] { return address.total() == 32 && address.reactors.open(3) == 0; });
  // A new connection from one of these addresses finds its first connection there.
  std::vector<uint64_t> expected(4);
  for (int host = 1; host <= 32; ++host) {
    Peer peer;
    peer.family = Peer::Family::kInet4;
    peer.bytes = {127, 0, 1, static_cast<uint8_t>(host)};
    ++expected[address.reactors.exchange->balance().ownerOf(addressKey(peer))];
  }
  CHECK(address.opens() == expected);
  address.checkCounts();
}

TEST("a reactor has not drained while a connection is on its way to it") {
  Reactors server(balanced(Policy::kLeastConnections), 2);
  // As if a sibling had chosen it, and were stopped before it sent the connection.
  CHECK(server.exchange->balance().tryEnter(1));
  server.reactor(1).drain(1'000);
  server.turns(5);
  CHECK(!server.js(1).saw("0 drained"));
  Pair fresh = unixPair();
  say(fresh.far, "late\n");
  server.exchange->mailbox(1).send(std::make_unique<Handover>(std::move(fresh.near), Peer{}, 0, Handover::State::kNew));
  server.echo(server.task());
  CHECK_EQ(server.read(fresh.far, 5), "late\n");
  fresh.far.reset();
  server.until([&] { return server.js(1).saw("0 drained"); });
  // It gets no more connections.
  CHECK(!server.exchange->balance().tryEnter(1));
}
