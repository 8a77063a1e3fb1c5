// Bytes that never change and belong to all their holders: made once, however many connections and threads send them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <span>
#include <utility>

namespace mr {

class SharedBytes {
 public:
  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(this + 1); }
  size_t size() const { return size_; }
  uint32_t holders() const { return holders_.load(std::memory_order_relaxed); }
  // Of the whole process.
  static uint64_t bytesAlive() { return alive_.load(std::memory_order_relaxed); }

 private:
  friend class SharedBytesRef;
  explicit SharedBytes(size_t size) : size_(size) {}

  inline static std::atomic<uint64_t> alive_{0};
  std::atomic<uint32_t> holders_{1};
  const size_t size_;
};

// One holder. Any thread, each its own.
class SharedBytesRef {
 public:
  SharedBytesRef() = default;
  SharedBytesRef(const SharedBytesRef& other) : bytes_(other.bytes_) {
    if (bytes_) bytes_->holders_.fetch_add(1, std::memory_order_relaxed);
  }
  SharedBytesRef(SharedBytesRef&& other) noexcept : bytes_(std::exchange(other.bytes_, nullptr)) {}
  SharedBytesRef& operator=(SharedBytesRef other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~SharedBytesRef() {
    if (!bytes_ || bytes_->holders_.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    SharedBytes::alive_.fetch_sub(bytes_->size_, std::memory_order_relaxed);
    bytes_->~SharedBytes();
    std::free(bytes_);
  }

  static SharedBytesRef copyOf(std::span<const uint8_t> bytes) {
    void* memory = std::malloc(sizeof(SharedBytes) + bytes.size());
    if (!memory) throw std::bad_alloc();
    SharedBytesRef made;
    made.bytes_ = new (memory) SharedBytes(bytes.size());
    if (!bytes.empty()) std::memcpy(static_cast<void*>(made.bytes_ + 1), bytes.data(), bytes.size());
    SharedBytes::alive_.fetch_add(bytes.size(), std::memory_order_relaxed);
    return made;
  }

  explicit operator bool() const { return bytes_ != nullptr; }
  const SharedBytes* operator->() const { return bytes_; }
  size_t size() const { return bytes_ ? bytes_->size() : 0; }
  std::span<const uint8_t> span() const {
    return bytes_ ? std::span<const uint8_t>{bytes_->data(), bytes_->size()} : std::span<const uint8_t>{};
  }

 private:
  SharedBytes* bytes_ = nullptr;
};

}  // namespace mr
