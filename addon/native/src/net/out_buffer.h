// Bytes that wait for a socket to take them, in order. An empty buffer owns no memory, so an idle connection costs a pointer.
// Owns no descriptor and knows no water marks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "base/result.h"
#include "base/shared_bytes.h"

namespace mr {

class OutBuffer {
 public:
  OutBuffer() = default;
  OutBuffer(OutBuffer&& other) noexcept;
  OutBuffer& operator=(OutBuffer&& other) noexcept;
  OutBuffer(const OutBuffer&) = delete;
  OutBuffer& operator=(const OutBuffer&) = delete;
  ~OutBuffer();

  // Copies. Small appends share a block, so that adjacent replies leave in one send.
  void append(const void* data, size_t size);
  // Holds them instead of copying, but for few: those share a block like any others. Without the first `from` of them, which only
  // an empty buffer can leave out.
  void append(const SharedBytesRef& bytes, size_t from = 0);
  size_t size() const { return state_ ? held() : 0; }
  size_t sharedSize() const;                        // of it, bytes that are held for others, too
  bool empty() const { return state_ == nullptr; }  // asked for every message
  // Sends until the buffer is empty, the socket is full, or `most` bytes have left. value: bytes taken by the kernel; EAGAIN is
  // not an error (size() tells the rest); any other errno is.
  Result<size_t> flush(int fd, size_t most = SIZE_MAX);
  void clear();
  // Moves the first bytes, at most `room` of them, and returns how many there were.
  size_t take(uint8_t* to, size_t room);

 private:
  size_t held() const;
  struct State;             // a singly linked list of blocks, a total and a read offset
  State* state_ = nullptr;  // one pointer: most connections have nothing to send most of the time
};

}  // namespace mr
