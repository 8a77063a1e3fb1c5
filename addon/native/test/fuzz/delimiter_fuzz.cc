#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mr::test::FuzzInput input(data, size);
  mr::FramingConfig config;
  config.kind = mr::FramingKind::kDelimiter;
  config.maxBytes = input.number();
  config.trimCarriageReturn = input.byte() % 2 == 1;
  config.delimiter = input.text(input.byte() % 8 + 1);
  return mr::test::fuzz(config, input);
}
