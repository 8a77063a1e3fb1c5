// The control page: a file that the test writes and the server under test maps. See test/support/faults.ts, which knows the
// same layout.
#pragma once

#include <atomic>
#include <cstdint>

namespace mr::faults {

// One fault of one call. All words are the machine's own.
struct Rule {
  char call[16];                  // the intercepted call, "accept4" for instance; ends with a zero
  int64_t error;                  // the errno to fail with, 0: none
  int64_t atMost;                 // bytes or events that the call may carry, 0: any number
  std::atomic<int64_t> every;     // each so-manyth call; 0: this rule is off. The test writes it last.
  std::atomic<int64_t> left;      // how often it may still happen
  std::atomic<int64_t> asked;     // calls that this rule has seen; counted here
  std::atomic<int64_t> happened;  // faults that really took place; counted here
};
static_assert(sizeof(Rule) == 64 && std::atomic<int64_t>::is_always_lock_free);

constexpr int kRules = 64;  // one page
constexpr const char* kFileVariable = "MULTIREACTOR_FAULTS";

}  // namespace mr::faults
