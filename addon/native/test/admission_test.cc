#include "exchange/admission.h"

#include <arpa/inet.h>

#include <memory>
#include <thread>

#include "harness.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

Peer peer(const char* text) {
  Peer peer;
  if (::inet_pton(AF_INET, text, peer.bytes.data()) == 1) {
    peer.family = Peer::Family::kInet4;
  } else {
    CHECK_EQ(::inet_pton(AF_INET6, text, peer.bytes.data()), 1);
    peer.family = Peer::Family::kInet6;
  }
  return peer;
}

// How many more of them may come in, at most `most`.
uint32_t enters(Admission& admission, const Peer& peer, uint32_t most = 10) {
  uint32_t count = 0;
  while (count < most && admission.enterAddress(peer)) ++count;
  return count;
}

uint32_t accepts(Admission& admission, uint64_t nowNs, uint32_t most = 10'000) {
  uint32_t count = 0;
  while (count < most && admission.takeAccept(nowNs)) ++count;
  return count;
}

}  // namespace

TEST("lets in as many as the process may have, and another one for each that leaves") {
  Admission admission({.connections = 3});
  for (int i = 0; i < 3; ++i) CHECK(admission.enter());
  CHECK(!admission.enter());
  CHECK(!admission.enter());
  CHECK_EQ(admission.connections(), 3u);
  admission.leave();
  CHECK(admission.enter());
  CHECK(!admission.enter());
  Admission none({.connections = 0});
  CHECK(!none.enter());
  CHECK_EQ(none.connections(), 0u);
}

TEST("is exact over many threads, for the process and for each address") {
  constexpr uint32_t kThreads = 4, kLimit = 5, kPerAddress = 2, kRounds = 20'000;
  Admission admission({.connections = kLimit, .perAddress = kPerAddress});
  const Peer peers[] = {peer("10.0.0.1"), peer("10.0.0.2"), peer("2001:db8::1")};
  std::atomic<uint32_t> inside{0}, insideOf[3] = {}, wrong{0}, entered{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t round = 0; round < kRounds; ++round) {
        const uint32_t which = (round + t) % 3;
        if (admission.enter()) {
          if (inside.fetch_add(1) >= kLimit) wrong.fetch_add(1);
          if (admission.enterAddress(peers[which])) {
            entered.fetch_add(1);
            if (insideOf[which].fetch_add(1) >= kPerAddress) wrong.fetch_add(1);
            insideOf[which].fetch_sub(1);
            admission.leaveAddress(peers[which]);
          }
          inside.fetch_sub(1);
          admission.leave();
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(wrong.load(), 0u);
  CHECK(entered.load() > 0);
  CHECK_EQ(admission.connections(), 0u);
  for (const Peer& each : peers) CHECK_EQ(enters(admission, each), kPerAddress);
}

TEST("counts each IPv4 address on its own, whatever the port") {
  Admission admission({.perAddress = 2});
  Peer first = peer("192.0.2.1");
  CHECK_EQ(enters(admission, first), 2u);
  first.port = 4711;
  CHECK(!admission.enterAddress(first));
  CHECK_EQ(enters(admission, peer("192.0.2.2")), 2u);
  CHECK_EQ(enters(admission, peer("193.0.2.1")), 2u);
  admission.leaveAddress(first);
  CHECK_EQ(enters(admission, first), 1u);
}

TEST("counts a mapped IPv4 address as the IPv4 address it is") {
  Admission admission({.perAddress = 2});
  CHECK(admission.enterAddress(peer("192.0.2.1")));
  CHECK(admission.enterAddress(peer("::ffff:192.0.2.1")));
  CHECK(!admission.enterAddress(peer("::ffff:192.0.2.1")));
  CHECK(!admission.enterAddress(peer("192.0.2.1")));
  CHECK_EQ(enters(admission, peer("::ffff:192.0.2.2")), 2u);
  admission.leaveAddress(peer("::ffff:192.0.2.1"));
  CHECK(admission.enterAddress(peer("192.0.2.1")));
}

TEST("counts a /64 of IPv6 as one, and its neighbours as others") {
  Admission admission({.perAddress = 2});
  CHECK(admission.enterAddress(peer("2001:db8:0:1::1")));
  CHECK(admission.enterAddress(peer("2001:db8:0:1:ffff:ffff:ffff:ffff")));
  CHECK(!admission.enterAddress(peer("2001:db8:0:1:8000::")));
  CHECK_EQ(enters(admission, peer("2001:db8:0:2::1")), 2u);
  CHECK_EQ(enters(admission, peer("2001:db8:0:0::1")), 2u);
  // The loopback of IPv6 is no IPv4 address, and has no more bits in common with one than its first half.
  CHECK_EQ(enters(admission, peer("::1")), 2u);
  CHECK_EQ(enters(admission, peer("0.0.0.0")), 2u);
  CHECK_EQ(enters(admission, peer("0.0.0.1")), 2u);
}

TEST("does not count the peers of a Unix path, and keeps out everybody at zero") {
  Admission one({.perAddress = 1});
  CHECK_EQ(enters(one, Peer{}), 10u);
  one.leaveAddress(Peer{});
  Admission none({.perAddress = 0});
  CHECK_EQ(enters(none, peer("192.0.2.1")), 0u);
  CHECK_EQ(enters(none, peer("2001:db8::1")), 0u);
}

TEST("accepts a second's worth at once, then at the rate, and saves up no more than a second") {
  for (const uint32_t rate : {1u, 3u, 100u, 1000u}) {
    Admission admission({.acceptsPerSecond = rate});
    uint64_t now = 7 * kSecond;
    CHECK_EQ(accepts(admission, now), rate);
    CHECK_EQ(accepts(admission, now), 0u);
    now += kSecond / rate;
    CHECK_EQ(accepts(admission, now), 1u);
    now += kSecond / rate / 2;
    CHECK_EQ(accepts(admission, now), 0u);
    now += 50 * kSecond;
    CHECK_EQ(accepts(admission, now), rate);
  }
  Admission free({});
  CHECK_EQ(accepts(free, 1), 10'000u);
}

TEST("an accept that found nobody is given back") {
  Admission admission({.acceptsPerSecond = 10});
  const uint64_t now = 7 * kSecond;
  for (int i = 0; i < 1000; ++i) {
    CHECK(admission.takeAccept(now));
    admission.giveBack();
  }
  CHECK_EQ(accepts(admission, now), 10u);
  admission.giveBack();
  CHECK_EQ(accepts(admission, now), 1u);
}

TEST("the rate is exact over many threads") {
  constexpr uint32_t kThreads = 4, kRate = 500;
  Admission admission({.acceptsPerSecond = kRate});
  std::atomic<uint32_t> accepted{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (uint32_t i = 0; i < 1000; ++i) {
        if (i % 3 == 0 && admission.takeAccept(kSecond)) {
          admission.giveBack();
        } else if (admission.takeAccept(kSecond)) {
          accepted.fetch_add(1);
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(accepted.load() + accepts(admission, kSecond), kRate);
}
