#include "../proxy_reference.h"

#include <cstdio>
#include <cstdlib>

// The first byte says how the stream begins, so that the rules behind the signatures are reached.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const std::string kBeginnings[] = {"", "PROXY ", "PROXY TCP4 1.2.3.4 ", "PROXY TCP6 ::", "PROXY UNKNOWN",
                                            std::string("\r\n\r\n\0\r\nQUIT\n\x21", 13),
                                            // TCP over IPv4 with room for a checksum
                                            std::string("\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13", 16)};
  const std::string stream = kBeginnings[data[0] % 7] + std::string(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto wrong = mr::test::brokenProxyContract(stream);
  if (!wrong) return 0;
  std::fprintf(stderr, "%s\n", wrong->c_str());
  std::abort();
}
