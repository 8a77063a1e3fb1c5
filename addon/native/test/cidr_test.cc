#include "net/cidr.h"

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

bool holds(const std::vector<std::string>& ranges, const std::string& host) {
  return must(CidrSet::parse(ranges)).contains(must(Address::inet(host, 1)));
}

}  // namespace

TEST("holds an IPv4 range's first and last address and no neighbour, for every prefix") {
  const uint32_t base = 0xc0a85aa5;
  for (int prefix = 0; prefix <= 32; ++prefix) {
    const uint32_t mask = prefix == 0 ? 0 : UINT32_MAX << (32 - prefix);
    const auto text = [](uint32_t a) {
      return std::to_string(a >> 24) + '.' + std::to_string(a >> 16 & 255) + '.' + std::to_string(a >> 8 & 255) + '.' +
             std::to_string(a & 255);
    };
    const std::string range = text(base & mask) + '/' + std::to_string(prefix);
    CHECK(holds({range}, text(base & mask)));
    CHECK(holds({range}, text(base | ~mask)));
    CHECK(holds({range}, "::ffff:" + text(base | ~mask)));
    if (prefix == 0) continue;
    CHECK(!holds({range}, text((base & mask) - 1)));
    CHECK(!holds({range}, text((base | ~mask) + 1)));
  }
}

TEST("holds IPv6 ranges, and one address without a prefix") {
  CHECK(holds({"2001:db8::/33"}, "2001:db8:7fff::1"));
  CHECK(!holds({"2001:db8::/33"}, "2001:db8:8000::1"));
  CHECK(holds({"::1"}, "::1"));
  CHECK(!holds({"::1"}, "::2"));
  CHECK(holds({"10.0.0.0/8", "192.0.2.7"}, "192.0.2.7"));
  CHECK(!holds({"10.0.0.0/8", "192.0.2.7"}, "192.0.2.8"));
  CHECK(!holds({}, "127.0.0.1"));
}

TEST("takes a mapped peer as the IPv4 peer it is") {
  CHECK(holds({"::ffff:10.0.0.0/104"}, "10.1.2.3"));
  CHECK(holds({"::ffff:10.0.0.1"}, "10.0.0.1"));
  CHECK(!holds({"::/0"}, "10.1.2.3"));
  CHECK(!holds({"::/0"}, "::ffff:10.1.2.3"));
  CHECK(!holds({"0.0.0.0/0"}, "::1"));
  CHECK(holds({"::/0"}, "::1"));
}

TEST("holds no Unix peer") {
  const CidrSet all = must(CidrSet::parse({"0.0.0.0/0", "::/0"}));
  CHECK(!all.contains(must(Address::unixPath("/a"))));
  CHECK(!all.contains(Address{}));
  const uint8_t bytes[16] = {};
  CHECK(!all.contains(0, bytes));
  CHECK(all.contains(4, bytes));
}

TEST("refuses what is no range") {
  for (const std::string& text :
       {std::string(""), std::string("/8"), std::string("10.0.0.0/"), std::string("10.0.0.0/33"), std::string("10.0.0.0/08"),
        std::string("10.0.0.0/-1"), std::string("10.0.0.0/8 "), std::string("10.0.0.0/8/8"), std::string("10.0.0.1/8"),
        std::string("10/8"), std::string("010.0.0.0/8"), std::string("::/129"), std::string("::1/64"), std::string("localhost"),
        std::string("fe80::1%lo"), std::string("::ffff:10.0.0.1/104"), std::string("10.0.0.0/256"),
        std::string("1.2.3.4\0x", 9)}) {
    Note note([&] { return text; });
    CHECK_EQ(CidrRange::parse(text).error, EINVAL);
    CHECK_EQ(CidrSet::parse({"::1", text}).error, EINVAL);
  }
}
