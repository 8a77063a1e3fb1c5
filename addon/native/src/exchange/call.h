// A thread's request to a reactor's app, and its answer. Values, like every message.
#pragma once

#include <cstdint>
#include <vector>

#include "exchange/message.h"

namespace mr {

struct Call final : Message {
  Call() : Message(Kind::kCall) {}
  std::vector<uint8_t> data;
  uint16_t replyTo = 0;
  uint32_t request = 0;
  // Those without any bytes count, too.
  size_t bytes() const override { return data.size() + 64; }
};

// In the order in which they cross to JS: see `callOutcomes` in addon/src.
enum class CallOutcome : uint8_t { kAnswered, kFailed, kLost, kNoReactor, kNoHook };

struct CallResult final : Message {
  CallResult() : Message(Kind::kCallResult) {}
  uint32_t request = 0;
  CallOutcome outcome = CallOutcome::kAnswered;
  std::vector<uint8_t> data;  // kFailed: the error
  size_t bytes() const override { return data.size(); }
};

}  // namespace mr
