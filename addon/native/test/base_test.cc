#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fatal.h"
#include "base/fd.h"
#include "base/thread_owner.h"
#include "base/waker.h"
#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

bool isOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

Fd anyDescriptor() { return Fd(::open("/dev/null", O_RDONLY | O_CLOEXEC)); }

struct Death {
  bool aborted;
  std::string said;
};

// Runs the deed in a child process, because it is expected to end it.
template <typename Deed>
Death deathBy(Deed&& deed) {
  int ends[2];
  CHECK_EQ(::pipe2(ends, O_CLOEXEC), 0);
  Fd reader(ends[0]), writer(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    const rlimit noCore{0, 0};
    ::setrlimit(RLIMIT_CORE, &noCore);
    ::signal(SIGABRT, SIG_DFL);
    ::dup2(writer.get(), STDERR_FILENO);
    deed();
    ::_exit(0);
  }
  writer.reset();
  Death death{};
  char some[512];
  for (ssize_t got; (got = ::read(reader.get(), some, sizeof(some))) > 0;) death.said.append(some, static_cast<size_t>(got));
  int status = 0;
  CHECK_EQ(::waitpid(child, &status, 0), child);
  death.aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
  return death;
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST("closes a descriptor with its owner") {
  int number;
  {
    const Fd fd = anyDescriptor();
    number = fd.get();
    CHECK(isOpen(number));
  }
  CHECK(!isOpen(number));
}

TEST("moves a descriptor without closing it, and closes what the target held") {
  Fd from = anyDescriptor(), to = anyDescriptor();
  const int moved = from.get(), replaced = to.get();
  to = std::move(from);
  CHECK_EQ(to.get(), moved);
  CHECK(!from.valid());
  CHECK(isOpen(moved));
  CHECK(!isOpen(replaced));
}

TEST("keeps a descriptor that is moved onto itself") {
  Fd fd = anyDescriptor();
  Fd& same = fd;
  fd = std::move(same);
  CHECK(fd.valid() && isOpen(fd.get()));
}

TEST("releases a descriptor to somebody else") {
  Fd fd = anyDescriptor();
  const int number = fd.release();
  CHECK(!fd.valid());
  fd.reset();
  CHECK(isOpen(number));
  ::close(number);
}

TEST("never goes back in time") {
  uint64_t last = monotonicNs();
  for (int i = 0; i < 1000; ++i) {
    const uint64_t now = monotonicNs();
    CHECK(now >= last);
    last = now;
  }
  CHECK(monotonicMs() >= last / 1'000'000);
}

TEST("aborts with function, thread and reason on a broken invariant") {
  const Death death = deathBy([] { fatal("Somewhere::inside", "the reason"); });
  CHECK(death.aborted);
  CHECK(contains(death.said, "Somewhere::inside"));
  CHECK(contains(death.said, "the reason"));
  CHECK(contains(death.said, "thread " + std::to_string(ThreadOwner::currentThread())));
}

TEST("goes on when the invariant holds") {
  CHECK(!deathBy([] { MR_CHECK(1 + 1 == 2, "arithmetic"); }).aborted);
  CHECK(deathBy([] { MR_CHECK(1 + 1 == 3, "arithmetic"); }).aborted);
}

TEST("gives every thread its own number, never 0") {
  std::vector<uint64_t> numbers(8);
  std::vector<std::thread> threads;
  for (uint64_t& number : numbers) threads.emplace_back([&number] { number = ThreadOwner::currentThread(); });
  for (std::thread& thread : threads) thread.join();
  const std::set<uint64_t> distinct(numbers.begin(), numbers.end());
  CHECK_EQ(distinct.size(), numbers.size());
  CHECK(!distinct.contains(0));
  CHECK(!distinct.contains(ThreadOwner::currentThread()));
}

TEST("knows whether the thread that owns it has ended") {
  ThreadOwner owner;
  CHECK(!owner.isLiving());
  bool livingInside = false;
  std::thread([&] {
    CHECK(owner.attach());
    livingInside = owner.isLiving();
  }).join();
  CHECK(livingInside);
  CHECK(!owner.isFree());
  CHECK(!owner.isLiving());
  owner.forceDetach();
  CHECK(owner.attach());
  CHECK(owner.isLiving());
  owner.detach();
}

TEST("belongs to one thread at a time") {
  ThreadOwner owner;
  CHECK(owner.isFree());
  CHECK(owner.attach());
  CHECK(owner.attach());  // again by the same thread
  CHECK(owner.isCurrent());
  bool otherGotIt = true, otherIsCurrent = true;
  std::thread([&] {
    otherGotIt = owner.attach();
    otherIsCurrent = owner.isCurrent();
  }).join();
  CHECK(!otherGotIt);
  CHECK(!otherIsCurrent);
  owner.detach();
  CHECK(owner.isFree());
  std::thread([&] { otherGotIt = owner.attach(); }).join();
  CHECK(otherGotIt);
  CHECK(!owner.attach());  // its thread is dead and could not detach
  owner.forceDetach();
  CHECK(owner.attach());
}

TEST("goes to exactly one of the threads that want it") {
  ThreadOwner owner;
  std::atomic<int> winners{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      if (owner.attach()) ++winners;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK_EQ(winners.load(), 1);
}

TEST("aborts when a thread that is not the owner asserts or detaches") {
  ThreadOwner owner;
  std::thread([&] { CHECK(owner.attach()); }).join();
  const Death asserted = deathBy([&] { owner.assertCurrent("Thing::touch"); });
  CHECK(asserted.aborted);
  CHECK(contains(asserted.said, "Thing::touch"));
  CHECK(deathBy([&] { owner.detach(); }).aborted);
}

TEST("is readable from a wake to the next drain") {
  Waker waker;
  CHECK(!isReady(waker.fd(), POLLIN, 0));
  waker.drain();  // nothing to drain does not block
  waker.wake();
  waker.wake();
  CHECK(isReady(waker.fd(), POLLIN, 0));
  waker.drain();
  CHECK(!isReady(waker.fd(), POLLIN, 0));
}

TEST("never blocks the waking thread, also when nobody drains") {
  Waker waker;
  const uint64_t almostFull = UINT64_MAX - 1;
  CHECK_EQ(::write(waker.fd(), &almostFull, sizeof(almostFull)), static_cast<ssize_t>(sizeof(almostFull)));
  waker.wake();
  CHECK(isReady(waker.fd(), POLLIN, 0));
}

TEST("ends the wait of another thread, every time") {
  Waker ping, pong;
  constexpr int kRounds = 200;
  std::thread other([&] {
    for (int i = 0; i < kRounds; ++i) {
      if (!isReady(ping.fd(), POLLIN, kPatienceMs)) return;
      ping.drain();
      pong.wake();
    }
  });
  int rounds = 0;
  for (; rounds < kRounds; ++rounds) {
    ping.wake();
    if (!isReady(pong.fd(), POLLIN, kPatienceMs)) break;
    pong.drain();
  }
  other.join();
  CHECK_EQ(rounds, kRounds);
}
