#include "net/start_guard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "net/socket.h"
#include "net/unix_names.h"

namespace mr {

namespace {

// An abstract name has 107 bytes, a path may have as many: FNV-1a makes it short.
uint64_t hashOf(const std::string& text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// How often a name is tried again whose holder has just gone. Once is rare enough.
constexpr int kAttempts = 8;
// Between a name and its random end. No address has it.
constexpr char kBeside = '#';

Result<Fd> bindName(const std::string& name) {
  const Result<Address> address = Address::unixPath(name);
  return address.ok() ? sock::bindStream(address.value, {}) : Result<Fd>::failure(address.error);
}

struct Holders {
  bool ours = false;     // a server of this user
  bool foreign = false;  // another user has the name itself
};

// Of the name, and of those with a random end; `own`, where it is valid, is not asked about.
Result<Holders> holdersOf(const std::string& name, const Fd& own) {
  struct statx status {};
  if (own.valid() && ::statx(own.get(), "", AT_EMPTY_PATH, STATX_INO, &status) != 0) return Result<Holders>::failure(errno);
  const auto inode = static_cast<uint32_t>(status.stx_ino);
  const Result<std::vector<UnixName>> names = unixNames(name);
  if (!names.ok()) return Result<Holders>::failure(names.error);
  Holders holders;
  for (const UnixName& one : names.value) {
    const bool isName = one.name.size() == name.size();
    if ((own.valid() && one.inode == inode) || (!isName && one.name[name.size()] != kBeside)) continue;
    if (one.user == ::geteuid())
      holders.ours = true;
    else if (isName)
      holders.foreign = true;
  }
  return Result<Holders>::success(holders);
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
  const std::string full = std::string(1, '\0') + "multireactor:" + name;
  for (int attempt = 1;; ++attempt) {
    Result<Fd> held = bindName(full);
    const bool isTaken = held.error == EADDRINUSE;
    if (!held.ok() && !isTaken) return Result<StartGuard>::failure(held.error);
    const Result<Holders> holders = holdersOf(full, held.value);
    if (!holders.ok()) {
      // The kernel does not tell their owners: then sockets of all users count.
      return isTaken ? Result<StartGuard>::failure(EADDRINUSE) : Result<StartGuard>::success(StartGuard(std::move(held.value)));
    }
    if (holders.value.ours) return Result<StartGuard>::failure(EADDRINUSE);
    if (!isTaken) return Result<StartGuard>::success(StartGuard(std::move(held.value)));
    if (holders.value.foreign) return besideOthers(full);
    // Its owner released it in between.
    if (attempt == kAttempts) return Result<StartGuard>::failure(EADDRINUSE);
  }
}

Result<StartGuard> StartGuard::besideOthers(const std::string& name) {
  char end[2 * sizeof(uint64_t) + 1];
  uint64_t random = 0;
  if (::syscall(SYS_getrandom, &random, sizeof(random), 0) != sizeof(random)) return Result<StartGuard>::failure(EIO);
  std::snprintf(end, sizeof(end), "%016llx", static_cast<unsigned long long>(random));
  Result<Fd> held = bindName(name + kBeside + end);
  if (!held.ok()) return Result<StartGuard>::failure(held.error);
  // After the bind: of two that come here at once, at least one sees the other.
  const Result<Holders> holders = holdersOf(name, held.value);
  if (!holders.ok() || holders.value.ours) return Result<StartGuard>::failure(EADDRINUSE);
  return Result<StartGuard>::success(StartGuard(std::move(held.value)));
}

}  // namespace mr
