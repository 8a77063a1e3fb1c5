// The compiler calls __sanitizer_cov_trace_pc in each basic block (-fsanitize-coverage=trace-pc, in all files but this one), the
// linker leads each call of a memory function to its __wrap_ (--wrap): see the Makefile.
#include "steps.h"

namespace {

thread_local uint64_t taken = 0;

constexpr size_t kBytesPerStep = 16;

void takeBytes(size_t bytes) { taken += bytes / kBytesPerStep; }

}  // namespace

uint64_t mr::test::stepsOfThread() { return taken; }

extern "C" {

void __sanitizer_cov_trace_pc() { ++taken; }

void* __real_memcpy(void*, const void*, size_t);
void* __real_memmove(void*, const void*, size_t);
void* __real_memset(void*, int, size_t);
int __real_memcmp(const void*, const void*, size_t);
void* __real_memchr(const void*, int, size_t);

void* __wrap_memcpy(void* to, const void* from, size_t bytes) {
  takeBytes(bytes);
  return __real_memcpy(to, from, bytes);
}
void* __wrap_memmove(void* to, const void* from, size_t bytes) {
  takeBytes(bytes);
  return __real_memmove(to, from, bytes);
}
void* __wrap_memset(void* to, int value, size_t bytes) {
  takeBytes(bytes);
  return __real_memset(to, value, bytes);
}
int __wrap_memcmp(const void* a, const void* b, size_t bytes) {
  takeBytes(bytes);
  return __real_memcmp(a, b, bytes);
}
void* __wrap_memchr(const void* in, int value, size_t bytes) {
  void* found = __real_memchr(in, value, bytes);
  takeBytes(found ? static_cast<size_t>(static_cast<const char*>(found) - static_cast<const char*>(in)) : bytes);
  return found;
}
}
