#include "codec/crc32c.h"

#include <array>

namespace mr {

namespace {

constexpr uint32_t kPolynomial = 0x82f63b78;  // 0x1edc6f41, the lowest bit first

constexpr std::array<uint32_t, 256> makeTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < table.size(); ++byte) {
    uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value % 2 == 1 ? kPolynomial : 0);
    table[byte] = value;
  }
  return table;
}

// One byte at a time is enough: at most 4 KiB, once for each connection.
constexpr std::array<uint32_t, 256> kTable = makeTable();

}  // namespace

void Crc32c::add(const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size; ++i) state_ = state_ >> 8 ^ kTable[(state_ ^ data[i]) & 0xff];
}

}  // namespace mr
