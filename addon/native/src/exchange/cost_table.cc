#include "exchange/cost_table.h"

namespace mr {

namespace {

uint64_t mixed(uint64_t known, uint64_t sample) { return known - known / 8 + sample / 8; }

}  // namespace

CostTable::~CostTable() {
  for (auto& row : rows_) delete row.load(std::memory_order_relaxed);
}

CostTable::Cell& CostTable::cell(Key key) {
  std::atomic<Row*>& place = rows_[key >> 8];
  Row* row = place.load(std::memory_order_acquire);
  if (!row) {
    auto* fresh = new Row();
    if (place.compare_exchange_strong(row, fresh, std::memory_order_acq_rel)) {
      row = fresh;
    } else {
      delete fresh;  // another thread was first
    }
  }
  return (*row)[key & 0xff];
}

// No change of another thread is lost: a ban must not vanish behind a sample.
template <typename Change>
void CostTable::update(Key key, Change&& change) {
  std::atomic<uint64_t>& word = cell(key).word;
  // Acquired: a reader of a ban also sees its end.
  uint64_t known = word.load(std::memory_order_acquire);
  for (;;) {
    const uint64_t next = change(known);
    // Readers of all cores hold this line: it is written only when there is news in it.
    if (next == known || word.compare_exchange_weak(known, next, std::memory_order_acq_rel, std::memory_order_acquire)) return;
  }
}

void CostTable::learnInPool(Key key, uint32_t runs, uint64_t nsEach, uint64_t nowNs) {
  const uint64_t sample = std::clamp<uint64_t>(nsEach, 1, kCostMask);
  const std::atomic<uint64_t>& bannedUntilNs = cell(key).bannedUntilNs;
  update(key, [&](uint64_t word) {
    const uint64_t cost = word & kCostMask;
    // Falls slowly and rises at once: one dear frame is reason enough to let the next ones travel alone.
    uint64_t next = cost == 0 || sample > cost * 8 ? sample : mixed(cost, sample);
    next = std::clamp<uint64_t>(next, 1, kCostMask);
    if (!(word & kBanned)) return isNews(cost, next) ? next : word;
    const uint64_t cheap = sample < kHopNs ? std::min<uint64_t>((word >> kRunsShift) + runs, kCheapRuns) : 0;
    // Asked only now: a thread may stand still before this while another bans and others run a hundred cheap ones.
    if (cheap == kCheapRuns && nowNs >= bannedUntilNs.load(std::memory_order_relaxed)) return next;
    return next | kBanned | cheap << kRunsShift;
  });
}

void CostTable::learnInline(Key key, uint64_t nsEach) {
  const uint64_t sample = std::clamp<uint64_t>(nsEach, 1, kCostMask);
  update(key, [&](uint64_t word) {
    const uint64_t cost = word & kCostMask;
    // A reactor that lost its core for a moment must not send everything away: one sample moves the mean by a factor of two.
    uint64_t next = cost == 0 ? sample : mixed(cost, std::min(sample, cost * 8));
    next = std::clamp<uint64_t>(next, 1, kCostMask);
    return isNews(cost, next) ? (word & ~kCostMask) | next : word;
  });
}

void CostTable::ban(Key key, uint64_t ns, uint64_t nowNs) {
  cell(key).bannedUntilNs.store(nowNs + kBannedNs, std::memory_order_relaxed);
  const uint64_t least = std::clamp<uint64_t>(ns, 1, kCostMask);
  update(key, [&](uint64_t word) { return std::max(word & kCostMask, least) | kBanned; });
}

void CostTable::banAsynchronous(Key key) {
  // With a cost in any case: a banned key is not unknown.
  update(key, [](uint64_t word) { return std::max<uint64_t>(word & kCostMask, 1) | kBanned; });
}

void CostTable::pardon(Key key) {
  cell(key).bannedUntilNs.store(0, std::memory_order_relaxed);
  update(key, [](uint64_t word) { return word & kCostMask; });
}

}  // namespace mr
