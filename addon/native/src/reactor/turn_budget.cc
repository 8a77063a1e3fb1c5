#include "reactor/turn_budget.h"

#include "base/clock.h"

namespace mr {

// The first look of a turn only begins to measure: a turn with little to do does not ask at all.
void TurnBudget::look() {
  lookAt_ = spent_ + kLookBytes;
  if (away_) return;
  const uint64_t now = threadCpuNs();
  if (measures_) cpuNs_ += now - sinceNs_;
  sinceNs_ = now;
  measures_ = true;
}

}  // namespace mr
