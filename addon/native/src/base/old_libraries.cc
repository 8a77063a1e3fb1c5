// Definitions that keep the addon loadable where the C and C++ libraries are older than those it was compiled with (glibc 2.28
// and GLIBCXX 3.4.25, see scripts/check-symbols.mjs). The headers of newer libraries refer to these names from inline code;
// defined here and hidden, they are not asked of the system. No header that declares them may be included: it would make them
// visible.
#include <features.h>

#include <new>

#define MR_HIDDEN __attribute__((visibility("hidden")))

#ifdef __GLIBC__
// glibc 2.32: whether shared_ptr may count without atomics. Never: several threads run before the first reactor exists.
extern "C" {
extern MR_HIDDEN char __libc_single_threaded;
char __libc_single_threaded = 0;
}
#endif

#ifdef __GLIBCXX__
// GLIBCXX 3.4.29: called by containers for an impossible size.
namespace std {
[[noreturn]] MR_HIDDEN void __throw_bad_array_new_length();
void __throw_bad_array_new_length() { throw bad_array_new_length(); }
}  // namespace std
#endif
