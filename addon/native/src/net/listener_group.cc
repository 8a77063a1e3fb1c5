#include "net/listener_group.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "base/fatal.h"
#include "net/socket.h"

namespace mr {

namespace {

using Opened = Result<std::shared_ptr<ListenerGroup>>;

// How often another port is asked for when another program took the picked one between its bind and ours. Once is rare enough.
constexpr int kPickAttempts = 8;

// statx, because a build against glibc 2.33 or newer makes stat() ask for that version.
Result<struct statx> statusAt(int folder, const char* path, int flags) {
  Result<struct statx> status;
  if (::statx(folder, path, flags, STATX_TYPE | STATX_INO, &status.value) != 0) status.error = errno;
  return status;
}

Result<struct statx> statusOfPath(const std::string& path) { return statusAt(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW); }

bool isSameFile(const struct statx& a, const struct statx& b) {
  return a.stx_ino == b.stx_ino && a.stx_dev_major == b.stx_dev_major && a.stx_dev_minor == b.stx_dev_minor;
}

int unlinkIfThere(const std::string& path) { return ::unlink(path.c_str()) == 0 || errno == ENOENT ? 0 : errno; }

// 0 when the path is free, or was left by a server that has ended.
int clearStalePath(const Address& address) {
  const std::string path = address.host();
  const Result<struct statx> status = statusOfPath(path);
  if (!status.ok()) return status.error == ENOENT ? 0 : status.error;
  if (!S_ISSOCK(status.value.stx_mode)) return EADDRINUSE;
  const Result<Fd> probe = sock::connect(address);
  if (probe.error == ENOENT) return 0;  // gone since
  return probe.error == ECONNREFUSED ? unlinkIfThere(path) : EADDRINUSE;
}

// The process may change its folder before it unlinks. As it is where the folder has no name.
std::string absolutePath(const std::string& path) {
  char folder[4096];
  if (path[0] == '/' || !::getcwd(folder, sizeof(folder))) return path;
  return std::string(folder) + '/' + path;
}

}  // namespace

Opened ListenerGroup::open(const Address& address, const ListenerOptions& options) {
  const bool picks = !address.isUnix() && address.port() == 0;
  if (options.members < 1) return Opened::failure(EINVAL);
  for (int attempt = 1;; ++attempt) {
    std::shared_ptr<ListenerGroup> group(new ListenerGroup());
    group->address_ = address;
    group->options_ = options;
    const int error = address.isUnix() ? group->openUnix(options) : group->openInet(options);
    if (error == 0) return Opened::success(std::move(group));
    if (error != EADDRINUSE || !picks || attempt == kPickAttempts) return Opened::failure(error);
  }
}

int ListenerGroup::openInet(const ListenerOptions& options) {
  const bool picks = address_.port() == 0;
  const sock::ListenOptions socketOptions{.reusePort = true, .ipv6Only = options.ipv6Only};
  if (!options.shared && !picks) {
    if (const int error = claim(socketOptions)) return error;
  }
  if (const int error = bindMember(socketOptions)) return error;
  const Result<Address> bound = sock::localAddress(sockets_[0].get());
  if (!bound.ok()) return bound.error;
  address_ = bound.value;
  if (!options.shared && picks) {
    if (const int error = guard()) return error;
  }
  while (members() < options.members) {
    if (const int error = bindMember(socketOptions)) return error;
  }
  listening_ = members();
  return listen(options.backlog);
}

// The guard sees every multireactor server, also one that is bound and does not listen yet; the probe sees every other
// program, and wildcards, once they listen.
int ListenerGroup::claim(const sock::ListenOptions& options) {
  if (const int error = guard()) return error;
  const Result<bool> free = sock::addressIsFree(address_, options);
  if (!free.ok()) return free.error;
  return free.value ? 0 : EADDRINUSE;
}

int ListenerGroup::guard() {
  Result<StartGuard> taken = StartGuard::take(address_);
  guard_ = std::move(taken.value);
  return taken.error;
}

int ListenerGroup::bindMember(const sock::ListenOptions& options) {
  Result<Fd> bound = sock::bindStream(address_, options);
  if (bound.ok()) sockets_.push_back(std::move(bound.value));
  return bound.error;
}

int ListenerGroup::openUnix(const ListenerOptions& options) {
  const bool isFile = address_.host()[0] != '\0';
  // Until it listens, because a path that is bound and does not listen looks like one that a dead server left.
  Result<StartGuard> starting;
  if (isFile) {
    starting = StartGuard::takePath(address_);
    if (!starting.ok()) return starting.error;
    if (const int error = clearStalePath(address_)) return error;
  }
  fixed_ = true;
  if (const int error = bindMember({})) return error;
  if (isFile) {
    if (const int error = pinFile()) return error;
    // No client can connect before it listens.
    if (options.mode != 0 && ::chmod(unlinkPath_.c_str(), options.mode) != 0) return errno;
  }
  return listen(options.backlog);
}

int ListenerGroup::pin(const std::string& path) {
  unlinkPath_ = path;
  file_.reset(::open(unlinkPath_.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  return file_.valid() ? 0 : errno;
}

int ListenerGroup::pinFile() {
  const int error = pin(absolutePath(address_.host()));
  if (error == 0) return 0;
  unlinkIfThere(unlinkPath_);  // we bound it just now, and nothing would remove it later
  return error;
}

int ListenerGroup::listen(int backlog) {
  for (const Fd& socket : sockets_) {
    const Result<int> listening = sock::listen(socket.get(), backlog);
    if (!listening.ok()) return listening.error;
  }
  return 0;
}

namespace {

bool isSameAddress(const Address& a, const Address& b) {
  return a.family() == b.family() && a.port() == b.port() && a.host() == b.host();
}

}  // namespace

Opened ListenerGroup::adopt(const std::vector<int>& sockets, const ListenerOptions& options, Fd guard, const std::string& path,
                            bool borrowed, size_t* culprit) {
  if (sockets.empty()) return Opened::failure(EINVAL);
  std::shared_ptr<ListenerGroup> group(new ListenerGroup());
  for (size_t i = 0; i < sockets.size(); ++i) {
    *culprit = i;
    const Result<int> listening = sock::checkListening(sockets[i]);
    if (!listening.ok()) return Opened::failure(listening.error);
    const Result<Address> local = sock::localAddress(sockets[i]);
    if (!local.ok()) return Opened::failure(local.error);
    if (i == 0) group->address_ = local.value;
    if (!isSameAddress(local.value, group->address_)) return Opened::failure(EADDRNOTAVAIL);
    borrowed = borrowed || (!local.value.isUnix() && !sock::sharesPort(sockets[i]).value);
  }
  for (const int socket : sockets) {
    const Result<int> ours = sock::makeOurs(socket);
    if (!ours.ok()) return Opened::failure(ours.error);
  }
  group->options_ = options;
  group->borrowed_ = borrowed;
  group->fixed_ = borrowed || group->address_.isUnix() || sockets.size() > static_cast<size_t>(options.members);
  group->unlinks_ = false;
  group->guard_ = StartGuard::adopt(std::move(guard));
  // Gone, or another file by now: then it must not be unlinked.
  if (!path.empty()) (void)group->pin(path);
  // The last owner may have steered to some of them, and their numbers start anew here.
  if (!group->fixed_) (void)sock::stopSteering(sockets[0]);
  for (const int socket : sockets) group->sockets_.emplace_back(socket);
  group->listening_ = group->members();
  return Opened::success(std::move(group));
}

void ListenerGroup::giveBack(Fd fd) {
  std::lock_guard lock(mutex_);
  for (int& taken : taken_) {
    if (taken == fd.get()) taken = -1;
  }
  fd.reset();  // inside of the lock: share() duplicates numbers
}

Result<ListenerShare> ListenerGroup::share() {
  using Shared = Result<ListenerShare>;
  std::lock_guard lock(mutex_);
  ListenerShare share;
  for (size_t i = 0; i < sockets_.size(); ++i) {
    const int fd = sockets_[i].valid() ? sockets_[i].get() : i < taken_.size() ? taken_[i] : -1;
    if (fd < 0) continue;
    Result<Fd> copy = sock::duplicate(fd);
    if (!copy.ok()) return Shared::failure(copy.error);
    share.sockets.push_back(std::move(copy.value));
  }
  if (guard_.descriptor().valid()) {
    Result<Fd> copy = sock::duplicate(guard_.descriptor().get());
    if (!copy.ok()) return Shared::failure(copy.error);
    share.guard = std::move(copy.value);
  }
  if (file_.valid() && unlinks_) share.path = unlinkPath_;
  return Shared::success(std::move(share));
}

ListenerGroup::~ListenerGroup() {
  if (!file_.valid() || !unlinks_) return;
  const Result<struct statx> bound = statusAt(file_.get(), "", AT_EMPTY_PATH);
  const Result<struct statx> there = statusOfPath(unlinkPath_);
  // Another server may have put its own socket there since.
  if (bound.ok() && there.ok() && isSameFile(bound.value, there.value)) unlinkIfThere(unlinkPath_);
}

int ListenerGroup::grow(int more) {
  const sock::ListenOptions socketOptions{.reusePort = true, .ipv6Only = options_.ipv6Only};
  const size_t before = sockets_.size();
  if (kept_ != 0) listening_ = kept_;  // those beyond have been closed
  for (int i = 0; i < more; ++i) {
    int error = bindMember(socketOptions);
    if (error == 0) error = sock::listen(sockets_.back().get(), options_.backlog).error;
    if (error != 0) {
      sockets_.resize(before);
      return error;
    }
  }
  listening_ += more;
  kept_ = listening_;
  std::lock_guard lock(mutex_);
  if (steered_) (void)applySteering(sockets_.back().get());
  return 0;
}

void ListenerGroup::steerAway(int fd) {
  if (options_.shared || kept_ < 1) return;
  std::lock_guard lock(mutex_);
  (void)applySteering(fd);
}

int ListenerGroup::steerByCpu(const std::vector<int>& cpus) {
  if (options_.shared || fixed_) return 0;
  std::lock_guard lock(mutex_);
  cpus_ = cpus;
  for (size_t i = 0; i < sockets_.size(); ++i) {
    const int fd = sockets_[i].valid() ? sockets_[i].get() : i < taken_.size() ? taken_[i] : -1;
    if (fd >= 0) return applySteering(fd);
  }
  return 0;
}

int ListenerGroup::applySteering(int fd) {
  const auto count = static_cast<uint32_t>(kept_ > 0 ? kept_.load() : listening_);
  const Result<int> steered = sock::steer(fd, count, cpus_);
  if (steered.ok()) steered_ = true;
  return steered.error;
}

Fd ListenerGroup::take(int member) {
  MR_CHECK(has(member), "a listening socket is taken twice");
  std::lock_guard lock(mutex_);
  if (taken_.size() < sockets_.size()) taken_.resize(sockets_.size(), -1);
  taken_[member] = sockets_[member].get();
  return std::move(sockets_[member]);
}

}  // namespace mr
