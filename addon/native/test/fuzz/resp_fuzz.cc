#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mr::test::FuzzInput input(data, size);
  mr::FramingConfig config;
  const uint8_t flags = input.byte();
  config.kind = flags % 2 == 0 ? mr::FramingKind::kRespCommand : mr::FramingKind::kRespValue;
  config.resp.batch = flags % 4 == 0;
  config.maxBytes = input.number() % (uint64_t{1} << 40) * (flags / 4 % 4 + 1) + 3;  // a value has three bytes at least
  config.resp.maxElements = input.number() % (1 << 20);
  config.resp.maxBulkBytes = input.number() % (uint64_t{1} << 40);
  config.resp.maxLineBytes = input.number() % (uint64_t{1} << 40);
  config.resp.maxDepth = input.byte() % 40;
  // The constructors allow no more.
  config.resp.maxDepth = std::min(config.resp.maxDepth, mr::RespLimits::kMostDepth);
  return mr::test::fuzz(config, input);
}
