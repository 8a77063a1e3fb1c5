// The bytes of rows that JS has written into shared memory. A writer that works puts them back to back, from the beginning of the
// box, and every row says where its own lie. A row that says anything else was not written by such a writer: neither its bytes
// nor those of any row behind it can be known to belong to the connection that the row names, so they are dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace mr {

class BoxRows {
 public:
  explicit BoxRows(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  // The bytes of the next row; nothing for a corrupt one and for all behind it.
  std::optional<std::span<const uint8_t>> next(uint32_t offset, uint32_t length) {
    if (offset != used_ || length > bytes_.size() - used_) {
      used_ = kBroken;
      return std::nullopt;
    }
    used_ += length;
    return bytes_.subspan(offset, length);
  }

 private:
  static constexpr size_t kBroken = SIZE_MAX;  // where no row can begin
  const std::span<const uint8_t> bytes_;
  size_t used_ = 0;
};

}  // namespace mr
