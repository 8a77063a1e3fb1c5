// The one line that a measurement prints.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>

#include "histogram.h"

namespace loadgen {

// The replies to one group of connections in the measured window.
struct Tally {
  Histogram histogram;
  uint64_t requests = 0;
  uint64_t verified = 0;  // also before and after the window
};

inline std::string json_of(const Tally& tally, double seconds) {
  char text[320];
  std::snprintf(text, sizeof text,
                "\"requests\":%lu,\"seconds\":%.6f,\"throughput\":%.1f,\"p50\":%.2f,\"p99\":%.2f,\"p999\":%.2f,\"verified\":%lu",
                tally.requests, seconds, static_cast<double>(tally.requests) / seconds, tally.histogram.percentile_us(0.5),
                tally.histogram.percentile_us(0.99), tally.histogram.percentile_us(0.999), tally.verified);
  return text;
}

inline void print_result(const Tally& tally, const Tally* beside, double seconds, uint64_t server_cpu_ns) {
  std::string more = beside != nullptr ? ",\"beside\":{" + json_of(*beside, seconds) + "}" : "";
  std::printf("{%s,\"serverCpuUs\":%.1f,\"errors\":0%s}\n", json_of(tally, seconds).c_str(),
              static_cast<double>(server_cpu_ns) / 1000.0, more.c_str());
}

}  // namespace loadgen
