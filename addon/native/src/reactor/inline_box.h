// Between a reactor and the JS that runs frames on its thread: replies on their way out, and the costs of the frames. Native
// memory that JS writes into, so that a batch of frames is answered without one call, and an answer is not lost when the
// thread dies.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "exchange/cost_sampler.h"

namespace mr {

struct InlineBox {
  static constexpr uint32_t kRows = 1024;
  static constexpr uint32_t kBytes = 256 << 10;

  enum Flags : uint32_t {
    kWasHeld = 0x8000,  // beside Reply::Flags: its promise was pending, hold() had been called
  };
  struct Row {
    uint32_t slot, generation, sequence, flags, offset, length, frameBytes, unused;  // see exchange/box_rows.h
  };
  // A frame's sequence and CostTable::Key in one number, for JS. Both are in it exactly: a double has 53 bits.
  static constexpr double kPlacedKeys = 65'536;
  static constexpr double placed(uint32_t sequence, CostTable::Key key) { return sequence * kPlacedKeys + key; }
  static_assert(CostTable::keyOf(CostTable::kMaxListeners - 1, SIZE_MAX) < kPlacedKeys);

  // Odd while a frame runs; a new number for each.
  std::atomic<uint32_t> running{0};
  // Set before a batch: JS measures it. Otherwise the reactor does, from outside.
  uint32_t measured = 0;
  uint32_t count = 0;
  uint32_t samples = 0;
  uint32_t full = 0;  // of some connection, or of the reactor, there may be no room: JS asks before it runs a frame
  std::array<Row, kRows> rows;
  std::array<CostSample, CostSample::kMost> sampleRows;
  std::array<uint8_t, kBytes> bytes;
};

}  // namespace mr
