// Which thread may touch a thread-bound object now. "None" between the death of one thread and the attach of the next.
#pragma once

#include <atomic>
#include <cstdint>

namespace mr {

class ThreadOwner {
 public:
  // Returns false when another thread owns it.
  bool attach();
  void detach();
  bool isCurrent() const { return owner_.load(std::memory_order_acquire) == currentThread(); }
  bool isLiving() const;  // the owner's thread has not ended. Any thread
  bool isFree() const { return owner_.load(std::memory_order_acquire) == 0; }
  void assertCurrent(const char* function) const;
  // Safe to call from other threads: a dead thread cannot detach itself.
  void forceDetach() { owner_.store(0, std::memory_order_release); }

  // A number that no two living threads share, and never 0.
  static uint64_t currentThread();

 private:
  std::atomic<uint64_t> owner_{0};
};

}  // namespace mr
