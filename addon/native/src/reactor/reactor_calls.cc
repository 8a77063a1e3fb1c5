// When calls of other threads reach the app: not while its thread leaves, and never on a reactor that is given up.
#include "reactor/reactor.h"

namespace mr {

void Reactor::onCall(std::unique_ptr<Message> message) {
  const Call& call = static_cast<Call&>(*message);
  // Another thread is about to come. Not the one of a reactor that is given up: it knows no app.
  if (handingOver_) return calls_.keep(std::move(message));
  if (abandoned_) return calls_.lose(call);
  calls_.tell(call);
}

void Reactor::onWaitingCalls() {
  handingOver_ = false;
  for (auto& message : calls_.takeKept()) onCall(std::move(message));
}

bool Reactor::answerCall(uint32_t number, CallOutcome outcome, std::span<const uint8_t> bytes) {
  owner_.assertCurrent(__func__);
  if (!calls_.answer(number, outcome, bytes)) return false;
  if (calls_.empty() && (quiescing_ || retiring_)) requestTurn();
  return true;
}

}  // namespace mr
