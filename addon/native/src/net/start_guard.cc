#include "net/start_guard.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <string>

#include "net/socket.h"

namespace mr {

namespace {

// An abstract name has 107 bytes, a path may have as many: FNV-1a makes it short.
uint64_t hashOf(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace

Result<StartGuard> StartGuard::take(const Address& address) {
  const std::string family = address.family() == AF_INET6 ? "6" : "4";
  return named(family + ':' + address.host() + ':' + std::to_string(address.port()));
}

Result<StartGuard> StartGuard::takePath(const Address& address) {
  const std::string path = address.host();
  const size_t slash = path.find_last_of('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  // The folder by its inode, because one folder has many spellings.
  struct statx status;
  if (::statx(AT_FDCWD, folder.c_str(), 0, STATX_INO, &status) != 0) return Result<StartGuard>::failure(errno);
  const std::string file = slash == std::string::npos ? path : path.substr(slash + 1);
  return named("path:" + std::to_string(status.stx_dev_major) + '.' + std::to_string(status.stx_dev_minor) + ':' +
               std::to_string(status.stx_ino) + ':' + std::to_string(hashOf(file)));
}

Result<StartGuard> StartGuard::named(const std::string& name) {
  const Result<Address> lock = Address::unixPath(std::string(1, '\0') + "multireactor:" + name);
  if (!lock.ok()) return Result<StartGuard>::failure(lock.error);
  Result<Fd> held = sock::bindStream(lock.value, {});
  if (!held.ok()) return Result<StartGuard>::failure(held.error);
  return Result<StartGuard>::success(StartGuard(std::move(held.value)));
}

}  // namespace mr
