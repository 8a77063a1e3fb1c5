// A pool worker as its thread sees it: claiming frames, settling them, sleeping until there is more.
#include <algorithm>
#include <array>
#include <optional>

#include "base/clock.h"
#include "base/fatal.h"
#include "base/run_clock.h"
#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/loop_driver.h"
#include "exchange/reply_batches.h"
#include "exchange/task_row.h"

namespace mr {

namespace {

constexpr uint64_t kMeasuredTogetherNs = 5'000;
constexpr size_t kTaskWords = sizeof(TaskRow) / sizeof(uint32_t);

class WorkerDriver final : public Napi::ObjectWrap<WorkerDriver> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit WorkerDriver(const Napi::CallbackInfo& info);
  ~WorkerDriver() override { stop(); }

 private:
  MR_CHECKED_METHODS(WorkerDriver)
  void onReady();
  void stop();
  void unpark();
  bool ready(const Napi::CallbackInfo& info);
  void readMailbox();
  void countSettled(uint16_t flags);
  void send(const FrameRef& frame, uint16_t flags, std::span<const uint8_t> bytes, uint32_t credit, uint32_t stream);
  void setAside();
  void setAsideRest();
  void planMeasuring();
  void learn(uint32_t started, uint64_t nowNs);

  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value take(const Napi::CallbackInfo& info);
  Napi::Value frameBytes(const Napi::CallbackInfo& info);
  Napi::Value peer(const Napi::CallbackInfo& info);
  Napi::Value isGone(const Napi::CallbackInfo& info);
  Napi::Value settle(const Napi::CallbackInfo& info);
  Napi::Value part(const Napi::CallbackInfo& info);
  Napi::Value finish(const Napi::CallbackInfo& info);
  Napi::Value goOn(const Napi::CallbackInfo& info);
  Napi::Value hold(const Napi::CallbackInfo& info);
  Napi::Value watchGone(const Napi::CallbackInfo& info);
  Napi::Value park(const Napi::CallbackInfo& info);

  std::shared_ptr<Runtime> runtime_;
  uint32_t index_ = 0;
  uint32_t epoch_ = 0;
  std::unique_ptr<LoopDriver> driver_;
  Napi::FunctionReference onReady_, onCredit_, onGone_;
  napi_async_context context_ = nullptr;
  std::vector<FrameRef> taken_;
  std::vector<WorkerSlot::Claimed> claimed_;
  std::vector<std::pair<uint32_t, FrameRef>> aside_;
  TaskRow* rows_ = nullptr;  // of the batch at hand, as JS reads them
  std::optional<ReplyBatches> replies_;
  uint64_t sinceNs_ = 0;  // when the batch at hand was taken, or gone on with
  RunClock clock_;
  CostTable::Key batchKey_ = 0;
  uint32_t collected_ = 0;  // the last collection that it has been asked for
  bool dying_ = false;
  bool parked_ = false;

  Exchange& exchange() { return *runtime_->exchange; }
  WorkerSlot& slot() { return runtime_->exchange->worker(index_); }
};

// new WorkerDriver(runtime, index, onReady(), onCredit(stream, amount, gone), onGone(id))
WorkerDriver::WorkerDriver(const Napi::CallbackInfo& info) : Napi::ObjectWrap<WorkerDriver>(info) {
  if (!checkArguments<kU32, kU32, kFunction, kFunction, kFunction>(info, "WorkerDriver")) return;
  runtime_ = runtimeOf(info);
  if (!runtime_) return;
  const Napi::Env env = info.Env();
  index_ = u32(info, 1);
  if (index_ >= exchange().workerSlots()) {
    throwCoded(env, "ERR_MR_OPTION_RANGE", "this runtime has no worker of this number");
    return;
  }
  onReady_ = Napi::Persistent(info[2].As<Napi::Function>());
  onCredit_ = Napi::Persistent(info[3].As<Napi::Function>());
  onGone_ = Napi::Persistent(info[4].As<Napi::Function>());
  epoch_ = slot().attach();
  replies_.emplace(exchange(), exchange().workerMailbox(index_));
  napi_async_init(env, nullptr, Napi::String::New(env, "multireactor:worker"), &context_);
  Mailbox& box = exchange().mailbox(exchange().workerMailbox(index_));
  driver_ = std::make_unique<LoopDriver>(
      env, box.fd(), [this] { onReady(); },
      [this] {
        dying_ = true;
        stop();
      });
  if (!driver_->open()) {
    stop();
    throwCoded(env, "ERR_MR_SYSTEM", "the event loop does not take the worker's descriptor");
    return;
  }
  Ref();
  // The batch word and the out box live in the process, not in this environment: others read them after this thread is gone.
  const auto shared = [&](void* data, size_t size) { return sharedMemory(env, runtime_, data, size); };
  static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t));
  OutBox& out = slot().outBox();
  auto self = info.This().As<Napi::Object>();
  self.Set("batchState", Napi::Uint32Array::New(env, 1, shared(slot().batchState(), sizeof(uint32_t)), 0));
  static_assert(offsetof(OutBox, samples) == sizeof(uint32_t));
  self.Set("outWords", Napi::Uint32Array::New(env, 3, shared(&out.count, 3 * sizeof(uint32_t)), 0));
  self.Set("samples", Napi::Uint32Array::New(env, sizeof(out.sampleRows) / sizeof(uint32_t),
                                             shared(out.sampleRows.data(), sizeof(out.sampleRows)), 0));
  self.Set("outRows", Napi::Uint32Array::New(env, OutBox::kRows * 4, shared(out.rows.data(), sizeof(out.rows)), 0));
  self.Set("outBytes", Napi::Uint8Array::New(env, OutBox::kBytes, shared(out.bytes.data(), OutBox::kBytes), 0));
}

void WorkerDriver::stop() {
  if (!driver_) return;
  driver_.reset();
  unpark();
  exchange().passWork(index_);
  taken_.clear();  // tasks end before the exchange that counts them
  rows_ = nullptr;
  claimed_.clear();
  replies_.reset();
  runtime_.reset();
  if (context_) napi_async_destroy(Env(), context_);  // works in a thread that is ending, too
  context_ = nullptr;
}

// Whoever works or stops must not look like one that sleeps: a wake-up would be wasted on it.
void WorkerDriver::unpark() {
  if (parked_) exchange().unparkWorker(index_);
  parked_ = false;
}

bool WorkerDriver::ready(const Napi::CallbackInfo& info) {
  if (driver_ && slot().isCurrent(epoch_)) return true;
  throwCoded(info.Env(), "ERR_MR_CLOSED", driver_ ? "this pool worker has been given up" : "this pool worker has been closed");
  return false;
}

void WorkerDriver::onReady() {
  if (dying_ || !driver_) return;
  if (parked_) {
    unpark();
  } else {
    exchange().mailbox(exchange().workerMailbox(index_)).unpark();
  }
  slot().setRunning(true);
  Napi::HandleScope scope(Env());
  collectIfAsked(Env(), exchange(), &collected_);
  readMailbox();
  if (dying_ || !driver_) return;
  if (!callJs(Env(), onReady_, context_, {})) dying_ = true;
}

void WorkerDriver::readMailbox() {
  const auto runtime = runtime_;  // a callback may close this driver
  Mailbox& box = exchange().mailbox(exchange().workerMailbox(index_));
  while (auto message = driver_ ? box.take() : nullptr) {
    Napi::HandleScope scope(Env());
    bool alive = true;
    if (message->kind == Message::Kind::kCredit) {
      const auto& credit = static_cast<const Credit&>(*message);
      alive = callJs(Env(), onCredit_, context_,
                     {Napi::Number::New(Env(), credit.token), Napi::Number::New(Env(), credit.amount),
                      Napi::Boolean::New(Env(), credit.gone)});
    } else if (message->kind == Message::Kind::kGone) {
      alive = callJs(Env(), onGone_, context_, {toBigInt(Env(), static_cast<const Gone&>(*message).connection)});
    } else {
      MR_CHECK(false, "a message that is not for a worker");
    }
    if (!alive) {
      dying_ = true;
      return;
    }
  }
}

Napi::Value WorkerDriver::close(const Napi::CallbackInfo& info) {
  if (driver_) {
    stop();
    Unref();
  }
  return info.Env().Undefined();
}

// take(rows: Uint32Array, slab: Buffer, used, most) -> frames * 2^32 + bytes of the slab now used. Rows are TaskRow.
Napi::Value WorkerDriver::take(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  if (slot().unstarted() != 0) {
    throwCoded(info.Env(), "ERR_MR_STATE", "this pool worker has not started all frames of its last batch");
    return info.Env().Undefined();
  }
  auto rows = info[0].As<Napi::Uint32Array>();
  const auto slab = info[1].IsString() ? std::span<const uint8_t>() : bytesOf(info[1]);
  size_t used = std::min<size_t>(u32(info, 2), slab.size());
  collectIfAsked(info.Env(), exchange(), &collected_);
  unpark();  // a timer or a promise may have come before the wake-up
  taken_.clear();
  claimed_.clear();
  exchange().takeFrames(index_, u32(info, 3), &taken_);
  // Frames whose connection is gone settle here, before anybody works on them.
  const auto gone = std::remove_if(taken_.begin(), taken_.end(),
                                   [this](const FrameRef& frame) { return exchange().isGone(frame.task->header().connection); });
  slot().counters.framesCancelled.add(static_cast<uint64_t>(taken_.end() - gone));
  taken_.erase(gone, taken_.end());
  if (exchange().isTight()) setAside();
  sinceNs_ = monotonicNs();
  slot().claim(epoch_, taken_, &claimed_, sinceNs_);
  const uint64_t maxWait = exchange().options().maxWaitNs;
  const uint64_t oldest = maxWait != 0 && sinceNs_ > maxWait ? sinceNs_ - maxWait : 0;
  planMeasuring();
  clock_.begin(sinceNs_, slot().outBox().measured == OutBox::kMayBeDear);
  TaskRow* row = rows_ = reinterpret_cast<TaskRow*>(rows.Data());
  for (const WorkerSlot::Claimed& claim : claimed_) {
    const Task& task = *claim.frame.task.get();
    const auto bytes = task.frame(claim.frame.index);
    const bool fits = used + bytes.size() <= slab.size();
    row->token = claim.token;
    row->key = costKeyOf(task, claim.frame.index);
    row->offset = fits ? static_cast<uint32_t>(used) : TaskRow::kElsewhere;
    row->length = static_cast<uint32_t>(bytes.size());
    row->idLow = static_cast<uint32_t>(task.header().connection.value);
    row->idHigh = static_cast<uint32_t>(task.header().connection.value >> 32);
    row->sequence = static_cast<uint32_t>(task.sequence(claim.frame.index));
    const bool refused =
        (task.header().flags & Task::kRefused) != 0 || (oldest != 0 && claim.frame.attempt == 0 && task.queuedAtNs < oldest);
    if (refused) slot().counters.framesShed.add(1);
    row->flags = uint32_t{task.header().flags & uint32_t{Task::kRun | Task::kValue}} |
                 (refused ? static_cast<uint32_t>(Task::kRefused) : 0u) |
                 static_cast<uint32_t>(claim.frame.attempt) << TaskRow::kAttemptShift;
    ++row;
    if (!fits) continue;
    if (!bytes.empty()) std::memcpy(const_cast<uint8_t*>(slab.data()) + used, bytes.data(), bytes.size());
    used = std::min((used + bytes.size() + 7) & ~size_t{7}, slab.size());
  }
  return Napi::Number::New(info.Env(), static_cast<double>(claimed_.size()) * 4294967296.0 + static_cast<double>(used));
}

// Nobody works on what has no room for its reply; its connection's reactor keeps it until there is.
void WorkerDriver::setAside() {
  std::erase_if(taken_, [this](FrameRef& frame) {
    if (exchange().hasRoom(*frame.task.get())) return false;
    if (!exchange().setAside(std::move(frame))) slot().counters.framesCancelled.add(1);
    return true;
  });
}

// What has just been answered may have used up the room of what was claimed with it.
void WorkerDriver::setAsideRest() {
  if (!rows_ || slot().unstarted() == 0 || !exchange().isTight()) return;
  aside_.clear();
  slot().takeUnstarted([this](const Task& task) { return exchange().hasRoom(task); }, &aside_);
  for (auto& [at, frame] : aside_) {
    rows_[at].flags |= TaskRow::kSetAside;
    if (!exchange().setAside(std::move(frame))) slot().counters.framesCancelled.add(1);
  }
  aside_.clear();
}

Napi::Value WorkerDriver::frameBytes(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const FrameRef* frame = slot().inFlight(u32(info, 0));
  if (!frame) return info.Env().Undefined();
  const auto bytes = frame->task->frame(frame->index);
  return countedCopy(info.Env(), exchange(), bytes);
}

// peer(token) -> [address, port]
Napi::Value WorkerDriver::peer(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const FrameRef* frame = slot().inFlight(u32(info, 0));
  if (!frame) return info.Env().Undefined();
  const Peer& from = frame->task->header().peer;
  Napi::Array row = Napi::Array::New(info.Env(), 2);
  row.Set(0u, hostOf(from));
  row.Set(1u, Napi::Number::New(info.Env(), from.port));
  return row;
}

Napi::Value WorkerDriver::isGone(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  return Napi::Boolean::New(info.Env(), exchange().isGone(toConnectionId(info[0])));
}

void WorkerDriver::countSettled(uint16_t flags) {
  slot().counters.framesSettled.add(1);
  if (flags & Reply::kError) slot().counters.framesFailed.add(1);
}

void WorkerDriver::send(const FrameRef& frame, uint16_t flags, std::span<const uint8_t> bytes, uint32_t credit, uint32_t stream) {
  const Task& task = *frame.task.get();
  Reply reply;
  reply.connection = task.header().connection;
  reply.sequence = task.sequence(frame.index);
  reply.length = static_cast<uint32_t>(bytes.size());
  reply.flags = flags;
  if (flags & Reply::kLast) reply.frameBytes = static_cast<uint32_t>(task.frame(frame.index).size());
  if (task.header().flags & Task::kRun) reply.flags |= Reply::kRun;
  reply.worker = exchange().workerMailbox(index_);
  reply.credit = credit;
  reply.creditToken = stream;
  const auto owner = exchange().directory().owner(reply.connection);
  if (!owner) {
    exchange().repliesUnrouted.fetch_add(1, std::memory_order_relaxed);
    return exchange().giveCredit(reply.worker, stream, credit, true);
  }
  if (reply.length >= Room::kCounted && exchange().isReactorMailbox(*owner))
    exchange().room().sent(reply.connection, reply.length);
  replies_->add(*owner, reply, bytes);
}

// settle(): hands over what lies in the out box, and empties it.
Napi::Value WorkerDriver::settle(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const OutBox& box = slot().outBox();
  size_t expected = 0;
  for (uint32_t i = 0; i < std::min(box.count, OutBox::kRows); ++i) expected += ReplyBatch::sizeOf(box.rows[i].length);
  replies_->expect(expected);
  slot().settleBox(epoch_, [this](const FrameRef& frame, uint16_t flags, std::span<const uint8_t> bytes) {
    countSettled(flags);
    send(frame, flags, bytes, 0, 0);
  });
  replies_->send();
  setAsideRest();
  return info.Env().Undefined();
}

// part(token, flags, data, credit, stream): one part of a reply, or a whole one too large for the out slab. `stream` names the
// reply in what onCredit hears: tokens are used again, streams are not.
Napi::Value WorkerDriver::part(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const uint32_t token = u32(info, 0);
  const auto flags = static_cast<uint16_t>(u32(info, 1) & Reply::kOfParse);
  FrameRef frame;
  if (flags & Reply::kLast) {
    if (!slot().settle(epoch_, token, &frame)) return info.Env().Undefined();
    countSettled(flags);
  } else {
    const FrameRef* running = slot().inFlight(token);
    if (!running) return info.Env().Undefined();
    frame = *running;
    slot().markStreamed(token);
  }
  send(frame, flags, bytesOf(info[2]), u32(info, 3), u32(info, 4));
  replies_->send();
  setAsideRest();
  return info.Env().Undefined();
}

// A look at the clock costs as much as a small frame: a batch of cheap ones of one class is measured as a whole.
void WorkerDriver::planMeasuring() {
  uint32_t& measured = slot().outBox().measured;
  measured = OutBox::kAsWhole;
  batchKey_ = 0;
  for (const WorkerSlot::Claimed& claim : claimed_) {
    const Task& task = *claim.frame.task.get();
    const CostTable::Key key = costKeyOf(task, claim.frame.index);
    const bool isFirst = &claim == &claimed_.front();
    if (!isFirst && key == batchKey_) continue;
    const uint64_t cost = exchange().costs().costNs(key);
    if (!isFirst || cost > kMeasuredTogetherNs) measured = std::max<uint32_t>(measured, OutBox::kByKind);
    if (cost == 0 || cost > CostTable::kHopNs) measured = OutBox::kMayBeDear;
    if (isFirst) batchKey_ = key;
  }
}

void WorkerDriver::learn(uint32_t started, uint64_t nowNs) {
  OutBox& box = slot().outBox();
  CostTable& costs = exchange().costs();
  if (box.measured == OutBox::kAsWhole && started != 0) {
    const auto wall = static_cast<uint32_t>(std::min<uint64_t>(nowNs - sinceNs_, UINT32_MAX));
    box.sampleRows[0] = {batchKey_, started, wall, box.samples == 0 ? 0 : box.sampleRows[0].flags};
    box.samples = 1;
  }
  for (uint32_t i = 0; i < std::min(box.samples, OutBox::kSamples); ++i) {
    const OutBox::Sample& sample = box.sampleRows[i];
    if (sample.runs == 0 || (sample.key >> 8) >= CostTable::kMaxListeners || (sample.key & 0xff) >= CostTable::kClasses) continue;
    // What it lost of its core matters where a frame then seems to be dear: asking costs two calls into the kernel.
    const bool dear = sample.ns > CostTable::kHopNs * sample.runs;
    const auto [ns, exact] = dear ? clock_.worked(sample.ns, nowNs) : RunClock::Worked{sample.ns, true};
    // A worker that lost its core for a moment knows what it has cost at most: enough where it is dear or nothing is known.
    if (exact || ns > CostTable::kOverrunNs || costs.costNs(sample.key) == 0) {
      costs.learnInPool(sample.key, sample.runs, ns / sample.runs, nowNs);
    }
    if (sample.flags & OutBox::kAsynchronous) costs.banAsynchronous(sample.key);
  }
  box.samples = 0;
}

// finish(started): so many frames ran to their first return, and the batch ends, or waits until goOn(). What they cost, by the
// samples in the out box, decides how the next ones travel, and where they run.
Napi::Value WorkerDriver::finish(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const uint64_t now = monotonicNs();
  const uint32_t started = u32(info, 0);
  learn(started, now);
  claimed_.clear();
  if (started == 0) return info.Env().Undefined();
  slot().counters.framesStarted.add(started);
  slot().counters.busyNs.add(now - sinceNs_);
  return info.Env().Undefined();
}

// goOn(): with the rest of the batch. The time since finish() was not spent on it.
Napi::Value WorkerDriver::goOn(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  sinceNs_ = monotonicNs();
  clock_.begin(sinceNs_, slot().outBox().measured == OutBox::kMayBeDear);
  return info.Env().Undefined();
}

Napi::Value WorkerDriver::hold(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  slot().markHeld(u32(info, 0), monotonicNs());
  return info.Env().Undefined();
}

Napi::Value WorkerDriver::watchGone(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  exchange().watchGone(index_, info[0].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

// park(forWork) -> true: sleep until onReady; false: there is something to do at once. Without forWork (too many frames are
// unsettled) it sleeps for its mailbox only.
Napi::Value WorkerDriver::park(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  // A message that came while nobody slept has signalled nobody.
  readMailbox();
  if (dying_ || !driver_) return Napi::Boolean::New(info.Env(), true);
  slot().setRunning(false);
  if (info[0].As<Napi::Boolean>().Value()) {
    parked_ = exchange().parkWorker(index_);
    if (!parked_) slot().setRunning(true);
    return Napi::Boolean::New(info.Env(), parked_);
  }
  unpark();
  exchange().passWork(index_);
  Mailbox& box = exchange().mailbox(exchange().workerMailbox(index_));
  box.park();
  if (!box.empty()) box.wake();
  return Napi::Boolean::New(info.Env(), true);
}

Napi::Function WorkerDriver::define(Napi::Env env) {
  return DefineClass(
      env, "WorkerDriver",
      {method<&WorkerDriver::close>("close"),
       method<&WorkerDriver::take, words(WorkerSlot::kMaxBatch * kTaskWords), kBytes, kU32, kU32>("take"),
       method<&WorkerDriver::frameBytes, kU32>("frameBytes"), method<&WorkerDriver::peer, kU32>("peer"),
       method<&WorkerDriver::isGone, kId>("isGone"), method<&WorkerDriver::settle>("settle"),
       method<&WorkerDriver::part, kU32, kU32, kBytes, kU32, kU32>("part"), method<&WorkerDriver::finish, kU32>("finish"),
       method<&WorkerDriver::goOn>("goOn"), method<&WorkerDriver::hold, kU32>("hold"),
       method<&WorkerDriver::watchGone, kBool>("watchGone"), method<&WorkerDriver::park, kBool>("park")});
}

}  // namespace

void exportWorker(Napi::Env env, Napi::Object exports) { exports.Set("WorkerDriver", WorkerDriver::define(env)); }

}  // namespace mr
