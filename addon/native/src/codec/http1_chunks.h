// The chunked transfer coding (RFC 9112, section 7.1), for http1.cc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mr {

// A line that says how long the next chunk is. A longer one, or more of its extensions, is an error.
inline constexpr size_t kMostChunkLine = 256;

struct ChunkLine {
  enum class Kind : uint8_t { kPartial, kLine, kError } kind = Kind::kPartial;
  uint64_t length = 0;
  size_t bytes = 0;  // with its CRLF
};

ChunkLine readChunkLine(const uint8_t* data, size_t size);

}  // namespace mr
