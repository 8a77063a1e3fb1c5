// The answers about a PROXY header, for the two versions' readers.
#pragma once

#include "codec/proxy_header.h"

namespace mr {

inline ProxyHeader wholeHeader(uint8_t version, ProxyHeader::Origin origin, size_t consumed) {
  ProxyHeader header;
  header.kind = ProxyHeader::Kind::kHeader;
  header.origin = origin;
  header.version = version;
  header.consumed = consumed;
  return header;
}

inline ProxyHeader partialHeader(size_t needed) {
  ProxyHeader header;
  header.needed = needed;
  return header;
}

inline ProxyHeader brokenHeader(ProxyError error) {
  ProxyHeader header;
  header.kind = ProxyHeader::Kind::kError;
  header.error = error;
  return header;
}

}  // namespace mr
