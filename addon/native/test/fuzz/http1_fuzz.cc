#include "../http1_compare.h"

#include "fuzz_input.h"

// Words of the protocol are worth more than their bytes one by one: a byte below 32 that no request needs stands for one.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string kWords[] = {"GET / HTTP/1.1\r\n",
                                       "POST /a HTTP/1.0\r\n",
                                       "Host: a\r\n",
                                       "Content-Length: ",
                                       "\r\n\r\n",
                                       "Transfer-Encoding: chunked\r\n",
                                       "Connection: close\r\n",
                                       "Expect: 100-continue\r\n",
                                       "0\r\n\r\n",
                                       "\r\n",
                                       "5\r\nabcde\r\n"};
  mr::test::FuzzInput input(data, size);
  mr::FramingConfig config;
  config.kind = mr::FramingKind::kHttp1;
  config.maxHeadBytes = 16 + input.byte() * 2;
  config.maxHeaders = 1 + input.byte() % 8;
  config.maxBytes = input.byte();
  config.wholeBytes = input.byte() % 16;
  config.streamsBody = input.byte() % 2 == 1;
  std::vector<size_t> sizes(input.byte() % 6 + 1);
  for (size_t& each : sizes) each = input.byte() % 32 + 1;
  std::string stream;
  for (uint8_t byte : input.rest()) {
    const size_t word = byte - size_t{14};
    if (byte >= 14 && word < std::size(kWords)) {
      stream += kWords[word];
    } else {
      stream += static_cast<char>(byte);
    }
  }
  std::vector<size_t> ends;
  for (size_t end = 0, i = 0; end < stream.size(); ++i) {
    end = std::min(stream.size(), end + sizes[i % sizes.size()]);
    ends.push_back(end);
  }
  const auto wrong = mr::test::compareHttp1(config, stream, ends);
  if (!wrong) return 0;
  std::fprintf(stderr, "%s\n", wrong->c_str());
  std::abort();
}
