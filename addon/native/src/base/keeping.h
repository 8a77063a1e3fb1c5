// Whether memory that is free is kept for the next taker. Under AddressSanitizer it is not: a use after it was given back
// must be seen.
#pragma once

namespace mr {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kKeepsMemory = false;
#else
inline constexpr bool kKeepsMemory = true;
#endif

}  // namespace mr
