#include "codec/proxy_answer.h"

namespace mr {

ProxyHeader readProxyHeader(const uint8_t* data, size_t size) {
  if (size == 0) return partialHeader(1);
  if (data[0] == 'P') return readProxyV1(data, size);
  if (data[0] == '\r') return readProxyV2(data, size);
  return brokenHeader(ProxyError::kNotAHeader);
}

}  // namespace mr
