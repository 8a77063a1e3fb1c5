// The kernel gives new connections to the socket of the CPU that receives them; on loopback that is the client's.
#include <thread>

#include "base/cpu.h"
#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

struct Steered {
  explicit Steered(int members) : group(must(ListenerGroup::open(loopback(), {.members = members}))) {
    for (int i = 0; i < members; ++i) sockets.push_back(group->take(i));
  }
  // How many of the connections that a client on this CPU opens each socket gets.
  std::vector<int> from(int cpu, int count) {
    std::vector<Fd> clients;
    std::thread([&] {
      CHECK_EQ(pinThisThread(cpu), 0);
      for (int i = 0; i < count; ++i) clients.push_back(connected(group->address()));
    }).join();
    std::vector<int> got;
    for (const Fd& socket : sockets) {
      got.push_back(0);
      while (sock::accept(socket.get()).ok()) ++got.back();
    }
    return got;
  }
  std::shared_ptr<ListenerGroup> group;
  std::vector<Fd> sockets;
};

}  // namespace

TEST("a connection goes to the socket of the CPU that received it, and to anybody where there is none") {
  const std::vector<int> cpus = allowedCpus();
  CHECK(!cpus.empty());
  const int first = cpus.front(), last = cpus.back();  // the same where there is one
  Steered both(2);
  CHECK_EQ(both.group->steerByCpu({first, last}), 0);
  if (first != last) {
    CHECK(both.from(first, 20) == (std::vector<int>{20, 0}));
    CHECK(both.from(last, 20) == (std::vector<int>{0, 20}));
    // Two sockets of one CPU share its connections, and none is left out.
    CHECK_EQ(both.group->steerByCpu({last, last}), 0);
    const std::vector<int> foreign = both.from(first, 40);
    CHECK(foreign[0] > 0 && foreign[1] > 0);
  }
  CHECK_EQ(both.group->steerByCpu({last, last}), 0);
  const std::vector<int> shared = both.from(last, 40);
  CHECK(shared[0] > 0 && shared[1] > 0);
  CHECK_EQ(shared[0] + shared[1], 40);
}

TEST("a socket that goes is steered away from, whatever CPU receives, and new ones join in") {
  const std::vector<int> cpus = allowedCpus();
  const int first = cpus.front(), last = cpus.back();
  Steered both(2);
  CHECK_EQ(both.group->steerByCpu({first, last}), 0);
  both.group->keepOnly(1);
  both.group->steerAway(both.sockets[1].get());
  CHECK(both.from(last, 20) == (std::vector<int>{20, 0}));
  both.group->giveBack(std::move(both.sockets[1]));
  both.sockets.pop_back();
  CHECK_EQ(both.group->grow(1), 0);
  both.sockets.push_back(both.group->take(2));
  if (first == last) return;
  CHECK_EQ(both.group->steerByCpu({first, last}), 0);
  CHECK(both.from(last, 20) == (std::vector<int>{0, 20}));
  CHECK(both.from(first, 20) == (std::vector<int>{20, 0}));
}

TEST("a program for more sockets than fit is refused, and a thread goes to no CPU that there is not") {
  Steered one(1);
  const std::vector<int> many(1'000, 0);
  CHECK_EQ(sock::steer(one.sockets[0].get(), 1'000, many).error, E2BIG);
  CHECK_EQ(pinThisThread(-1), EINVAL);
  CHECK_EQ(pinThisThread(8191), EINVAL);
  CHECK_EQ(pinThisThread(1 << 20), EINVAL);
}
