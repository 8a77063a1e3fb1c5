// Ranges of IP addresses as people write them: "10.0.0.0/8", "2001:db8::/32", and one address, "192.0.2.7".
//
// An IPv4 peer of a dual-stack listener shows up as ::ffff:a.b.c.d. It is an IPv4 peer here: IPv4 ranges hold it, and IPv6
// ranges do not, "::/0" neither. A range written in that form ("::ffff:10.0.0.0/104") is the IPv4 range.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "net/address.h"

namespace mr {

struct CidrRange {
  uint8_t family = 0;  // 4 or 6
  uint8_t prefix = 0;  // bits that have to agree
  std::array<uint8_t, 16> bytes{};

  // Error: EINVAL. Refused too: a scope, and bits behind the prefix ("10.0.0.1/8"), because that may mean either one
  // host or a network, and trusting the wrong one is a hole.
  static Result<CidrRange> parse(const std::string& text);
};

class CidrSet {
 public:
  // Error: EINVAL when any text is not a range; CidrRange::parse finds which. No texts: an empty set.
  static Result<CidrSet> parse(const std::vector<std::string>& texts);

  // Unix peers and unnamed ones are in no range.
  bool contains(const Address& address) const;
  // family 4 or 6, as in Peer; 4 or 16 bytes. Any other family is in no range.
  bool contains(uint8_t family, const uint8_t* bytes) const;

 private:
  std::vector<CidrRange> ranges_;
};

}  // namespace mr
