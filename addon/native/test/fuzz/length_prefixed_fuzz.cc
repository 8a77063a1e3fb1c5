#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mr::test::FuzzInput input(data, size);
  mr::FramingConfig config;
  config.kind = mr::FramingKind::kLengthPrefixed;
  config.lengthType = static_cast<mr::LengthType>(input.byte() % 7);
  config.lengthOffset = static_cast<uint32_t>(input.number());
  const uint8_t flags = input.byte();
  const auto adjustment = static_cast<int32_t>(input.number());
  // INT32_MIN has no opposite, and stays unchanged.
  config.lengthAdjustment = flags % 2 == 1 && adjustment != INT32_MIN ? -adjustment : adjustment;
  config.lengthIncludesHeader = flags / 2 % 2 == 1;
  config.strip = flags / 4 % 2 == 1 ? mr::FramingConfig::kStripHeader : static_cast<uint32_t>(input.number());
  config.maxBytes = input.number();
  return mr::test::fuzz(config, input);
}
