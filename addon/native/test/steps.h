// Growth tests count; they do not time. A step is a basic block of our code, the templates of the standard library included, or
// 16 bytes that memcpy, memmove, memset, memcmp or memchr looks at. The number depends on the input alone, not on the machine or
// its load. Not counted: the kernel, the allocator, and functions that are compiled into libstdc++.
//
//   CHECK_GROWTH(1000, [](size_t n) {
//     Table table = tableOf(n);        // prepared, not counted
//     const Steps steps;               // counts from here, on this thread
//     table.removeAll();
//     return steps.taken();
//   });
//
// holds when twice the input takes at most 2.3 times the steps.
#pragma once

#include <cstddef>
#include <cstdint>

#include "harness.h"

namespace mr::test {

uint64_t stepsOfThread();

class Steps {
 public:
  uint64_t taken() const { return stepsOfThread() - begin_; }

 private:
  uint64_t begin_ = stepsOfThread();
};

constexpr double kMostGrowth = 2.3;

template <typename Work>
void checkGrowth(size_t n, Work&& work, const char* file, int line) {
  const uint64_t once = work(n), twice = work(2 * n);
  const std::string figures = std::to_string(n) + ": " + std::to_string(once) + " steps, " + std::to_string(2 * n) + ": " +
                              std::to_string(twice) + " steps";
  // With less than a step for each the work was not counted, or was not done.
  if (once < n) fail(file, line, "too little was counted: " + figures);
  if (static_cast<double>(twice) > kMostGrowth * static_cast<double>(once)) fail(file, line, "grows too fast: " + figures);
}

}  // namespace mr::test

// work: size_t n → the steps that n takes.
#define CHECK_GROWTH(n, ...) ::mr::test::checkGrowth((n), __VA_ARGS__, __FILE__, __LINE__)
