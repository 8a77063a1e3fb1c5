#include "base/thread_owner.h"

#include "base/fatal.h"

namespace mr {

uint64_t ThreadOwner::currentThread() {
  // Counted, not the kernel's thread id: that one is used again while an object may still remember its last owner.
  static std::atomic<uint64_t> threads{0};
  thread_local const uint64_t mine = threads.fetch_add(1, std::memory_order_relaxed) + 1;
  return mine;
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
