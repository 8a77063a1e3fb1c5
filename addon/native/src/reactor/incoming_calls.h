// Calls: what other threads ask of the app on this reactor. One that waits in the mailbox waits for the next thread, too; one
// that a thread has begun is lost with it, and its caller is told so.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <unordered_map>

#include "exchange/call.h"
#include "exchange/exchange.h"
#include "reactor/event_batch.h"

namespace mr {

class IncomingCalls {
 public:
  IncomingCalls(Exchange& exchange, EventBatch& batch) : exchange_(exchange), batch_(batch) {}

  // Tells the app, as Event::kCalled. Without a thread or memory the call is lost.
  void tell(const Call& call);
  // To its caller: the app will not answer.
  void lose(const Call& call) { sendResult({call.replyTo, call.request}, CallOutcome::kLost, {}); }
  // For the next thread.
  void keep(std::unique_ptr<Message> call) { kept_.push_back(std::move(call)); }
  std::deque<std::unique_ptr<Message>> takeKept() { return std::exchange(kept_, {}); }
  // False when no caller waits for this number.
  bool answer(uint32_t number, CallOutcome outcome, std::span<const uint8_t> bytes);
  // The thread that knew their promises is gone.
  void loseAll();
  // No call is with the app.
  bool empty() const { return begun_.empty(); }

 private:
  struct Caller {
    uint16_t mailbox;
    uint32_t request;
  };
  void sendResult(const Caller& to, CallOutcome outcome, std::span<const uint8_t> bytes);

  Exchange& exchange_;
  EventBatch& batch_;
  std::unordered_map<uint32_t, Caller> begun_;  // by number
  std::deque<std::unique_ptr<Message>> kept_;
  uint32_t next_ = 1;
};

}  // namespace mr
