#include "exchange/cost_sampler.h"

namespace mr {

std::optional<CostSampler::Read> CostSampler::readSample(const CostSample& sample, uint64_t dearNs, uint64_t nowNs) const {
  const CostTable::Key key = sample.key & ~rowBits_;
  if (sample.runs == 0 || !CostTable::isKey(key)) return std::nullopt;
  if (sample.ns <= dearNs) return Read{key, sample.ns, true};
  const auto [ns, exact] = clock_.worked(sample.ns, nowNs);
  return Read{key, ns, exact};
}

void CostSampler::learnInPool(std::span<const CostSample> samples, uint64_t nowNs) {
  for (const CostSample& sample : samples) {
    const auto read = readSample(sample, CostTable::kHopNs * sample.runs, nowNs);
    if (!read) continue;
    // A worker that lost its core for a moment knows a bound. That is enough where the frame is dear or nothing is known.
    if (read->exact || read->ns > CostTable::kOverrunNs || costs_.costNs(read->key) == 0) {
      costs_.learnInPool(read->key, sample.runs, read->ns / sample.runs, nowNs);
    }
    if (sample.flags & CostSample::kAsynchronous) costs_.banAsynchronous(read->key);
  }
}

}  // namespace mr
