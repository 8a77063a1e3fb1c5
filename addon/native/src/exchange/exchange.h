// The meeting point of one server's threads: directory, mailboxes, task queue and worker slots. Everything in it may be touched
// by several threads; nothing outside this room may. Belongs to the process, not to any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/recycler.h"
#include "exchange/admission.h"
#include "exchange/balance.h"
#include "exchange/cost_table.h"
#include "exchange/directory.h"
#include "exchange/lanes.h"
#include "exchange/mailbox.h"
#include "exchange/memory_ebb.h"
#include "exchange/memory_shares.h"
#include "exchange/publications.h"
#include "exchange/room.h"
#include "exchange/task_queue.h"
#include "exchange/worker_slot.h"

namespace mr {

enum class QueueFull : uint8_t { kPause, kReject, kClose };

struct ExchangeOptions {
  uint32_t reactors = 0;
  uint32_t workers = 0;
  uint32_t maxReactors = 0;  // how far resize may go; 0: as many as there are
  uint32_t maxWorkers = 0;
  QueueLimits queue;
  QueueFull onQueueFull = QueueFull::kPause;
  uint64_t maxWaitNs = 0;  // a task that has waited longer is refused; 0: none is
  AdmissionLimits admission = {};
  uint64_t maxMemoryBytes = UINT64_MAX;  // see MemoryUse
  uint32_t permitMs = 100;               // of a reactor at its bound: how long the task that was let go keeps the others waiting
  size_t maxMailboxBytes = size_t{64} << 20;  // limit of any-thread sends in one reactor's mailbox
};

// A server's memory for its connections, in bytes.
struct MemoryUse {
  uint64_t buffered = 0;  // by reactors: partial frames, unsent bytes, replies held for the order
  uint64_t tasks = 0;     // frames on their way through the pool: queued, claimed, or being worked on
  uint64_t messages = 0;  // replies and sends in mailboxes, and unsent publications, once each
  uint64_t received = 0;  // slabs, as long as JS holds them or has not collected them
  uint64_t allocated() const { return buffered + tasks + messages; }  // from the C library; slabs are whole pages
  uint64_t sum() const { return allocated() + received; }
};

enum class MemoryState : uint8_t {
  kFine,
  kFull,  // over the limit, without the memory that JS may give back
  kHeld,  // over the limit with the memory of JS, and its collectors have had their time
};

inline CostTable::Key costKeyOf(const Task& task, uint32_t frame) {
  return CostTable::keyOf(task.header().listener, task.frame(frame).size(), (task.header().flags & Task::kValue) != 0);
}

class Exchange {
 public:
  static constexpr uint32_t kMaxMailboxes = ConnectionId::kMaxHomes;
  static constexpr uint32_t kMaxListeners = 256;
  static_assert(kMaxListeners == CostTable::kMaxListeners);
  static constexpr uint32_t kMaxWorkers = 256;
  static constexpr uint64_t kTight = 4;             // from this part of the limit on, the allocator keeps no large block
  static constexpr uint64_t kWorthCollecting = 16;  // this part of the limit, of memory that JS may give back
  static constexpr uint64_t kCollectMs = 200;       // between two collections while memory is short

  explicit Exchange(const ExchangeOptions& options);  // throws std::system_error when no descriptor can be had

  const ExchangeOptions& options() const { return options_; }
  Directory& directory() { return directory_; }
  TaskQueue& queue() { return queue_; }

  // --- mailboxes. Indexes: reactors first, then workers, then ports in the order they are opened ---
  uint16_t reactorMailbox(uint32_t reactor) const { return static_cast<uint16_t>(reactor); }
  uint16_t workerMailbox(uint32_t worker) const { return static_cast<uint16_t>(options_.maxReactors + worker); }
  bool isReactorMailbox(uint16_t index) const { return index < options_.maxReactors; }
  // A mailbox for one more thread; throws std::length_error after kMaxMailboxes, std::system_error without a descriptor.
  uint16_t openPort();
  void closePort(uint16_t index);  // its index may be given out again
  Mailbox& mailbox(uint16_t index);
  // Of the thread that a reactor's or worker's mailbox belongs to: its messages are made of blocks that come back to
  // it.
  Recycler& recycler(uint16_t mailbox) { return recyclers_[mailbox]; }

  // --- how many there are. The supervisor ---
  void makeReactors(uint32_t count);  // there are that many from now on, at least; new ones wait for setActive()
  void resizeWorkers(uint32_t count);
  // Whether others give it connections. One that drains is still active, and takes no fresh ones: see Balance.
  void setActive(uint32_t reactor, bool on);
  // Any thread. The next active reactor in turn, which is never `except`; kNoReactor when there is none.
  static constexpr uint32_t kNoReactor = UINT32_MAX;
  uint32_t nextActiveReactor(uint32_t* cursor, uint32_t except = kNoReactor) const;
  bool isActive(uint32_t reactor) const {
    return reactor < options_.maxReactors && reactorActive_[reactor].load(std::memory_order_acquire);
  }
  uint32_t workers() const { return workersWanted_.load(std::memory_order_relaxed); }
  uint32_t workerSlots() const { return workerSlots_.load(std::memory_order_acquire); }  // ever used

  // --- feeding the pool. Any thread ---
  // False when the queue is full: the feeder stops, and is woken through its mailbox when there is room.
  // `wake`: false when the feeder has more to come and calls wakeForWork() soon.
  bool submit(Task* task, bool wake = true);
  void wakeForWork() { wakeOneWorker(); }
  // A task that the queue had no room for: a worker says so to its connection. False when there are too many of these, too.
  bool submitRefused(Task* task);
  void stopUntilLow(uint16_t mailbox);
  // Wakes an idle worker when a busy one has claimed more than it has started, or when the one that was woken does not come: a
  // feeder looks now and then.
  void wakeIfStalled();
  bool hasUnstarted() const;
  bool hasWork() const;  // a thread that takes now would find work
  // Whether one more frame may travel in a task: cheap ones do, together up to a budget; those of unknown cost go alone.
  static bool joins(size_t frames, uint64_t costNs, uint64_t oneMoreNs) {
    return costNs != 0 && oneMoreNs != 0 && frames < kMaxFramesPerTask && costNs + oneMoreNs <= kTaskBudgetNs;
  }

  // --- the pool's side. Worker threads ---
  WorkerSlot& worker(uint32_t index) { return *workers_[index]; }
  // Frames for this worker: requeued ones first, then the queue's, then those that a stuck sibling has not started. At most
  // `most`.
  void takeFrames(uint32_t worker, uint32_t most, std::vector<FrameRef>* out);
  // True when the worker may sleep: it is marked idle and there is nothing to do.
  bool parkWorker(uint32_t worker);
  void unparkWorker(uint32_t worker);
  // For a worker that takes nothing now: a wake-up that it has got goes on to another one.
  void passWork(uint32_t worker);
  // --- room for replies. A frame whose connection or reactor has none is set aside: see Reactor::setAside ---
  Room& room() { return room_; }
  bool isTight() const;  // some frame may have no room
  bool hasRoom(const Task& task) const;
  // To the reactor that owns the connection. False when no reactor does.
  bool setAside(FrameRef frame);
  // From so many bytes of replies on, buffered and on their way to it, a reactor is full: one task at a time runs for it.
  uint64_t replyBound() const { return replyBound_; }
  MemoryShares* tasks() { return &tasks_; }
  CostTable& costs() { return costs_; }
  Admission& admission() { return admission_; }
  Balance& balance() { return balance_; }
  // --- memory. Any thread; each reactor writes its own share of the buffered bytes ---
  void publishBuffered(uint32_t reactor, uint64_t bytes) { buffered_[reactor].store(bytes, std::memory_order_relaxed); }
  MemoryUse memoryUse() const;
  // Near the limit it asks the collectors of all threads to run.
  MemoryState memoryState(uint64_t nowMs);
  bool memoryIsShort() const { return shortSinceMs_.load(std::memory_order_relaxed) != 0; }
  uint32_t collectionsAsked() const { return collectionsAsked_.load(std::memory_order_relaxed); }
  // The supervisor, every few seconds: whether freed memory is worth giving back to the system.
  bool memoryEbbed();
  // Large blocks go back at once: much is held, or was a moment ago.
  bool memoryIsTight() const { return tight_.load(std::memory_order_relaxed); }
  // One thread, every few seconds: asks for a collection when little has come in since it last looked, and JS has much that it
  // may have let go of. V8 itself collects when it allocates, and so never in a thread that has nothing to do.
  void collectWhenIdle();
  // Memory that JS is given may be given back after the exchange is gone.
  const std::shared_ptr<MemoryShares>& received() const { return received_; }
  bool isGone(ConnectionId id) const { return !directory_.owner(id).has_value(); }

  // --- settling. Worker threads and the supervisor ---
  void reply(const Reply& reply, std::span<const uint8_t> bytes);
  // To the writer of a streamed reply, which may wait for it: so many of its bytes have left, or never will.
  void giveCredit(uint16_t worker, uint32_t token, uint32_t amount, bool gone);
  void requeue(FrameRef frame);
  // The supervisor, when a worker's thread has ended: its claimed and unstarted frames go back to the queue, its
  // started ones settle as lost, or run once more where that is allowed.
  struct Reaped {
    uint32_t requeued = 0, retried = 0, lost = 0;
  };
  Reaped reapWorker(uint32_t worker, bool retry, bool timedOut);

  // Workers that hold an abort signal of a frame want to know of closed connections.
  void watchGone(uint32_t worker, bool on) { watchers_[worker].store(on, std::memory_order_relaxed); }
  void announceGone(ConnectionId id);

  // --- calls of a reactor's app. Any thread ---
  enum class Calling : uint8_t { kSent, kNoReactor, kFull };
  Calling call(uint32_t reactor, std::span<const uint8_t> bytes, uint16_t replyTo, uint32_t request);

  // --- publishing ---
  PublicationList& publications() { return publications_; }
  enum class Publishing : uint8_t { kSent, kNobody, kFull };
  Publishing publish(const PublicationRef& publication);  // Any thread.
  bool finishPublication(Publication& publication);       // a reactor has come to its end. Whether it was the last one
  std::atomic<uint64_t> publicationsRefused{0};

  std::atomic<uint64_t> repliesUnrouted{0};  // to connections that were gone already at the directory

 private:
  static constexpr uint64_t kStolenAfterNs = 1'000'000;  // a frame that runs this long does not keep others waiting behind it
  static constexpr uint64_t kTaskBudgetNs = 100'000;     // cheap frames travel together up to this much work
  static constexpr uint32_t kMaxFramesPerTask = 64;
  static constexpr uint32_t kMaxRefused = 4096;
  static constexpr uint64_t kCollectedMs = 1'000;  // after so long the memory of JS counts, as it will not be given back
  static constexpr uint8_t kMaxAttempts = 2;       // a frame that has killed two workers is the frame's fault

  void openMailbox(uint32_t index);
  void price(Task* task) const;
  void wakeOneWorker();
  void giveUpWaking();
  void wakeStopped();
  void takeFromQueue(uint32_t worker, uint32_t most, std::vector<FrameRef>* out);
  bool takeRefused(uint32_t most, std::vector<FrameRef>* out);
  bool takeRequeued(std::vector<FrameRef>* out);
  void stealFromSiblings(uint32_t thief, std::vector<FrameRef>* out);

  void askToCollect();
  void setTight(bool on);

  bool isFull(uint32_t reactor) const;

  const ExchangeOptions options_;
  const uint64_t replyBound_;
  // First, so that every task and message ends before its blocks and counters.
  const std::unique_ptr<Recycler[]> recyclers_;
  MemoryShares tasks_;
  const std::shared_ptr<MemoryShares> received_ = std::make_shared<MemoryShares>();
  Directory directory_;
  Room room_{directory_};
  TaskQueue queue_;
  Lanes lanes_;
  TaskQueue refused_;  // taken first: saying no is quick
  Admission admission_;
  Balance balance_;
  std::unique_ptr<std::atomic<uint64_t>[]> buffered_;
  std::array<std::atomic<Mailbox*>, kMaxMailboxes> mailboxes_{};
  std::mutex portsMutex_;  // opening and closing only
  std::vector<uint16_t> freePorts_;
  std::atomic<uint32_t> mailboxCount_{0};
  std::vector<std::unique_ptr<WorkerSlot>> workers_;  // as many places as there may ever be; the first workerSlots_ are filled
  std::atomic<uint32_t> workerSlots_{0}, workersWanted_{0};
  std::unique_ptr<std::atomic<bool>[]> reactorActive_;
  alignas(64) std::array<std::atomic<uint64_t>, kMaxWorkers / 64> idle_{};  // one bit for each sleeping worker
  alignas(64) std::atomic<int32_t> waking_{-1};  // the worker that was woken and has not looked yet; one at a time
  std::atomic<uint64_t> wokenAtNs_{0};           // when that was; beside it, as both are written together
  std::mutex requeuedMutex_;
  std::deque<FrameRef> requeued_;
  std::atomic<uint32_t> requeuedCount_{0};
  std::unique_ptr<std::atomic<bool>[]> stopped_;  // feeders that wait for room, by mailbox
  std::atomic<uint32_t> stoppedCount_{0};
  std::unique_ptr<std::atomic<bool>[]> watchers_;
  CostTable costs_;
  std::atomic<uint64_t> shortSinceMs_{0}, collectAskedMs_{0};  // 0: there is enough memory
  std::atomic<uint32_t> collectionsAsked_{0};
  MemoryEbb ebb_;
  std::atomic<bool> tight_{false};
  uint64_t idleReceived_ = 0;  // when collectWhenIdle() looked last
  bool idleCollected_ = false;
  PublicationList publications_;
  // The targets of mailboxes_, under its mutex. Last, so that messages end before the objects they name.
  std::vector<std::unique_ptr<Mailbox>> owned_;
};

}  // namespace mr
