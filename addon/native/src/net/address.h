// A socket address as a value: IPv4, IPv6 or a Unix path. Resolves no names: literals only.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "base/result.h"

namespace mr {

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;

  // host: an IPv4 or IPv6 literal, the latter with or without a scope ("fe80::1%eth0", "fe80::1%2"). Error: EINVAL.
  static Result<Address> inet(const std::string& host, uint16_t port);
  // Error: ENAMETOOLONG, EINVAL when empty or with a zero byte inside. A leading '\0' names an abstract socket.
  static Result<Address> unixPath(const std::string& path);

  int family() const { return storage.ss_family; }
  bool isUnix() const { return storage.ss_family == AF_UNIX; }
  uint16_t port() const;     // 0 for Unix
  std::string host() const;  // "127.0.0.1", "::1", "fe80::1%eth0"; the path for Unix; "" for an unnamed peer
};

}  // namespace mr
