// The listening sockets of one address: one for each reactor on TCP (SO_REUSEPORT), one in all on a Unix path. Opened by one
// thread before the reactors take their members, so that all of them bind or none does. Accepts nothing itself.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "net/address.h"
#include "net/cidr.h"
#include "net/socket.h"
#include "net/start_guard.h"

namespace mr {

struct ListenerOptions {
  int members = 1;  // listening sockets wanted; a Unix path always gets 1
  int backlog = 511;
  bool ipv6Only = false;
  std::shared_ptr<const CidrSet> proxyFrom = nullptr;  // a PROXY header comes first, from these addresses only
  uint32_t mode = 0;                                   // of a Unix path; 0: as the umask says
  bool shared = false;  // skip the start guard: another server may listen on the same port on purpose
};

// The data with which another process goes on with the listening sockets of a group.
struct ListenerShare {
  std::vector<Fd> sockets;
  Fd guard;          // not valid where there is none
  std::string path;  // the Unix path that the last owner unlinks; empty when another process owns it
};

class ListenerGroup {
 public:
  // Binds and listens on every member. EADDRINUSE, EACCES, EADDRNOTAVAIL, ... as the kernel says them. A Unix path left by a
  // dead server (no process accepts on it) is replaced; a living one, or a file that is no socket, is EADDRINUSE. Less than one
  // member is EINVAL.
  static Result<std::shared_ptr<ListenerGroup>> open(const Address& address, const ListenerOptions& options);
  // Goes on with sockets that listen already, and owns them from then on; on failure nothing is owned. They have one address
  // (else EADDRNOTAVAIL); the other errors are those of sock::checkListening. `culprit`: which of them. `path`: see
  // ListenerShare; it is unlinked only after setUnlinks(true). `borrowed`: see isBorrowed(). More sockets than
  // options.members stay as they are.
  static Result<std::shared_ptr<ListenerGroup>> adopt(const std::vector<int>& sockets, const ListenerOptions& options, Fd guard,
                                                      const std::string& path, bool borrowed, size_t* culprit);
  ~ListenerGroup();  // unlinks the Unix path if it is still the file this group bound

  const Address& address() const { return address_; }  // with the real port when 0 was asked for
  // More listening sockets of the same address; their numbers follow those there are. The errno, 0 on success.
  int grow(int more);
  // Only the first `count` of the sockets that the kernel chooses from get new connections once steerAway() is called.
  void keepOnly(int count) { kept_ = count; }
  // With any socket of the group: the others take its new connections. Nothing happens to a group that is shared with another
  // server, whose sockets cannot be counted here.
  void steerAway(int fd);
  // New connections go to the socket whose reactor runs on the CPU that received them: cpus[i] is that of socket i. The errno, 0
  // on success, also where nothing is steered.
  int steerByCpu(const std::vector<int>& cpus);
  const ListenerOptions& options() const { return options_; }
  int members() const { return static_cast<int>(sockets_.size()); }
  Fd take(int member);  // once each; the taker owns it from then on
  bool has(int member) const { return member >= 0 && member < members() && sockets_[static_cast<size_t>(member)].valid(); }
  // The end of a taken member: it closes. The number must not be given out again while share() looks at it. Any thread.
  void giveBack(Fd fd);
  // Further descriptors of all sockets that are open, taken ones included. Any thread.
  Result<ListenerShare> share();
  // Whether the Unix path goes with this group. Any thread.
  void setUnlinks(bool on) { unlinks_ = on; }
  // Its sockets do not close with the reactor that accepts from them, and there are never more: the only one of a Unix path,
  // and those opened by another process.
  bool isFixed() const { return fixed_; }
  // Another process opened them, and may hold them for a successor: nothing is done to them that outlives our descriptors.
  bool isBorrowed() const { return borrowed_; }

 private:
  ListenerGroup() = default;

  // Each returns the errno, 0 on success.
  int openInet(const ListenerOptions& options);
  int openUnix(const ListenerOptions& options);
  int claim(const sock::ListenOptions& options);
  int guard();
  int bindMember(const sock::ListenOptions& options);
  int pinFile();
  int listen(int backlog);

  int pin(const std::string& path);

  Address address_;
  ListenerOptions options_;
  std::atomic<int> kept_{0};
  int applySteering(int fd);

  std::vector<int> cpus_;  // under mutex_
  int listening_ = 0;      // sockets among which the kernel chooses, as far as they are ours
  std::atomic<bool> steered_{false};
  StartGuard guard_;
  std::vector<Fd> sockets_;
  std::mutex mutex_;
  std::vector<int> taken_;  // by member, -1 while it is here and after it has closed
  bool fixed_ = false;
  bool borrowed_ = false;
  std::atomic<bool> unlinks_{true};
  std::string unlinkPath_;
  Fd file_;  // the bound Unix path, held open (O_PATH) so that no later file can have its inode number
};

}  // namespace mr
