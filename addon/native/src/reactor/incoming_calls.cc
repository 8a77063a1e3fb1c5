#include "reactor/incoming_calls.h"

namespace mr {

void IncomingCalls::tell(const Call& call) {
  const uint32_t number = next_++;
  // It is about no connection: slot and generation are 0.
  if (!batch_.addBytes({Event::kCalled, 0, 0, 0, 0, 0, 0, number, 0}, call.data, false)) return lose(call);
  begun_[number] = {call.replyTo, call.request};
}

bool IncomingCalls::answer(uint32_t number, CallOutcome outcome, std::span<const uint8_t> bytes) {
  const auto call = begun_.find(number);
  if (call == begun_.end()) return false;
  sendResult(call->second, outcome, bytes);
  begun_.erase(call);
  return true;
}

void IncomingCalls::sendResult(const Caller& to, CallOutcome outcome, std::span<const uint8_t> bytes) {
  auto result = std::make_unique<CallResult>();
  result->request = to.request;
  result->outcome = outcome;
  result->data.assign(bytes.begin(), bytes.end());
  exchange_.mailbox(to.mailbox).send(std::move(result));
}

void IncomingCalls::loseAll() {
  for (const auto& [number, caller] : begun_) sendResult(caller, CallOutcome::kLost, {});
  begun_.clear();
}

}  // namespace mr
