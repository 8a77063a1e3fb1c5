// The inbox of one thread: many senders, one owner. Lock-free; keeps the order of each sender. Signals only a sleeping owner.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "base/waker.h"
#include "exchange/message.h"

namespace mr {

class Mailbox {
 public:
  Mailbox() = default;
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread.
  void send(std::unique_ptr<Message> message);
  void wake();  // whether or not there is a message: ends the owner's park
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // The owner. The oldest message, or null.
  std::unique_ptr<Message> take();
  bool empty() const { return !taken_ && stack_.load(std::memory_order_seq_cst) == nullptr; }

  // The owner. park() then look once more at everything that could have arrived, then sleep on fd(); unpark() on waking.
  void park();    // also while it is parked already
  void unpark();  // also while it is not
  bool parked() const { return parked_.load(std::memory_order_seq_cst); }
  int fd() const { return waker_.fd(); }

 private:
  std::atomic<Message*> stack_{nullptr};  // newest first
  alignas(64) std::atomic<bool> parked_{false};
  std::atomic<size_t> bytes_{0};
  Message* taken_ = nullptr;  // oldest first; the owner's
  bool asleep_ = false;       // from park() to unpark(), as the owner knows it; its own
  uint64_t signals_ = 0;      // parks that a sender has ended, whose wake-ups are not yet read away; the owner's
  Waker waker_;
};

}  // namespace mr
