// Listening sockets of a reactor: watched, left alone, emptied, given back.
#include "reactor/acceptors.h"

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

struct Fixture {
  Fixture() { acceptors.add(fresh(), nowMs); }
  Acceptor fresh() {
    group = must(ListenerGroup::open(loopback(), {}));
    Acceptor acceptor;
    acceptor.fd = group->take(0);
    acceptor.group = group;
    return acceptor;
  }
  bool isWatched() {
    const Fd peer = connected(group->address());
    const bool told = !epoll.wait(0).empty();
    if (acceptors[0].fd.valid()) (void)sock::accept(acceptors[0].fd.get());
    return told;
  }

  std::shared_ptr<ListenerGroup> group;
  Epoll epoll{16};
  Acceptors acceptors{epoll};
  uint64_t nowMs = 1'000;
};

}  // namespace

TEST("a listening socket is watched, until it is disarmed, and again when its time has come") {
  Fixture fixture;
  CHECK(fixture.isWatched());
  fixture.acceptors.armAgainAt(0, 1'100);
  CHECK(!fixture.isWatched());
  CHECK_EQ(fixture.acceptors.nextMs(), uint64_t{1'100});
  fixture.acceptors.arm(0, 1'100);
  CHECK(fixture.isWatched());
  CHECK_EQ(fixture.acceptors.nextMs(), UINT64_MAX);
}

TEST("one that is emptied is quiet after its time, unless it waits for descriptors") {
  Fixture fixture;
  CHECK(!fixture.acceptors.isQuiet(0, 5'000));
  fixture.acceptors.empty(0, 1'000, 50);
  CHECK(!fixture.acceptors.isQuiet(0, 1'049));
  CHECK(fixture.acceptors.isQuiet(0, 1'050));
  CHECK_EQ(fixture.acceptors.nextMs(), uint64_t{1'050});
  fixture.acceptors.armAgainAt(0, 1'200);
  CHECK(!fixture.acceptors.isQuiet(0, 1'300));
  CHECK_EQ(fixture.acceptors.nextMs(), uint64_t{1'200});
}

TEST("one that is given back is watched no more, and its place stays empty") {
  Fixture fixture;
  CHECK(fixture.acceptors.any());
  fixture.acceptors.giveBack(0);
  CHECK(!fixture.acceptors.any());
  CHECK(!fixture.acceptors[0].group);
  CHECK_EQ(fixture.acceptors.size(), 1u);
  fixture.acceptors.arm(0, 2'000);
  fixture.acceptors.giveBack(0);
  CHECK_EQ(fixture.acceptors.nextMs(), UINT64_MAX);
}

TEST("one that goes to a sibling keeps its settings") {
  Fixture fixture;
  fixture.acceptors.empty(0, 1'000, 50);
  const Acceptor taken = fixture.acceptors.take(0);
  CHECK(taken.fd.valid());
  CHECK(!taken.armed);
  CHECK(taken.emptying);
  CHECK_EQ(taken.quietMs, 50u);
  CHECK(!fixture.acceptors.any());
}
