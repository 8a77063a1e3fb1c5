// CRC32c (Castagnoli), RFC 4960 appendix B: the checksum of PROXY protocol v2.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mr {

// Fed in pieces of any size.
class Crc32c {
 public:
  void add(const uint8_t* data, size_t size);
  uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = UINT32_MAX;
};

}  // namespace mr
