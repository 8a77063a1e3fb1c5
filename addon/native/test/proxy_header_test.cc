#include "harness.h"
#include "proxy_reference.h"

using namespace mr;
using namespace mr::test;
using Kind = ProxyHeader::Kind;
using Origin = ProxyHeader::Origin;

namespace {

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);
const std::string kInet4Block("\x0a\x00\x00\x01\x0a\x00\x00\x02\x30\x39\x01\xbb", 12);

std::string number16(size_t value) { return {static_cast<char>(value / 256), static_cast<char>(value % 256)}; }

std::string v2(int command, int family, const std::string& rest) {
  return kSignature + static_cast<char>(command) + static_cast<char>(family) + number16(rest.size()) + rest;
}

std::string tlv(int type, const std::string& value) { return static_cast<char>(type) + number16(value.size()) + value; }

// The last four bytes become the checksum.
std::string summed(std::string header) {
  const uint32_t crc = referenceCrc32c(header);
  for (size_t i = 0; i < 4; ++i) header[header.size() - 4 + i] = static_cast<char>(crc >> (24 - 8 * i));
  return header;
}

// At every split, with and without bytes of the application behind it.
ProxyHeader checked(const std::string& header) {
  for (const std::string behind : {"", "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n"}) {
    const auto wrong = brokenProxyContract(header + behind);
    if (wrong) fail(__FILE__, __LINE__, *wrong + " in " + header);
  }
  const ProxyHeader read = readExactly(header);
  CHECK_EQ(read.kind, Kind::kHeader);
  CHECK_EQ(read.consumed, header.size());
  return read;
}

// `at`: the size at which it has to be known, and not before.
void checkError(const std::string& stream, ProxyError error, size_t at) {
  Note note([&] { return stream; });
  if (const auto wrong = brokenProxyContract(stream)) fail(__FILE__, __LINE__, *wrong);
  CHECK_EQ(readExactly(stream.substr(0, at - 1)).kind, Kind::kPartial);
  CHECK_EQ(readExactly(stream.substr(0, at)).kind, Kind::kError);
  CHECK_EQ(readExactly(stream.substr(0, at)).error, error);
}
void checkLineError(const std::string& line) { checkError(line + "\r\n", ProxyError::kMalformed, line.size() + 2); }

}  // namespace

TEST("v1: reads TCP4 and TCP6 with their ports") {
  const ProxyHeader four = checked("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n");
  CHECK_EQ(four.origin, Origin::kProxied);
  CHECK_EQ(four.version, 1);
  CHECK(four.source == ProxyEndpoint{4, 56324, {192, 168, 0, 1}});
  CHECK(four.destination == ProxyEndpoint{4, 443, {192, 168, 0, 11}});
  const ProxyHeader six = checked("PROXY TCP6 2001:DB8::1 ::ffff:1.2.3.4 0 65535\r\n");
  CHECK(six.source == ProxyEndpoint{6, 0, {0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}});
  CHECK(six.destination == ProxyEndpoint{6, 65535, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 1, 2, 3, 4}});
  const std::string longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  checked("PROXY TCP6 " + longest + ' ' + longest + " 65535 65535\r\n");
}

TEST("v1: keeps the sender for UNKNOWN, up to the longest line") {
  CHECK_EQ(checked("PROXY UNKNOWN\r\n").origin, Origin::kSender);
  checked("PROXY UNKNOWN \r\n");
  checked("PROXY UNKNOWN any thing: 99999 \xff\r\n");
  checked("PROXY UNKNOWN " + std::string(107 - 16, 'x') + "\r\n");
}

TEST("v1: refuses a line without CRLF within 107 bytes, at the first byte that leaves no room") {
  const std::string longest = "PROXY UNKNOWN " + std::string(107 - 16, 'x');
  checkError(longest + "x\r\n", ProxyError::kTooLarge, 106);
  checkError("PROXY TCP4 " + std::string(200, '1'), ProxyError::kTooLarge, 106);
}

TEST("v1: refuses what is not exactly the grammar") {
  for (const char* line : {
           "PROXY TCP4 1.2.3.4 1.2.3.4 1",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3",
           "PROXY TCP4  1.2.3.4 1.2.3.4 1 2",
           "PROXY TCP4 1.2.3.4  1.2.3.4 1 2",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ",
           "PROXY TCP4 1.2.3.4 1.2.3.4  2",
           "PROXY TCP4 01.2.3.4 1.2.3.4 1 2",
           "PROXY TCP4 1.2.3.256 1.2.3.4 1 2",
           "PROXY TCP4 1.2.3 1.2.3.4 1 2",
           "PROXY TCP4 1.2.3.4 1.2.3.4 01 2",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 00",
           "PROXY TCP4 1.2.3.4 1.2.3.4 65536 2",
           "PROXY TCP4 1.2.3.4 1.2.3.4 1 100000",
           "PROXY TCP4 ",
           "PROXY TCP6 1.2.3.4 1.2.3.4 1 2",
           "PROXY TCP6 ::1::2 ::1 1 2",
           "PROXY TCP6 :::1 ::1 1 2",
           "PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2",
           "PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2",
           "PROXY TCP6 00001:: ::1 1 2",
           "PROXY TCP6 ::01.2.3.4 ::1 1 2",
           "PROXY TCP6 ::1 ::1 1 a",
       }) {
    checkLineError(line);
  }
}

TEST("v1: refuses a byte that cannot stand there as soon as it comes") {
  checkError("PROXY tCP4 1.2.3.4", ProxyError::kMalformed, 7);
  checkError("PROXY  TCP4 1.2.3.4", ProxyError::kMalformed, 7);
  checkError("PROXY TCP5 1.2.3.4", ProxyError::kMalformed, 10);
  checkError("PROXY TCP4\t1.2.3.4", ProxyError::kMalformed, 11);
  checkError("PROXY TCP4 1.2.3.4\t", ProxyError::kMalformed, 19);
  checkError("PROXY TCP4 ::1 ", ProxyError::kMalformed, 12);
  checkError("PROXY TCP4 1.2.3.4 1.2.3.4 1 +2", ProxyError::kMalformed, 30);
  checkError("PROXY TCP6 fe80::1%eth0", ProxyError::kMalformed, 19);
  checkError("PROXY UNKNOWNS\r\n", ProxyError::kMalformed, 14);
  checkError("PROXY UNKNOWN\n", ProxyError::kMalformed, 14);
  checkError("PROXY UNKNOWN \rx\n", ProxyError::kMalformed, 16);
  checkError("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", ProxyError::kMalformed, 31);
  checkError("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n", ProxyError::kMalformed, 32);
}

TEST("says at the first byte that differs that this is no header") {
  checkError("GET / HTTP/1.1\r\n", ProxyError::kNotAHeader, 1);
  checkError("POST / HTTP/1.1\r\n", ProxyError::kNotAHeader, 2);
  checkError("PROXY\tTCP4", ProxyError::kNotAHeader, 6);
  for (size_t i = 0; i < kSignature.size(); ++i) {
    std::string wrong = v2(0x21, 0x11, kInet4Block);
    wrong[i] = '!';
    checkError(wrong, ProxyError::kNotAHeader, i + 1);
  }
  CHECK_EQ(readProxyHeader(nullptr, 0).needed, 1u);
}

TEST("v2: reads TCP over IPv4 and IPv6") {
  const ProxyHeader four = checked(v2(0x21, 0x11, kInet4Block));
  CHECK_EQ(four.origin, Origin::kProxied);
  CHECK_EQ(four.version, 2);
  CHECK(four.source == ProxyEndpoint{4, 12345, {10, 0, 0, 1}});
  CHECK(four.destination == ProxyEndpoint{4, 443, {10, 0, 0, 2}});
  const ProxyHeader six = checked(v2(0x21, 0x21, std::string(16, 'a') + std::string(16, 'b') + number16(65535) + number16(7)));
  CHECK_EQ(six.source.family, 6);
  CHECK_EQ(six.source.bytes[15], 'a');
  CHECK_EQ(six.destination.bytes[0], 'b');
  CHECK_EQ(six.source.port, 65535);
  CHECK_EQ(six.destination.port, 7);
}

TEST("v2: knows a Unix peer, and keeps the sender for LOCAL and UNSPEC whatever is in the block") {
  CHECK_EQ(checked(v2(0x21, 0x31, std::string(216, 'u'))).origin, Origin::kUnix);
  for (int family : {0x00, 0x11, 0x12, 0xff}) {
    CHECK_EQ(checked(v2(0x20, family, "")).origin, Origin::kSender);
    CHECK_EQ(checked(v2(0x20, family, "anything")).origin, Origin::kSender);
  }
  for (int family : {0x00, 0x01, 0x10, 0x30}) CHECK_EQ(checked(v2(0x21, family, "anything")).origin, Origin::kSender);
}

TEST("v2: skips TLVs, and checks the one with the checksum") {
  checked(v2(0x21, 0x11, kInet4Block + tlv(1, "h2") + tlv(4, "") + tlv(0xea, std::string(300, 't'))));
  checked(v2(0x21, 0x31, std::string(216, 'u') + tlv(0x20, "ssl")));
  std::string good = summed(v2(0x21, 0x11, kInet4Block + tlv(1, "h2") + tlv(3, std::string(4, '\0'))));
  checked(good);
  for (size_t i = 16; i < 28; ++i) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    checkError(bad, ProxyError::kChecksum, bad.size());
  }
  CHECK_EQ(referenceCrc32c("123456789"), 0xe3069283u);  // the check value of the CRC catalogue
}

TEST("v2: refuses unknown versions, commands, families, protocols and datagrams at their byte") {
  for (int command : {0x11, 0x31, 0x01, 0xf1}) checkError(v2(command, 0x11, kInet4Block), ProxyError::kUnsupported, 13);
  for (int command : {0x22, 0x2f}) checkError(v2(command, 0x11, kInet4Block), ProxyError::kMalformed, 13);
  for (int family : {0x41, 0xf1, 0x13, 0x1f, 0x42}) checkError(v2(0x21, family, kInet4Block), ProxyError::kMalformed, 14);
  for (int family : {0x02, 0x12, 0x22, 0x32}) checkError(v2(0x21, family, kInet4Block), ProxyError::kUnsupported, 14);
}

TEST("v2: refuses a length below the address block or above the limit, and takes the limit") {
  checkError(v2(0x21, 0x11, std::string(11, 'x')), ProxyError::kMalformed, 16);
  checkError(v2(0x21, 0x21, std::string(35, 'x')), ProxyError::kMalformed, 16);
  checkError(v2(0x21, 0x31, std::string(215, 'x')), ProxyError::kMalformed, 16);
  checkError(v2(0x20, 0x00, std::string(4097, 'x')), ProxyError::kTooLarge, 16);
  checked(v2(0x20, 0x00, std::string(4096, 'x')));
  checked(v2(0x21, 0x11, kInet4Block + tlv(4, std::string(4096 - 12 - 3, 'x'))));
}

TEST("v2: refuses TLVs that do not fit, and a checksum that is no checksum") {
  for (const std::string& rest :
       {std::string("\x04"), std::string("\x04\0", 2), std::string("\x04\0\x01", 3), std::string("\x04\xff\xff", 3),
        tlv(3, "abc"), tlv(3, "abcde"), tlv(3, "abcd") + tlv(3, "abcd"), tlv(4, "x") + "y"}) {
    const std::string header = v2(0x21, 0x11, kInet4Block + rest);
    checkError(header, ProxyError::kMalformed, header.size());
  }
}
