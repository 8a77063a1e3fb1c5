// A pool worker for the JavaScript of its thread: decodes arguments, and calls into JavaScript. The worker itself is in
// worker/worker.h.
#include <optional>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/loop_driver.h"
#include "worker/worker.h"

namespace mr {

namespace {

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
  bool ready(const Napi::CallbackInfo& info);
  void readMailbox();

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
  std::optional<Worker> worker_;
  std::unique_ptr<LoopDriver> driver_;
  Napi::FunctionReference onReady_, onCredit_, onGone_;
  napi_async_context context_ = nullptr;
  uint32_t collected_ = 0;  // the last collection that it has been asked for
  bool dying_ = false;

  Exchange& exchange() { return *runtime_->exchange; }
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
  worker_.emplace(exchange(), index_);
  napi_async_init(env, nullptr, Napi::String::New(env, "multireactor:worker"), &context_);
  driver_ = std::make_unique<LoopDriver>(
      env, worker_->mailbox().fd(), [this] { onReady(); },
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
  WorkerSlot& slot = worker_->slot();
  OutBox& out = slot.outBox();
  auto self = info.This().As<Napi::Object>();
  self.Set("batchState", Napi::Uint32Array::New(env, 1, shared(slot.batchState(), sizeof(uint32_t)), 0));
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
  worker_.reset();  // its tasks end before the exchange that counts them
  runtime_.reset();
  if (context_) napi_async_destroy(Env(), context_);  // works in a thread that is ending, too
  context_ = nullptr;
}

bool WorkerDriver::ready(const Napi::CallbackInfo& info) {
  if (driver_ && worker_->isCurrent()) return true;
  throwCoded(info.Env(), "ERR_MR_CLOSED", driver_ ? "this pool worker has been given up" : "this pool worker has been closed");
  return false;
}

void WorkerDriver::onReady() {
  if (dying_ || !driver_) return;
  worker_->wake();
  Napi::HandleScope scope(Env());
  collectIfAsked(Env(), exchange(), &collected_);
  readMailbox();
  if (dying_ || !driver_) return;
  if (!callJs(Env(), onReady_, context_, {})) dying_ = true;
}

void WorkerDriver::readMailbox() {
  const auto runtime = runtime_;  // a callback may close this driver
  Mailbox& box = worker_->mailbox();
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

// take(rows: Uint32Array, slab: Buffer, used, most) -> frames * 2^32 + bytes of the slab now used. Rows are TaskRow. JS keeps
// them until the batch is through. A frame that did not fit into the slab: frameBytes().
Napi::Value WorkerDriver::take(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  if (worker_->hasUnstarted()) {
    throwCoded(info.Env(), "ERR_MR_STATE", "this pool worker has not started all frames of its last batch");
    return info.Env().Undefined();
  }
  auto rows = info[0].As<Napi::Uint32Array>();
  const auto slab = info[1].IsString() ? std::span<const uint8_t>() : bytesOf(info[1]);
  const std::span<uint8_t> room{const_cast<uint8_t*>(slab.data()), slab.size()};
  collectIfAsked(info.Env(), exchange(), &collected_);
  const auto taken = worker_->take({reinterpret_cast<TaskRow*>(rows.Data()), rows.ElementLength() / kTaskWords}, room,
                                   u32(info, 2), u32(info, 3));
  return Napi::Number::New(info.Env(), static_cast<double>(taken.frames) * 4294967296.0 + static_cast<double>(taken.used));
}

Napi::Value WorkerDriver::frameBytes(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const FrameRef* frame = worker_->inFlight(u32(info, 0));
  if (!frame) return info.Env().Undefined();
  const auto bytes = frame->task->frame(frame->index);
  return countedCopy(info.Env(), exchange(), bytes);
}

// peer(token) -> [address, port]
Napi::Value WorkerDriver::peer(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const FrameRef* frame = worker_->inFlight(u32(info, 0));
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

// settle(): hands over the replies in the out box, and empties it.
Napi::Value WorkerDriver::settle(const Napi::CallbackInfo& info) {
  if (ready(info)) worker_->settle();
  return info.Env().Undefined();
}

// part(token, flags, data, credit, stream): one part of a reply, or a whole one too large for the out slab. `stream` names the
// reply for onCredit: tokens are used again, streams are not.
Napi::Value WorkerDriver::part(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  worker_->part(u32(info, 0), static_cast<uint16_t>(u32(info, 1) & Reply::kOfParse), bytesOf(info[2]), u32(info, 3),
                u32(info, 4));
  return info.Env().Undefined();
}

// finish(started): so many frames ran to their first return, and the batch ends, or waits until goOn().
Napi::Value WorkerDriver::finish(const Napi::CallbackInfo& info) {
  if (ready(info)) worker_->finish(u32(info, 0));
  return info.Env().Undefined();
}

Napi::Value WorkerDriver::goOn(const Napi::CallbackInfo& info) {
  if (ready(info)) worker_->goOn();
  return info.Env().Undefined();
}

Napi::Value WorkerDriver::hold(const Napi::CallbackInfo& info) {
  if (ready(info)) worker_->hold(u32(info, 0));
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
  readMailbox();
  if (dying_ || !driver_) return Napi::Boolean::New(info.Env(), true);
  return Napi::Boolean::New(info.Env(), worker_->park(info[0].As<Napi::Boolean>().Value()));
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
