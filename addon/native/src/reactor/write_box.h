// Writes of a turn's hooks that the reactor has not seen yet: rows, and their bytes back to back. JS writes into this
// memory itself, because a call for each small write costs more than the write. It belongs to the reactor and not to the thread,
// so that an answer does not get lost with a thread that dies later in the same turn.
#pragma once

#include <array>
#include <cstdint>

namespace mr {

struct WriteBox {
  static constexpr uint32_t kRows = 1024;
  static constexpr uint32_t kBytes = 256 << 10;
  struct Row {
    uint32_t slot, generation, offset, length;  // see exchange/box_rows.h
  };
  uint32_t count = 0;
  std::array<Row, kRows> rows;
  std::array<uint8_t, kBytes> bytes;
};

}  // namespace mr
