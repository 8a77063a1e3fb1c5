#include "base/thread_owner.h"

#include <mutex>
#include <unordered_set>

#include "base/fatal.h"

namespace mr {

namespace {

// The numbers of the threads that have not ended. Never destroyed: threads end as late as the process does.
struct Living {
  std::mutex mutex;
  std::unordered_set<uint64_t> threads;
};
Living& living() {
  static auto* all = new Living();
  return *all;
}

// Counted, not the kernel's thread id: that one is used again while an object may still remember its last owner.
struct Number {
  uint64_t value;
  Number() {
    static std::atomic<uint64_t> threads{0};
    value = threads.fetch_add(1, std::memory_order_relaxed) + 1;
    std::lock_guard lock(living().mutex);
    living().threads.insert(value);
  }
  ~Number() {
    std::lock_guard lock(living().mutex);
    living().threads.erase(value);
  }
};

}  // namespace

uint64_t ThreadOwner::currentThread() {
  thread_local const Number mine;
  return mine.value;
}

bool ThreadOwner::isLiving() const {
  const uint64_t owner = owner_.load(std::memory_order_acquire);
  std::lock_guard lock(living().mutex);
  return living().threads.contains(owner);
}

bool ThreadOwner::attach() {
  uint64_t nobody = 0;
  return owner_.compare_exchange_strong(nobody, currentThread(), std::memory_order_acq_rel) || nobody == currentThread();
}

void ThreadOwner::detach() {
  assertCurrent(__func__);
  owner_.store(0, std::memory_order_release);
}

void ThreadOwner::assertCurrent(const char* function) const {
  if (!isCurrent()) [[unlikely]]
    fatal(function, "called on a thread that does not own the object");
}

}  // namespace mr
