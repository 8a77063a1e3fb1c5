#include "exchange/mailbox.h"

#include <algorithm>

namespace mr {

Mailbox::~Mailbox() {
  while (take()) {
  }
}

void Mailbox::send(std::unique_ptr<Message> message) {
  bytes_.fetch_add(message->bytes(), std::memory_order_relaxed);
  Message* raw = message.release();
  raw->next = stack_.load(std::memory_order_relaxed);
  while (!stack_.compare_exchange_weak(raw->next, raw, std::memory_order_seq_cst, std::memory_order_relaxed)) {
  }
  if (parked_.load(std::memory_order_seq_cst)) wake();
}

void Mailbox::wake() {
  if (parked_.exchange(false, std::memory_order_seq_cst)) waker_.wake();
}

std::unique_ptr<Message> Mailbox::take() {
  if (!taken_) {
    Message* newest = stack_.exchange(nullptr, std::memory_order_acq_rel);
    while (newest) {
      Message* older = newest->next;
      newest->next = taken_;
      taken_ = newest;
      newest = older;
    }
  }
  if (!taken_) return nullptr;
  Message* message = taken_;
  taken_ = message->next;
  message->next = nullptr;
  bytes_.fetch_sub(message->bytes(), std::memory_order_relaxed);
  return std::unique_ptr<Message>(message);
}

// The sender that ends a park writes to the waker a moment later, maybe after the owner has woken for another reason, and after
// its next park. The write must be read away all the same: nothing else would do so, and fd() would stay readable until the next
// message. So each end of a park is counted, exactly once.
void Mailbox::park() {
  if (!parked_.exchange(true, std::memory_order_seq_cst) && asleep_) ++signals_;
  asleep_ = true;
}

void Mailbox::unpark() {
  if (!parked_.exchange(false, std::memory_order_seq_cst) && asleep_) ++signals_;
  asleep_ = false;
  if (signals_ != 0) signals_ -= std::min(signals_, waker_.drain());
}

}  // namespace mr
