#include "net/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace mr {

namespace {

constexpr size_t kPathOffset = offsetof(sockaddr_un, sun_path);

// Copied in and out: a cast would read the storage through a type that it was not written as.
template <typename Native>
Address wrap(const Native& native, size_t length) {
  Address address;
  std::memcpy(&address.storage, &native, sizeof(native));
  address.length = static_cast<socklen_t>(length);
  return address;
}

template <typename Native>
Native unwrap(const Address& address) {
  Native native;
  std::memcpy(&native, &address.storage, sizeof(native));
  return native;
}

// An interface by name or by number; 0 when there is none.
uint32_t scopeOf(const std::string& scope) {
  if (const uint32_t index = if_nametoindex(scope.c_str())) return index;
  char* end = nullptr;
  const unsigned long number = std::strtoul(scope.c_str(), &end, 10);
  const bool isNumber = !scope.empty() && scope[0] >= '0' && scope[0] <= '9' && *end == '\0' && number <= UINT32_MAX;
  return isNumber ? static_cast<uint32_t>(number) : 0;
}

std::string scopeName(uint32_t index) {
  char name[IF_NAMESIZE];
  return if_indextoname(index, name) ? std::string(name) : std::to_string(index);
}

Result<Address> inet6(const std::string& host, uint16_t port) {
  sockaddr_in6 in6{};
  const size_t percent = host.find('%');
  if (inet_pton(AF_INET6, host.substr(0, percent).c_str(), &in6.sin6_addr) != 1) return Result<Address>::failure(EINVAL);
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  if (percent != std::string::npos) {
    in6.sin6_scope_id = scopeOf(host.substr(percent + 1));
    if (in6.sin6_scope_id == 0) return Result<Address>::failure(EINVAL);
  }
  return Result<Address>::success(wrap(in6, sizeof(in6)));
}

std::string host4(const Address& address) {
  const auto in = unwrap<sockaddr_in>(address);
  char text[INET_ADDRSTRLEN] = "";
  inet_ntop(AF_INET, &in.sin_addr, text, sizeof(text));
  return text;
}

// With its scope: a link-local address means nothing without the interface.
std::string host6(const Address& address) {
  const auto in6 = unwrap<sockaddr_in6>(address);
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(AF_INET6, &in6.sin6_addr, text, sizeof(text));
  return in6.sin6_scope_id == 0 ? std::string(text) : std::string(text) + '%' + scopeName(in6.sin6_scope_id);
}

std::string pathOf(const Address& address) {
  if (address.length <= kPathOffset) return "";
  const auto un = unwrap<sockaddr_un>(address);
  const size_t size = std::min<size_t>(address.length - kPathOffset, sizeof(un.sun_path));
  // Only an abstract name may hold zero bytes: a path ends at the first one.
  return std::string(un.sun_path, un.sun_path[0] == '\0' ? size : strnlen(un.sun_path, size));
}

}  // namespace

Result<Address> Address::inet(const std::string& host, uint16_t port) {
  // inet_pton would stop at a zero byte and take the text before it.
  if (host.find('\0') != std::string::npos) return Result<Address>::failure(EINVAL);
  sockaddr_in in{};
  if (inet_pton(AF_INET, host.c_str(), &in.sin_addr) != 1) return inet6(host, port);
  in.sin_family = AF_INET;
  in.sin_port = htons(port);
  return Result<Address>::success(wrap(in, sizeof(in)));
}

Result<Address> Address::unixPath(const std::string& path) {
  if (path.empty()) return Result<Address>::failure(EINVAL);
  const bool isAbstract = path[0] == '\0';
  if (!isAbstract && path.find('\0') != std::string::npos) return Result<Address>::failure(EINVAL);
  sockaddr_un un{};
  const size_t terminator = isAbstract ? 0 : 1;
  if (path.size() + terminator > sizeof(un.sun_path)) return Result<Address>::failure(ENAMETOOLONG);
  un.sun_family = AF_UNIX;
  std::memcpy(un.sun_path, path.data(), path.size());
  return Result<Address>::success(wrap(un, kPathOffset + path.size() + terminator));
}

uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(unwrap<sockaddr_in>(*this).sin_port);
  if (family() == AF_INET6) return ntohs(unwrap<sockaddr_in6>(*this).sin6_port);
  return 0;
}

std::string Address::host() const {
  if (family() == AF_INET) return host4(*this);
  if (family() == AF_INET6) return host6(*this);
  return isUnix() ? pathOf(*this) : "";
}

}  // namespace mr
