// The conversation of two processes of which the second takes over the listening sockets of the first, over a Unix stream
// socket. A message is a small header with a version, and the kind of each descriptor that travels with it. Knows the form
// of the messages, not when they are sent.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/result.h"

namespace mr {

struct PassedSocket {
  enum class Role : uint8_t {
    kListening = 1,
    kGuard = 2,  // the start guard of the same key
  };
  Role role = Role::kListening;
  std::string key;   // for which address of the sender's list it was opened
  std::string path;  // the Unix path that goes with it
  Fd fd;
};

struct ControlMessage {
  enum class Kind : uint16_t {
    kHello = 1,     // from the new process: which sockets do you listen on?
    kSockets = 2,   // from the old one: some of its sockets
    kAll = 3,       // those were all
    kReady = 4,     // from the new one: every reactor accepts
    kReleased = 5,  // from the old one: it accepts no more
  };
  Kind kind = Kind::kHello;
  std::vector<PassedSocket> sockets;
};

constexpr uint16_t kControlVersion = 1;

// How many sockets a message may have: below the kernel's limit, and small enough for any socket buffer.
constexpr size_t kMaxSocketsOfMessage = 64;

// The errno, 0 on success. The kernel holds the descriptors until they are received: the sender may close them. EAGAIN when the
// peer does not read: the message is lost, and the conversation with it.
int sendMessage(int fd, const ControlMessage& message);

// Puts messages together from the pieces that the socket has. One for each conversation.
class MessageReader {
 public:
  // No value: nothing whole is there yet. Errors: ENOTCONN when the peer has finished, EPROTO when it speaks something else,
  // EPROTONOSUPPORT when it speaks another version, EMFILE when there is no room for its descriptors, or the error of recvmsg.
  Result<std::optional<ControlMessage>> next(int fd);

 private:
  using Read = Result<std::optional<ControlMessage>>;
  Read cut();

  std::vector<uint8_t> bytes_;
  std::vector<Fd> descriptors_;
};

}  // namespace mr
