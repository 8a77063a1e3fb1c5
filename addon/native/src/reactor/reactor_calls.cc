// Calls: what other threads ask of the app on this reactor. One that waits in the mailbox waits for the next thread, too; one
// that a thread has begun is lost with it, and its caller is told so.
#include "exchange/call.h"
#include "reactor/reactor.h"

namespace mr {

void Reactor::onCall(std::unique_ptr<Message> message) {
  // Another thread is about to come. Not the one of a reactor that is given up: it knows no app.
  if (handingOver_) return waitingCalls_.push_back(std::move(message));
  const Call& call = static_cast<Call&>(*message);
  const uint32_t number = nextCalled_++;
  if (abandoned_ || !emitBytes(Event::kCalled, 0, call.data, number, false)) {
    return sendCallResult({call.replyTo, call.request}, CallOutcome::kLost, {});
  }
  batch_.last().generation = 0;  // it is about no connection
  calls_[number] = {call.replyTo, call.request};
}

void Reactor::onWaitingCalls() {
  handingOver_ = false;
  std::deque<std::unique_ptr<Message>> waiting;
  waiting.swap(waitingCalls_);
  for (auto& message : waiting) onCall(std::move(message));
}

bool Reactor::answerCall(uint32_t number, CallOutcome outcome, std::span<const uint8_t> bytes) {
  owner_.assertCurrent(__func__);
  const auto call = calls_.find(number);
  if (call == calls_.end()) return false;
  sendCallResult(call->second, outcome, bytes);
  calls_.erase(call);
  if (calls_.empty() && (quiescing_ || retiring_)) requestTurn();
  return true;
}

void Reactor::sendCallResult(const Caller& to, CallOutcome outcome, std::span<const uint8_t> bytes) {
  auto result = std::make_unique<CallResult>();
  result->request = to.request;
  result->outcome = outcome;
  result->data.assign(bytes.begin(), bytes.end());
  exchange_->mailbox(to.mailbox).send(std::move(result));
}

// The thread that knew their promises is gone.
void Reactor::loseCalls() {
  for (const auto& [number, caller] : calls_) sendCallResult(caller, CallOutcome::kLost, {});
  calls_.clear();
}

}  // namespace mr
