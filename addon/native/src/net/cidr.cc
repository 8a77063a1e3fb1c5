#include "net/cidr.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

namespace mr {

namespace {

constexpr uint8_t kMappedPrefix[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
constexpr uint8_t kMappedBits = 8 * sizeof(kMappedPrefix);

bool isMapped(const uint8_t* bytes) { return std::memcmp(bytes, kMappedPrefix, sizeof(kMappedPrefix)) == 0; }

bool agree(const uint8_t* a, const uint8_t* b, uint8_t bits) {
  const size_t whole = bits / 8;
  if (std::memcmp(a, b, whole) != 0) return false;
  return bits % 8 == 0 || (a[whole] ^ b[whole]) >> (8 - bits % 8) == 0;
}

bool readPrefix(std::string_view text, uint8_t most, uint8_t* prefix) {
  if (text.empty() || (text[0] == '0' && text.size() > 1)) return false;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), *prefix);
  return read.ec == std::errc{} && read.ptr == text.data() + text.size() && *prefix <= most;
}

bool isBare(const CidrRange& range) {
  for (size_t bit = range.prefix; bit < 8 * range.bytes.size(); ++bit) {
    if (range.bytes[bit / 8] >> (7 - bit % 8) & 1) return false;
  }
  return true;
}

// A mapped range as the IPv4 range it is.
void unmap(CidrRange* range) {
  if (range->family != 6 || range->prefix < kMappedBits || !isMapped(range->bytes.data())) return;
  std::copy(range->bytes.begin() + sizeof(kMappedPrefix), range->bytes.end(), range->bytes.begin());
  std::fill(range->bytes.begin() + 4, range->bytes.end(), uint8_t{0});
  range->family = 4;
  range->prefix = static_cast<uint8_t>(range->prefix - kMappedBits);
}

}  // namespace

Result<CidrRange> CidrRange::parse(const std::string& text) {
  const auto refused = Result<CidrRange>::failure(EINVAL);
  // inet_pton would stop at a zero byte and take the text before it.
  if (text.find('\0') != std::string::npos) return refused;
  const size_t slash = text.find('/');
  const std::string host = text.substr(0, slash);
  CidrRange range;
  range.family = host.find(':') == std::string::npos ? 4 : 6;
  if (inet_pton(range.family == 4 ? AF_INET : AF_INET6, host.c_str(), range.bytes.data()) != 1) return refused;
  range.prefix = range.family == 4 ? 32 : 128;
  if (slash != std::string::npos && !readPrefix(std::string_view(text).substr(slash + 1), range.prefix, &range.prefix)) {
    return refused;
  }
  if (!isBare(range)) return refused;
  unmap(&range);
  return Result<CidrRange>::success(range);
}

Result<CidrSet> CidrSet::parse(const std::vector<std::string>& texts) {
  CidrSet set;
  for (const std::string& text : texts) {
    const Result<CidrRange> range = CidrRange::parse(text);
    if (!range.ok()) return Result<CidrSet>::failure(range.error);
    set.ranges_.push_back(range.value);
  }
  return Result<CidrSet>::success(std::move(set));
}

bool CidrSet::contains(const Address& address) const {
  // Copied out: a cast would read the storage through a type that it was not written as.
  if (address.family() == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &address.storage, sizeof(in));
    return contains(4, reinterpret_cast<const uint8_t*>(&in.sin_addr));
  }
  if (address.family() == AF_INET6) {
    sockaddr_in6 in6;
    std::memcpy(&in6, &address.storage, sizeof(in6));
    return contains(6, in6.sin6_addr.s6_addr);
  }
  return false;
}

bool CidrSet::contains(uint8_t family, const uint8_t* bytes) const {
  if (family == 6 && isMapped(bytes)) return contains(4, bytes + sizeof(kMappedPrefix));
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const CidrRange& range) {
    return range.family == family && agree(range.bytes.data(), bytes, range.prefix);
  });
}

}  // namespace mr
