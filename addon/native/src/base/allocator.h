// The C library's allocator keeps what is freed, in an arena for each thread or two: after a flood that is memory of the system
// that nobody uses.
#pragma once

namespace mr {

// Any thread; takes milliseconds for hundreds of megabytes, and makes those wait that allocate from the arena it looks at.
void giveBackFreeMemory();

}  // namespace mr
