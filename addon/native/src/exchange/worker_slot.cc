#include "exchange/worker_slot.h"

#include <algorithm>

#include "base/fatal.h"

namespace mr {

namespace {

constexpr uint32_t cursorOf(uint32_t state) { return state & 0xffff; }
constexpr uint32_t limitOf(uint32_t state) { return state >> 16; }
constexpr uint32_t pack(uint32_t cursor, uint32_t limit) { return limit << 16 | cursor; }

// A worker that asks for more finds the cursor one past the limit.
uint32_t remaining(uint32_t state) { return limitOf(state) - std::min(limitOf(state), cursorOf(state)); }

}  // namespace

WorkerSlot::WorkerSlot() {
  batch_.reserve(kMaxBatch);
  entries_.reserve(kMaxBatch);
}

OutBox& WorkerSlot::outBox() {
  if (!outBox_) outBox_ = std::make_unique<OutBox>();
  return *outBox_;
}

uint32_t WorkerSlot::attach() {
  std::lock_guard lock(mutex_);
  outBox().count = outBox().samples = 0;
  state_.store(0, std::memory_order_seq_cst);
  running_.store(false, std::memory_order_relaxed);
  return epoch_.load(std::memory_order_relaxed);
}

uint32_t WorkerSlot::addEntry(FrameRef&& frame) {
  uint32_t token;
  if (freeTokens_.empty()) {
    token = static_cast<uint32_t>(entries_.size());
    entries_.emplace_back();
  } else {
    token = freeTokens_.back();
    freeTokens_.pop_back();
  }
  Entry& entry = entries_[token];
  entry.frame = std::move(frame);
  entry.heldSinceNs = 0;
  entry.used = true;
  entry.streamed = false;
  return token;
}

FrameRef WorkerSlot::removeEntry(uint32_t token) {
  FrameRef frame = std::move(entries_[token].frame);
  freeToken(token);
  return frame;
}

void WorkerSlot::claim(uint32_t epoch, std::vector<FrameRef>& frames, std::vector<Claimed>* out, uint64_t nowNs) {
  std::lock_guard lock(mutex_);
  MR_CHECK(isCurrent(epoch), "claim by a worker whose epoch has ended");
  MR_CHECK(remaining(state_.load(std::memory_order_seq_cst)) == 0, "claim before the last batch was used up");
  MR_CHECK(frames.size() <= kMaxBatch, "batch too large");
  batch_.clear();
  for (FrameRef& frame : frames) {
    out->push_back({0, frame});
    const uint32_t token = out->back().token = addEntry(std::move(frame));
    batch_.push_back(token);
  }
  frames.clear();
  const auto count = static_cast<uint32_t>(batch_.size());
  seenState_ = pack(1, count);  // the first frame starts now
  seenAtNs_ = nowNs;
  state_.store(pack(0, count), std::memory_order_seq_cst);
  running_.store(true, std::memory_order_relaxed);
}

const FrameRef* WorkerSlot::inFlight(uint32_t token) const {
  // Only the worker's own thread adds or settles entries, so it may read its own without the lock.
  return token < entries_.size() && entries_[token].used ? &entries_[token].frame : nullptr;
}

void WorkerSlot::markStreamed(uint32_t token) {
  std::lock_guard lock(mutex_);
  if (token < entries_.size()) entries_[token].streamed = true;
}

void WorkerSlot::markHeld(uint32_t token, uint64_t nowNs) {
  std::lock_guard lock(mutex_);
  if (token < entries_.size() && entries_[token].used) entries_[token].heldSinceNs = nowNs;
}

bool WorkerSlot::settle(uint32_t epoch, uint32_t token, FrameRef* frame) {
  std::lock_guard lock(mutex_);
  return settleLocked(epoch, token, frame);
}

bool WorkerSlot::settleLocked(uint32_t epoch, uint32_t token, FrameRef* frame) {
  if (!isCurrent(epoch) || token >= entries_.size() || !entries_[token].used) return false;
  *frame = std::move(entries_[token].frame);
  freeToken(token);
  return true;
}

uint32_t WorkerSlot::unstarted() const { return remaining(state_.load(std::memory_order_seq_cst)); }

uint64_t WorkerSlot::stuckForNs(uint64_t nowNs) {
  const uint32_t state = state_.load(std::memory_order_seq_cst);
  if (state != seenState_) {
    seenState_ = state;
    seenAtNs_ = nowNs;
  }
  return nowNs > seenAtNs_ ? nowNs - seenAtNs_ : 0;
}

void WorkerSlot::steal(std::vector<FrameRef>* out, uint64_t nowNs, uint64_t afterNs) {
  std::lock_guard lock(mutex_);
  if (stuckForNs(nowNs) < afterNs) return;
  uint32_t state = state_.load(std::memory_order_seq_cst);
  uint32_t taken = 0;
  uint32_t limit = 0;
  do {
    const uint32_t left = remaining(state);
    // JS counts in this word, and could have written anything: it names no frame that is not in the batch.
    if (left == 0 || limitOf(state) > batch_.size()) return;
    taken = (left + 1) / 2;
    limit = limitOf(state) - taken;
  } while (!state_.compare_exchange_weak(state, pack(cursorOf(state), limit), std::memory_order_seq_cst));
  for (uint32_t i = limit; i < limit + taken; ++i) {
    if (batch_[i] != kTaken) out->push_back(removeEntry(batch_[i]));
  }
  batch_.resize(limit);
}

std::vector<WorkerSlot::Ready> WorkerSlot::takeReady() {
  std::lock_guard lock(mutex_);
  std::vector<Ready> ready;
  eachRow([&](uint32_t token, uint16_t flags, std::optional<std::span<const uint8_t>> bytes) {
    if (!bytes || token >= entries_.size() || !entries_[token].used) return;  // reap() loses the frame of a corrupt row
    ready.push_back({removeEntry(token), flags, *bytes});
  });
  return ready;
}

std::vector<LostFrame> WorkerSlot::reap() {
  std::lock_guard lock(mutex_);
  epoch_.fetch_add(1, std::memory_order_acq_rel);
  const uint32_t state = state_.exchange(0, std::memory_order_seq_cst);
  std::vector<bool> unstarted(entries_.size(), false);
  for (uint32_t i = cursorOf(state); i < limitOf(state) && i < batch_.size(); ++i) {
    if (batch_[i] != kTaken) unstarted[batch_[i]] = true;
  }
  std::vector<LostFrame> lost;
  for (uint32_t token = 0; token < entries_.size(); ++token) {
    Entry& entry = entries_[token];
    if (entry.used) lost.push_back({std::move(entry.frame), !unstarted[token], entry.streamed});
  }
  entries_.clear();
  freeTokens_.clear();
  batch_.clear();
  running_.store(false, std::memory_order_relaxed);
  return lost;
}

uint64_t WorkerSlot::oldestRunningNs(uint64_t nowNs) {
  std::lock_guard lock(mutex_);
  uint64_t oldest = 0;
  for (const Entry& entry : entries_) {
    if (entry.used && entry.heldSinceNs != 0 && nowNs > entry.heldSinceNs) oldest = std::max(oldest, nowNs - entry.heldSinceNs);
  }
  if (!running_.load(std::memory_order_relaxed)) return oldest;
  return std::max(oldest, stuckForNs(nowNs));
}

}  // namespace mr
