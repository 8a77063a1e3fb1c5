// The PROXY protocol: a header that a proxy sends ahead of a connection's bytes, with the addresses of the connection. Versions 1
// (text) and 2 (binary) of HAProxy's doc/proxy-protocol.txt; which one comes is seen at the first byte. The contract is a
// framer's:
//
//   ProxyHeader readProxyHeader(data, size)
//
// looks at the first `size` bytes of a connection and answers one of
//   kHeader   `consumed` bytes were the header, the application's bytes follow; `origin` says whose connection it is
//   kPartial  so far a header, not yet whole: call again with the same start and at least `needed` bytes. Never more than
//             kMaxProxyV1Bytes or kMaxProxyV2Bytes
//   kError    `error` says how the sender broke the rules. No more bytes change it: the connection has to be closed
//
// Stateless and pure: the same bytes give the same answer however they arrived. Allocates nothing.
//
// Any client can forge a header. The caller decides whether the sender may be trusted.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace mr {

// Section 2.1: the longest line, its CRLF included.
inline constexpr size_t kMaxProxyV1Bytes = 107;
// Section 2.2: signature, version and command, family and protocol, length.
inline constexpr size_t kProxyV2FixedBytes = 16;
// The protocol would allow 65535. The specification expects at most a segment; addresses take 216, certificate names
// and unique ids some hundred more.
inline constexpr size_t kMaxProxyV2Length = 4096;
inline constexpr size_t kMaxProxyV2Bytes = kProxyV2FixedBytes + kMaxProxyV2Length;

enum class ProxyError : uint8_t {
  kNone = 0,
  kNotAHeader = 1,   // neither "PROXY " nor the signature of version 2: something else was sent
  kTooLarge = 2,     // a line that does not end in time, or a length above kMaxProxyV2Length
  kMalformed = 3,    // begun as a header and against its grammar
  kUnsupported = 4,  // another version, or a datagram: nothing that could have come over this connection
  kChecksum = 5,     // the CRC32c of version 2 is wrong
};

// The family is 4 or 6 as in Peer, or 0 for none; IPv4 lies in the first 4 bytes, the rest is 0. The port is in host order.
struct ProxyEndpoint {
  uint8_t family = 0;
  uint16_t port = 0;
  std::array<uint8_t, 16> bytes{};
  bool operator==(const ProxyEndpoint&) const = default;
};

struct ProxyHeader {
  enum class Kind : uint8_t { kPartial, kHeader, kError } kind = Kind::kPartial;
  enum class Origin : uint8_t {
    kSender,   // UNKNOWN, LOCAL or UNSPEC: the connection is the proxy's own, or it cannot say: the socket's peer stays
    kProxied,  // `source` connected to `destination`
    kUnix,     // a Unix socket's client: a peer without address
  } origin = Origin::kSender;
  ProxyError error = ProxyError::kNone;
  uint8_t version = 0;  // 1 or 2 when kHeader
  size_t consumed = 0;
  size_t needed = 0;
  ProxyEndpoint source, destination;
  bool operator==(const ProxyHeader&) const = default;
};

ProxyHeader readProxyHeader(const uint8_t* data, size_t size);

// For the above: the first byte has been seen to be this version's.
ProxyHeader readProxyV1(const uint8_t* data, size_t size);
ProxyHeader readProxyV2(const uint8_t* data, size_t size);

}  // namespace mr
