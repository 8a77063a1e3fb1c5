// The outcome of a syscall: a value, or the errno. No result is dropped and no errno is read twice.
#pragma once

#include <utility>

namespace mr {

template <typename T>
struct [[nodiscard]] Result {
  T value{};
  int error = 0;  // errno, 0 on success
  bool ok() const { return error == 0; }
  static Result success(T v) { return Result{std::move(v), 0}; }
  static Result failure(int e) { return Result{T{}, e}; }
};

}  // namespace mr
