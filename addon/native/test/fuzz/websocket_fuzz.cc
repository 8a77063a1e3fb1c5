#include "../websocket_compare.h"

#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mr::test::FuzzInput input(data, size);
  mr::FramingConfig config;
  config.kind = mr::FramingKind::kWebSocket;
  const uint64_t number = input.number();
  config.maxBytes = number / 2;
  config.windowBits = number % 2 == 0 ? 0 : 15;
  const std::vector<size_t> ends = input.parts();
  const auto wrong = mr::test::compareWebSocket(config, input.rest(), ends);
  if (!wrong) return 0;
  std::fprintf(stderr, "%s\n%s\n%s\n", wrong->c_str(), mr::test::describe(config).c_str(),
               mr::test::describe(input.rest()).c_str());
  std::abort();
}
