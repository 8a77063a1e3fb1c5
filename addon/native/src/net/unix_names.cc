#include "net/unix_names.h"

#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>

#include <cerrno>
#include <cstring>
#include <optional>

#include "net/socket.h"

namespace mr {

namespace {

using Names = Result<std::vector<UnixName>>;

// From linux/unix_diag.h of 5.3: a build may have an older one.
constexpr uint32_t kShowUser = 0x40;  // UDIAG_SHOW_UID
constexpr uint16_t kUser = 7;         // UNIX_DIAG_UID

struct Request {
  nlmsghdr header;
  unix_diag_req body;
};

int ask(int fd) {
  Request request{};
  request.header.nlmsg_len = sizeof(request);
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.body.sdiag_family = 1;  // AF_UNIX
  request.body.udiag_states = ~0U;
  request.body.udiag_show = UDIAG_SHOW_NAME | kShowUser;
  return sock::send(fd, &request, sizeof(request)).error;
}

// Nothing when it has no name, or the kernel does not know whose it is.
std::optional<UnixName> parse(const uint8_t* data, size_t size) {
  unix_diag_msg message;
  if (size < sizeof(message)) return std::nullopt;
  std::memcpy(&message, data, sizeof(message));
  UnixName found{.name = {}, .inode = message.udiag_ino, .user = 0};
  bool hasUser = false;
  for (size_t at = sizeof(message); at + sizeof(nlattr) <= size;) {
    nlattr attribute;
    std::memcpy(&attribute, data + at, sizeof(attribute));
    if (attribute.nla_len < sizeof(attribute) || at + attribute.nla_len > size) return std::nullopt;
    const uint8_t* value = data + at + sizeof(attribute);
    const size_t length = attribute.nla_len - sizeof(attribute);
    if (attribute.nla_type == UNIX_DIAG_NAME) found.name.assign(reinterpret_cast<const char*>(value), length);
    if (attribute.nla_type == kUser && length == sizeof(found.user)) {
      std::memcpy(&found.user, value, length);
      hasUser = true;
    }
    at += NLA_ALIGN(attribute.nla_len);
  }
  if (!found.name.empty() && !hasUser) return std::nullopt;
  return found;
}

}  // namespace

Names unixNames(const std::string& prefix) {
  const Result<Fd> made = sock::createDiagnosis();
  if (!made.ok()) return Names::failure(made.error);
  if (const int error = ask(made.value.get())) return Names::failure(error);
  std::vector<UnixName> names;
  std::vector<uint8_t> room(64 << 10);  // more than the kernel puts into one datagram
  for (;;) {
    // It makes each part of its answer while the part before is being received, so that none is waited for.
    const Result<size_t> received = sock::receive(made.value.get(), room.data(), room.size());
    if (!received.ok()) return Names::failure(received.error);
    for (size_t at = 0; at + sizeof(nlmsghdr) <= received.value;) {
      nlmsghdr header;
      std::memcpy(&header, room.data() + at, sizeof(header));
      if (header.nlmsg_len < sizeof(header) || at + header.nlmsg_len > received.value) return Names::failure(EPROTO);
      if (header.nlmsg_type == NLMSG_DONE) return Names::success(std::move(names));
      if (header.nlmsg_type == NLMSG_ERROR) return Names::failure(EOPNOTSUPP);
      std::optional<UnixName> found = parse(room.data() + at + sizeof(header), header.nlmsg_len - sizeof(header));
      if (!found) return Names::failure(EOPNOTSUPP);
      if (!found->name.empty() && found->name.compare(0, prefix.size(), prefix) == 0) names.push_back(std::move(*found));
      at += NLMSG_ALIGN(header.nlmsg_len);
    }
    if (received.value == 0) return Names::failure(EPROTO);
  }
}

}  // namespace mr
