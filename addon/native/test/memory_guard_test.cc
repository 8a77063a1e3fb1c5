// When a reactor looks at the memory of the process, and who gives some back.
#include "reactor/memory_guard.h"

#include <vector>

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr uint64_t kLimit = 64 << 20;
constexpr size_t kMiB = 1 << 20;

ExchangeOptions limited() {
  ExchangeOptions options;
  options.reactors = 1;
  options.maxMemoryBytes = kLimit;
  return options;
}

struct Fixture {
  ~Fixture() {
    for (uint32_t slot = 0; slot < table.highest(); ++slot) table.at(slot).fd.reset();
  }
  // A connection that holds so much.
  uint32_t open(size_t bytes) {
    const uint32_t slot = table.open();
    Connection& connection = table.at(slot);
    connection.fd = must(sock::connect(listening));
    connection.accounted = bytes;
    return slot;
  }

  Fd listener = must(sock::bindStream(loopback(), {}));
  bool listens = (must(sock::listen(listener.get(), 16)), true);
  Address listening = must(sock::localAddress(listener.get()));
  Exchange exchange{limited()};
  ConnectionTable table{1};
  MemoryGuard guard{exchange};
  uint64_t nowMs = 1'000'000;
};

}  // namespace

TEST("memory is looked at when a MiB more is buffered, received or in the mailbox, and not before") {
  Fixture fixture;
  fixture.exchange.publishBuffered(0, 2 * kLimit);  // it would find something to do
  CHECK_EQ(fixture.guard.look({kMiB - 1, kMiB - 1, kMiB - 1}, fixture.nowMs), size_t{0});
  CHECK_EQ(fixture.guard.look({0, 0, kMiB}, fixture.nowMs), MemoryGuard::kMostShed);
  Fixture received;
  received.exchange.publishBuffered(0, 2 * kLimit);
  CHECK_EQ(received.guard.look({0, kMiB, 0}, received.nowMs), MemoryGuard::kMostShed);
}

TEST("a reactor goes on shedding while it finds something, and stops when it does not") {
  Fixture fixture;
  fixture.exchange.publishBuffered(0, 2 * kLimit);
  CHECK_EQ(fixture.guard.look({2 * kMiB, 0, 0}, fixture.nowMs), MemoryGuard::kMostShed);
  fixture.guard.shed(1);
  CHECK_EQ(fixture.guard.look({2 * kMiB, 0, 0}, fixture.nowMs), MemoryGuard::kMostShed);
  fixture.guard.shed(0);
  CHECK(fixture.guard.nextLookMs() > fixture.nowMs);
  CHECK_EQ(fixture.guard.look({2 * kMiB, 0, 0}, fixture.nowMs), size_t{0});
  CHECK_EQ(fixture.guard.look({2 * kMiB, 0, 0}, fixture.guard.nextLookMs()), MemoryGuard::kMostShed);
}

TEST("where there is enough memory nothing is shed, and input is not refused") {
  Fixture fixture;
  CHECK_EQ(fixture.guard.look({2 * kMiB, 0, 0}, fixture.nowMs), size_t{0});
  CHECK_EQ(fixture.guard.nextLookMs(), uint64_t{0});
  CHECK(!fixture.guard.refusesInput(fixture.nowMs));
}

TEST("the connection that holds most goes first, with those that hold nearly as much, and others stay") {
  Fixture fixture;
  fixture.open(10 * kMiB);
  const uint32_t largest = fixture.open(40 * kMiB), second = fixture.open(30 * kMiB);
  fixture.open(0);
  fixture.exchange.publishBuffered(0, kLimit + 60 * kMiB);
  CHECK(fixture.guard.largest(fixture.table, 64, {}) == std::vector<uint32_t>({largest, second}));
  CHECK(fixture.guard.largest(fixture.table, 1, {}) == std::vector<uint32_t>({largest}));
  // The first gives back enough.
  fixture.exchange.publishBuffered(0, kLimit + 1);
  CHECK(fixture.guard.largest(fixture.table, 64, {}) == std::vector<uint32_t>({largest}));
}

TEST("what a connection is about to hold counts as its own") {
  Fixture fixture;
  fixture.open(10 * kMiB);
  const uint32_t claims = fixture.open(kMiB);
  fixture.exchange.publishBuffered(0, kLimit);
  CHECK(fixture.guard.largest(fixture.table, 64, {claims, 20 * kMiB}) == std::vector<uint32_t>({claims}));
}
