// The process's view of one pool worker: the frames it has claimed and which of them it has started. It outlives the
// worker's thread, so nothing that a dead thread had claimed is lost with it.
//
// A worker claims a batch under the slot's lock and then starts frame after frame with one atomic addition, without it.
// An idle sibling may take frames that are claimed and not started. Only pool threads and the supervisor ever take the lock.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "exchange/box_rows.h"
#include "exchange/cost_sampler.h"
#include "exchange/counters.h"
#include "exchange/message.h"
#include "exchange/task.h"

namespace mr {

struct LostFrame {
  FrameRef frame;
  bool started = false;
  bool streamed = false;
};

// Replies that the worker's thread has written and not handed over yet. Native memory that JS writes into, so that they are not
// lost with the thread: its reaper settles them.
struct OutBox {
  static constexpr uint32_t kRows = 1024;
  static constexpr uint32_t kBytes = 256 << 10;
  struct Row {
    uint32_t token, flags, offset, length;  // see exchange/box_rows.h
  };
  uint32_t count = 0;
  uint32_t samples = 0;
  // Set with a batch. Zero: it is measured as a whole; otherwise JS measures it.
  enum Measured : uint32_t { kAsWhole, kByKind, kMayBeDear };
  uint32_t measured = kAsWhole;
  std::array<Row, kRows> rows;
  std::array<CostSample, CostSample::kMost> sampleRows;
  std::array<uint8_t, kBytes> bytes;
};

class WorkerSlot {
 public:
  static constexpr uint32_t kMaxBatch = 128;      // frames claimed at once: a fair share of 64 and one whole task more
  static constexpr uint32_t kMaxInFlight = 4096;  // unsettled frames of one worker, asynchronous ones included

  WorkerSlot();

  struct Claimed {
    uint32_t token;  // names the frame until it settles
    FrameRef frame;
  };

  // --- the worker's thread ---
  // A new epoch of the slot: a settlement from an older one is refused.
  uint32_t attach();
  bool isCurrent(uint32_t epoch) const { return epoch_.load(std::memory_order_acquire) == epoch; }
  // Puts frames into the batch; the last batch must be used up or stolen.
  void claim(uint32_t epoch, std::vector<FrameRef>& frames, std::vector<Claimed>* out, uint64_t nowNs);
  // The frame of a token, or null when it is settled or was taken back.
  const FrameRef* inFlight(uint32_t token) const;
  void markStreamed(uint32_t token);
  void markHeld(uint32_t token, uint64_t nowNs);  // its promise is pending: it is timed from now
  // False when it had settled before. The frame leaves the slot.
  bool settle(uint32_t epoch, uint32_t token, FrameRef* frame);
  // The replies in the out box, each with its frame, which leaves the slot. The frame of a corrupt row settles without bytes, as
  // one whose worker is lost: its connection closes.
  template <typename Settled>  // (const FrameRef&, uint16_t flags, std::span<const uint8_t> bytes)
  void settleBox(uint32_t epoch, Settled&& settled) {
    std::lock_guard lock(mutex_);
    eachRow([&](uint32_t token, uint16_t flags, std::optional<std::span<const uint8_t>> bytes) {
      FrameRef frame;
      if (!settleLocked(epoch, token, &frame)) return;
      if (bytes) {
        settled(frame, flags, *bytes);
      } else {
        settled(frame, Reply::kLast | Reply::kError | Reply::kDestroy | Reply::kLost, std::span<const uint8_t>());
      }
    });
  }
  uint32_t unstarted() const;
  // The word that JS counts in: cursor in the low half, limit in the high half.
  std::atomic<uint32_t>* batchState() { return &state_; }
  OutBox& outBox();
  void setRunning(bool running) { running_.store(running, std::memory_order_relaxed); }

  // Takes out of the batch the frames that have not been started and have no room, by its place in the batch.
  template <typename HasRoom>
  void takeUnstarted(HasRoom&& hasRoom, std::vector<std::pair<uint32_t, FrameRef>>* out) {
    std::lock_guard lock(mutex_);
    const uint32_t state = state_.load(std::memory_order_seq_cst);
    for (uint32_t i = state & 0xffff; i < state >> 16 && i < batch_.size(); ++i) {
      if (batch_[i] == kTaken || hasRoom(*entries_[batch_[i]].frame.task.get())) continue;
      out->emplace_back(i, removeEntry(batch_[i]));
      batch_[i] = kTaken;
    }
  }

  // --- an idle sibling ---
  // Up to half of the frames claimed and not started, if the running frame has been at it for `afterNs`.
  void steal(std::vector<FrameRef>* out, uint64_t nowNs, uint64_t afterNs);

  // --- the supervisor, when the thread has ended or is to be ended ---
  // The replies in the out box, with their frames; they leave the slot.
  struct Ready {
    FrameRef frame;
    uint16_t flags;
    std::span<const uint8_t> bytes;  // of the out box, valid until the next thread attaches
  };
  std::vector<Ready> takeReady();
  // Ends the epoch and empties the slot.
  std::vector<LostFrame> reap();
  // How long the oldest frame has been running, in ns; 0 when none is.
  uint64_t oldestRunningNs(uint64_t nowNs);

  WorkerCounters counters;

 private:
  struct Entry {
    FrameRef frame;
    uint64_t heldSinceNs = 0;
    bool used = false;
    bool streamed = false;
  };
  bool settleLocked(uint32_t epoch, uint32_t token, FrameRef* frame);
  // The rows of the out box, which is empty afterwards. No bytes: the row is corrupt.
  template <typename Each>
  void eachRow(Each&& each) {
    if (!outBox_) return;
    BoxRows rows(outBox_->bytes);
    for (uint32_t i = 0; i < std::min(outBox_->count, OutBox::kRows); ++i) {
      const OutBox::Row& row = outBox_->rows[i];
      const auto bytes = rows.next(row.offset, row.length);
      const auto flags = static_cast<uint16_t>(row.flags & Reply::kOfParse);
      each(row.token, flags, (flags & Reply::kLast) != 0 ? bytes : std::nullopt);
    }
    outBox_->count = 0;
  }
  static constexpr uint32_t kTaken = UINT32_MAX;  // in the batch: was set aside
  uint32_t addEntry(FrameRef&& frame);
  FrameRef removeEntry(uint32_t token);
  void freeToken(uint32_t token) {
    entries_[token].used = false;
    freeTokens_.push_back(token);
  }
  uint64_t stuckForNs(uint64_t nowNs);  // how long the batch has not moved

  mutable std::mutex mutex_;
  std::unique_ptr<OutBox> outBox_;
  std::vector<Entry> entries_;  // by token
  std::vector<uint32_t> freeTokens_;
  std::vector<uint32_t> batch_;  // tokens in the order in which they are started
  std::atomic<uint32_t> state_{0};
  std::atomic<uint32_t> epoch_{0};
  std::atomic<bool> running_{false};
  uint32_t seenState_ = 0;  // the batch word when a sibling or the supervisor last saw it move,
  uint64_t seenAtNs_ = 0;   // and when that was
};

}  // namespace mr
