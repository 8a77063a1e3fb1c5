// The rows of the batch that JavaScript is given, and how far it has got with them. Native memory: for any use that JavaScript
// makes of its view of it, it can be written to, and read when the thread has ended.
#pragma once

#include <array>
#include <cstdint>

#include "reactor/event_batch.h"

namespace mr {

struct EventBox {
  static constexpr uint32_t kRows = 1024;
  std::array<EventRow, kRows> rows;
  // Twice the rows that have been begun, less one while the last of them is in its hook.
  uint32_t progress = 0;
};

inline constexpr size_t kRowWords = sizeof(EventRow) / sizeof(uint32_t);
static_assert(sizeof(EventBox) == (EventBox::kRows * kRowWords + 1) * sizeof(uint32_t));

}  // namespace mr
