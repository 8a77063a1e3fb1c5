// Where the records of a TLS stream begin and end: their headers are in the clear. Only counts, so that a peer that sends half a
// record and then nothing is noticed; the content of a record is checked elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mr {

class TlsRecords {
 public:
  // True when a record ended within these bytes.
  bool push(const uint8_t* data, size_t size) {
    bool ended = false;
    while (size != 0) {
      if (headerSeen_ < kHeader) {
        if (headerSeen_ == kHeader - 2) left_ = static_cast<uint32_t>(*data) << 8;
        if (headerSeen_ == kHeader - 1) left_ |= *data;
        ++headerSeen_;
        ++data;
        --size;
      } else {
        const size_t step = size < left_ ? size : left_;
        left_ -= static_cast<uint32_t>(step);
        data += step;
        size -= step;
      }
      if (headerSeen_ == kHeader && left_ == 0) {
        headerSeen_ = 0;
        ended = true;
      }
    }
    return ended;
  }

  // A record has begun and is not complete.
  bool inside() const { return headerSeen_ != 0; }

 private:
  static constexpr uint32_t kHeader = 5;  // type, version, length
  uint32_t headerSeen_ = 0;
  uint32_t left_ = 0;
};

}  // namespace mr
