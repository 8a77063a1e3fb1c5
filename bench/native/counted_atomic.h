// Stands before every source of the counted build (-include): each std::atomic of the exchange becomes one that counts. The
// sources of the addon stay unchanged, so the counts are those of the current code.
//
// Only read-modify-writes are counted, because they alone need a cache line for the thread that does them:
//   operations   all of them
//   transfers    those on a line that another thread had last: with a core for each thread, the line crosses from core to core
//   lost         those that another thread was quicker at, so that they had to be done again
#pragma once

// Everything of the standard library that the sources use, before the word is taken: its own atomics stay as they are.
#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <vector>

namespace counted {

struct Counts {
  uint64_t operations = 0, transfers = 0, lost = 0;
};

inline constexpr size_t kLineBytes = 64;
inline constexpr size_t kLines = 1 << 16;  // by hash: two lines that share an entry look like more transfers, never like fewer

inline thread_local Counts counts;
inline thread_local uint32_t self = 0;   // the id of this thread, from 1 on
inline thread_local uint32_t state = 1;  // of its random numbers
inline bool counting = false;            // set while no other thread runs
inline uint32_t giveWayOneIn = 0;        // 0: never
inline std::atomic<uint32_t> last_owner[kLines];

inline void touch(const void* word) {
  if (!counting || self == 0) return;
  counts.operations++;
  const uint64_t line = reinterpret_cast<uintptr_t>(word) / kLineBytes;
  const size_t entry = (line * 0x9e3779b97f4a7c15ull) >> 48;
  const uint32_t before = last_owner[entry].exchange(self, std::memory_order_relaxed);
  if (before != 0 && before != self) counts.transfers++;
}

// Between reading a word and replacing it: there another core would have its chance.
inline void give_way() {
  if (giveWayOneIn == 0 || self == 0) return;
  state ^= state << 13, state ^= state >> 17, state ^= state << 5;
  if (state % giveWayOneIn == 0) sched_yield();
}

}  // namespace counted

namespace std {

template <typename T>
class counted_atomic : public atomic<T> {
  using Base = atomic<T>;

 public:
  using Base::Base;
  using Base::operator=;
  constexpr counted_atomic() noexcept : Base(T()) {}

  T exchange(T value, memory_order order = memory_order_seq_cst) {
    counted::give_way();
    counted::touch(this);
    return Base::exchange(value, order);
  }
  T fetch_add(T value, memory_order order = memory_order_seq_cst) {
    counted::touch(this);
    return Base::fetch_add(value, order);
  }
  T fetch_sub(T value, memory_order order = memory_order_seq_cst) {
    counted::touch(this);
    return Base::fetch_sub(value, order);
  }
  T fetch_or(T value, memory_order order = memory_order_seq_cst) {
    counted::touch(this);
    return Base::fetch_or(value, order);
  }
  T fetch_and(T value, memory_order order = memory_order_seq_cst) {
    counted::touch(this);
    return Base::fetch_and(value, order);
  }
  bool compare_exchange_weak(T& expected, T wanted, memory_order success, memory_order failure) {
    counted::give_way();
    counted::touch(this);
    return noted(Base::compare_exchange_weak(expected, wanted, success, failure));
  }
  bool compare_exchange_weak(T& expected, T wanted, memory_order order = memory_order_seq_cst) {
    counted::give_way();
    counted::touch(this);
    return noted(Base::compare_exchange_weak(expected, wanted, order));
  }
  bool compare_exchange_strong(T& expected, T wanted, memory_order success, memory_order failure) {
    counted::give_way();
    counted::touch(this);
    return Base::compare_exchange_strong(expected, wanted, success, failure);  // a question, not a race to be run again
  }
  bool compare_exchange_strong(T& expected, T wanted, memory_order order = memory_order_seq_cst) {
    counted::give_way();
    counted::touch(this);
    return Base::compare_exchange_strong(expected, wanted, order);
  }

 private:
  static bool noted(bool won) {
    if (!won && counted::counting) counted::counts.lost++;
    return won;
  }
};

}  // namespace std

#define COUNTED
#define atomic counted_atomic
