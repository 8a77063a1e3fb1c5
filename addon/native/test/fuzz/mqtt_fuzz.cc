#include "fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  mr::test::FuzzInput input(data, size);
  mr::FramingConfig config;
  config.kind = mr::FramingKind::kMqtt;
  config.maxBytes = input.number() + 1;
  const uint8_t types = input.byte();
  config.mqttTypes = types < 128 ? 0xffff : static_cast<uint16_t>(types << 8 | input.byte());
  return mr::test::fuzz(config, input);
}
