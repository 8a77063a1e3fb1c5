// A frame that a pool worker has claimed, as its thread's JavaScript reads it. JavaScript keeps the rows of a batch until it is
// through: a frame that is set aside meanwhile is marked in its row.
#pragma once

#include <cstdint>

namespace mr {

struct TaskRow {
  static constexpr uint32_t kElsewhere = UINT32_MAX;  // in place of an offset: its bytes are not in the slab, ask frameBytes()
  static constexpr uint32_t kSetAside = 16;           // beside Task::Flags: it has been set aside, and is not to be run
  static constexpr uint32_t kAttemptShift = 8;        // above the flags: how often it has been begun before
  uint32_t token, key;                                // key: CostTable::Key
  uint32_t offset, length;                            // in the slab
  uint32_t idLow, idHigh, sequence, flags;            // sequence: the low half
};
static_assert(sizeof(TaskRow) == 32);

}  // namespace mr
