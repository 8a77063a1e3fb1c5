// A pool worker: takes frames, routes their replies, measures their cost, and sleeps. Belongs to the worker's thread. It does
// not know Node; bindings/worker_bindings.cc translates.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "exchange/cost_sampler.h"
#include "exchange/exchange.h"
#include "exchange/reply_batches.h"
#include "exchange/task_row.h"

namespace mr {

class Worker {
 public:
  // Begins a new epoch of the worker's slot. `clock` gives monotonic nanoseconds.
  Worker(Exchange& exchange, uint32_t index, uint64_t (*clock)() = monotonicNs);
  // Passes on a wake-up that this worker has not used. The frames that it holds stay in the slot until that is reaped.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  bool isCurrent() const { return slot_.isCurrent(epoch_); }  // otherwise the supervisor has given it up
  WorkerSlot& slot() { return slot_; }
  Mailbox& mailbox() { return exchange_.mailbox(mailbox_); }

  // --- a batch ---
  // The last batch has frames that have not been started: take() must wait for them.
  bool hasUnstarted() const { return slot_.unstarted() != 0; }
  // Claims at most `most` frames, which are fewer than WorkerSlot::kMaxBatch, copies their bytes into `slab` behind the first
  // `used` ones, and describes each in a row. Task::kRefused among its flags: it waited longer than maxWaitNs, or the queue was
  // full. `rows` stays valid until the batch has ended: frames that are set aside meanwhile are marked there.
  struct Taken {
    uint32_t frames;
    size_t used;  // of the slab
  };
  Taken take(std::span<TaskRow> rows, std::span<uint8_t> slab, size_t used, uint32_t most);
  // So many frames of the batch ran to their first return, and it ends, or waits for goOn(). Learns their cost.
  void finish(uint32_t started);
  // Goes on with the batch. The time since finish() is not counted as its cost.
  void goOn();

  // --- replies ---
  // The frame of a token, or null when it has settled.
  const FrameRef* inFlight(uint32_t token) const { return slot_.inFlight(token); }
  void hold(uint32_t token) { slot_.markHeld(token, clock_()); }  // its promise is pending
  // Sends the replies of the out box, and empties it.
  void settle();
  // One part of a reply, or a whole one that is too large for the out box. `stream` names the reply in a Credit.
  void part(uint32_t token, uint16_t flags, std::span<const uint8_t> bytes, uint32_t credit, uint32_t stream);

  // --- sleeping ---
  // The thread's loop has called: a message or work may have come.
  void wake();
  // True: the thread may sleep until its mailbox is readable. Without `forWork` it takes no frames meanwhile: too many are
  // unsettled. Read the mailbox first, as a message that came while the worker was awake has sent no signal.
  bool park(bool forWork);

 private:
  void unpark();
  void setAside();
  void setAsideRest();
  bool isRefused(const FrameRef& frame) const;
  void planMeasuring();
  void learn(uint32_t started, uint64_t nowNs);
  void countSettled(uint16_t flags);
  void send(const FrameRef& frame, uint16_t flags, std::span<const uint8_t> bytes, uint32_t credit, uint32_t stream);

  Exchange& exchange_;
  const uint32_t index_;
  const uint16_t mailbox_;
  WorkerSlot& slot_;
  const uint32_t epoch_;
  uint64_t (*const clock_)();
  ReplyBatches replies_;
  std::vector<FrameRef> taken_;
  std::vector<WorkerSlot::Claimed> claimed_;
  std::vector<std::pair<uint32_t, FrameRef>> aside_;
  TaskRow* rows_ = nullptr;  // of the batch at hand
  uint64_t sinceNs_ = 0;     // when the batch at hand was taken, or gone on with
  CostSampler sampler_;
  CostTable::Key batchKey_ = 0;
  bool parked_ = false;
};

}  // namespace mr
