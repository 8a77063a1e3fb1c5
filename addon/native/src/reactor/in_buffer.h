// Received bytes that are not a whole frame yet. Native memory, so that they outlive the JS thread that was reading.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>

namespace mr {

class InBuffer {
 public:
  InBuffer() = default;
  ~InBuffer() { std::free(memory_); }
  InBuffer(const InBuffer&) = delete;
  InBuffer& operator=(const InBuffer&) = delete;

  const uint8_t* data() const { return memory_ + start_; }
  size_t size() const { return end_ - start_; }
  size_t capacity() const { return capacity_; }
  size_t hint = 0;    // how far a framer has looked in vain
  size_t needed = 0;  // the size below which it need not look again
  size_t held = 0;    // how many of the first bytes the driving thread has, for a custom framer
  // How many frames are worth cutting in a row: few behind a hook that has stopped, twice as many each time that none stops.
  uint32_t atOnce = UINT32_MAX;
  uint32_t counted = 0;  // frames at the beginning that were cut before, and counted

  // Room for at least `size` bytes at the end.
  std::span<uint8_t> reserve(size_t size) {
    if (capacity_ - end_ < size) grow(size);
    return {memory_ + end_, capacity_ - end_};
  }
  void added(size_t size) { end_ += size; }
  void append(const uint8_t* bytes, size_t size) {
    if (size == 0) return;
    std::memcpy(reserve(size).data(), bytes, size);
    added(size);
  }
  void consume(size_t size) {
    start_ += size;
    hint = needed = 0;
    if (start_ == end_) start_ = end_ = 0;
  }

 private:
  void grow(size_t size) {
    if (start_ != 0) {
      std::memmove(memory_, memory_ + start_, end_ - start_);
      end_ -= start_;
      start_ = 0;
      if (capacity_ - end_ >= size) return;
    }
    const size_t least = end_ + size;
    const size_t doubled = capacity_ * 2;
    const size_t next = doubled > least ? doubled : least;
    void* grown = std::realloc(memory_, next);
    if (!grown) throw std::bad_alloc();
    memory_ = static_cast<uint8_t*>(grown);
    capacity_ = next;
  }

  uint8_t* memory_ = nullptr;
  size_t start_ = 0, end_ = 0, capacity_ = 0;
};

}  // namespace mr
