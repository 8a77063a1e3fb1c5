#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mr::test::FuzzInput input(data, size);
  mr::FramingConfig config;
  config.kind = mr::FramingKind::kFixed;
  config.fixedBytes = std::max<uint64_t>(input.number(), 1);
  config.maxBytes = config.fixedBytes;  // the size is its own limit
  return mr::test::fuzz(config, input);
}
