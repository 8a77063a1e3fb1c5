// The C library's allocator keeps what is freed, in an arena for each thread or two: after a flood that is memory of the system
// that nobody uses.
#pragma once

namespace mr {

// Whether large blocks that are freed go back to the system at once. That costs their next taker the faults of all pages, and so
// is for when memory is short; otherwise the allocator keeps blocks of the sizes that it has seen. Any thread. Does nothing where
// the environment sets the allocator's threshold.
void keepNothingLarge(bool on);

// Any thread; takes milliseconds for hundreds of megabytes, and makes those wait that allocate from the arena it looks at.
void giveBackFreeMemory();

}  // namespace mr
