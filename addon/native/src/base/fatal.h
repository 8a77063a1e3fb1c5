// The end of the process on our own bug. Peers' and callers' mistakes never come here.
#pragma once

namespace mr {

[[noreturn]] void fatal(const char* function, const char* what);

}  // namespace mr

// Always on, in release builds too: a broken invariant must not go on to corrupt data.
#define MR_CHECK(condition, what)  \
  do {                             \
    if (!(condition)) [[unlikely]] \
      ::mr::fatal(__func__, what); \
  } while (false)
