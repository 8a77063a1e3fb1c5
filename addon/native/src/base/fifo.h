// First in, first out, with a look at any place. Holds no memory while it is empty, which a std::deque does, and there are as
// many of these as there are topics.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace mr {

template <typename T>
class Fifo {
 public:
  bool empty() const { return first_ == items_.size(); }
  size_t size() const { return items_.size() - first_; }
  T& operator[](size_t place) { return items_[first_ + place]; }
  const T& operator[](size_t place) const { return items_[first_ + place]; }
  T& front() { return items_[first_]; }
  T& back() { return items_.back(); }
  void push_back(T item) { items_.push_back(std::move(item)); }
  void pop_front() {
    items_[first_++] = T();
    if (empty()) {
      items_ = {};
      first_ = 0;
    } else if (first_ >= kLeast && first_ >= size()) {
      // As many are moved at most as have been taken since the last time.
      items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
      first_ = 0;
    }
  }

 private:
  static constexpr size_t kLeast = 32;
  std::vector<T> items_;
  size_t first_ = 0;
};

}  // namespace mr
