// Limits of resp() and respValues() beside maxBytes.
#pragma once

#include <cstdint>

namespace mr {

struct RespLimits {
  uint64_t maxElements = 65'536;     // of one command, or of one aggregate of a value
  uint64_t maxBulkBytes = 1 << 20;   // of one bulk string
  uint64_t maxLineBytes = 64 << 10;  // of an inline command, or of a simple value. Commands only: 0 refuses inline ones
  uint32_t maxDepth = 8;             // aggregates inside of each other, at most kMostDepth
  bool batch = false;                // a frame is as many whole commands as there are

  static constexpr uint32_t kMostDepth = 32;

  bool operator==(const RespLimits&) const = default;
};

}  // namespace mr
