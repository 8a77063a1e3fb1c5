#include "base/keyed_hash.h"

#include <sys/random.h>

#include <cerrno>

#include "base/fatal.h"

namespace mr {

namespace {

HashKey drawKey() {
  HashKey key;
  ssize_t got;
  do {
    got = ::getrandom(&key, sizeof(key), 0);
  } while (got < 0 && errno == EINTR);
  MR_CHECK(got == sizeof(key), "getrandom gave no key for the hash");
  return key;
}

}  // namespace

const HashKey& processHashKey() {
  static const HashKey key = drawKey();
  return key;
}

}  // namespace mr
