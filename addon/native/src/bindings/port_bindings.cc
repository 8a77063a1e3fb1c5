// A thread that is neither reactor nor worker, as a sender and a caller: bytes for a connection, bytes for the pool, and the
// answers to both.
#include <unordered_map>

#include "base/fatal.h"
#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/loop_driver.h"
#include "exchange/call.h"

namespace mr {

namespace {

class Port final : public Napi::ObjectWrap<Port> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit Port(const Napi::CallbackInfo& info);
  ~Port() override { stop(); }

 private:
  MR_CHECKED_METHODS(Port)
  void onReady();
  void stop();
  bool ready(const Napi::CallbackInfo& info);
  bool onMessage(Message& message);
  void retract(uint32_t slot);
  bool isOurs(const Reply& reply) const;
  void dropReplies(ReplyBatch& batch);
  void arrived(uint32_t request);
  double sendTo(ConnectionId id, std::span<const uint8_t> bytes, bool destroys);

  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value setReferenced(const Napi::CallbackInfo& info);
  Napi::Value send(const Napi::CallbackInfo& info);
  Napi::Value destroy(const Napi::CallbackInfo& info);
  Napi::Value publish(const Napi::CallbackInfo& info);
  Napi::Value callReactor(const Napi::CallbackInfo& info);
  Napi::Value run(const Napi::CallbackInfo& info);
  Napi::Value forget(const Napi::CallbackInfo& info);
  Napi::Value awaitRoom(const Napi::CallbackInfo& info);

  // A run's place: named like a connection, so that its result finds the way back through the directory.
  struct Run {
    uint32_t generation = 0;
    bool used = false;
  };

  std::shared_ptr<Runtime> runtime_;
  uint16_t mailbox_ = 0;
  std::unique_ptr<LoopDriver> driver_;
  Napi::FunctionReference onSent_, onAnswer_, onResult_, onRoom_;
  napi_async_context context_ = nullptr;
  std::vector<Run> runs_;
  std::vector<uint32_t> freeRuns_;
  // Where the sends to a connection go while some of them are under way, by its id; and the connection of each, by request.
  struct Road {
    uint16_t mailbox;
    uint32_t underWay;
  };
  std::unordered_map<uint64_t, Road> roads_;
  std::unordered_map<uint32_t, uint64_t> sends_;
  uint32_t nextGeneration_;
  // Not from 0: a result that comes for the last owner of this mailbox must not look like one of ours.
  uint32_t nextRequest_;
  uint32_t runtimeId_ = 0;
  bool ownsRuntime_ = false;  // it ends with this thread
  bool awaitsRoom_ = false;
  bool dying_ = false;

  Exchange& exchange() { return *runtime_->exchange; }
  // Never 0, which means no request.
  uint32_t newRequest() {
    do {
      nextRequest_ = (nextRequest_ + 1) & 0x7fffffff;
    } while (nextRequest_ == 0);
    return nextRequest_;
  }
};

uint32_t firstGeneration() {
  static std::atomic<uint32_t> ports{1};
  return ports.fetch_add(1, std::memory_order_relaxed) * 0x85ebca6bu | 1u;
}

// new Port(runtime, onSent(request, outcome), onAnswer(request, outcome, bytes), onResult(run, flags, bytes), onRoom(),
// ownsRuntime)
Port::Port(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<Port>(info), nextGeneration_(firstGeneration()), nextRequest_(nextGeneration_) {
  if (!checkArguments<kU32, kFunction, kFunction, kFunction, kFunction, maybe(kBool)>(info, "Port")) return;
  runtime_ = runtimeOf(info);
  if (!runtime_) return;
  runtimeId_ = u32(info, 0);
  ownsRuntime_ = info[5].IsBoolean() && info[5].As<Napi::Boolean>().Value();
  const Napi::Env env = info.Env();
  try {
    mailbox_ = exchange().openPort();
  } catch (const std::exception& error) {
    runtime_.reset();
    throwCoded(env, "ERR_MR_SYSTEM", std::string("this thread gets no mailbox: ") + error.what());
    return;
  }
  onSent_ = Napi::Persistent(info[1].As<Napi::Function>());
  onAnswer_ = Napi::Persistent(info[2].As<Napi::Function>());
  onResult_ = Napi::Persistent(info[3].As<Napi::Function>());
  onRoom_ = Napi::Persistent(info[4].As<Napi::Function>());
  napi_async_init(env, nullptr, Napi::String::New(env, "multireactor:port"), &context_);
  driver_ = std::make_unique<LoopDriver>(
      env, exchange().mailbox(mailbox_).fd(), [this] { onReady(); },
      [this] {
        dying_ = true;
        stop();
        if (ownsRuntime_) removeOwnRuntime(runtimeId_);
      });
  if (!driver_->open()) {
    stop();
    throwCoded(env, "ERR_MR_SYSTEM", "the event loop does not take the mailbox's descriptor");
    return;
  }
  Ref();
  exchange().mailbox(mailbox_).park();
}

void Port::retract(uint32_t slot) {
  if (!runs_[slot].used) return;
  exchange().directory().retract(ConnectionId::of(mailbox_, slot, runs_[slot].generation));
  runs_[slot].used = false;
  freeRuns_.push_back(slot);
}

bool Port::isOurs(const Reply& reply) const {
  const uint32_t slot = reply.connection.slot();
  return slot < runs_.size() && runs_[slot].used && runs_[slot].generation == reply.connection.generation();
}

void Port::dropReplies(ReplyBatch& batch) {
  Reply reply;
  std::span<const uint8_t> bytes;
  while (batch.take(&reply, &bytes)) exchange().giveCredit(reply.worker, reply.creditToken, reply.credit, true);
}

void Port::stop() {
  if (!driver_) return;
  driver_.reset();
  for (uint32_t slot = 0; slot < runs_.size(); ++slot) retract(slot);
  while (auto message = exchange().mailbox(mailbox_).take()) {
    if (message->kind == Message::Kind::kReplies) dropReplies(static_cast<ReplyBatch&>(*message));
  }
  exchange().closePort(mailbox_);
  runtime_.reset();                                   // not when the garbage collector gets to it: descriptors hang on it
  if (context_) napi_async_destroy(Env(), context_);  // works in a thread that is ending, too
  context_ = nullptr;
}

bool Port::ready(const Napi::CallbackInfo& info) {
  if (driver_) return true;
  throwCoded(info.Env(), "ERR_MR_CLOSED", "this runtime has been closed");
  return false;
}

void Port::onReady() {
  if (dying_ || !driver_) return;
  Mailbox& box = exchange().mailbox(mailbox_);
  box.unpark();
  Napi::HandleScope scope(Env());
  const auto runtime = runtime_;
  while (auto message = box.take()) {
    Napi::HandleScope inner(Env());
    if (!onMessage(*message)) {
      dying_ = true;
      return;
    }
    if (!driver_) return;
  }
  if (awaitsRoom_) {
    if (exchange().queue().low()) {
      awaitsRoom_ = false;
      if (!callJs(Env(), onRoom_, context_, {})) dying_ = true;
    } else {
      exchange().stopUntilLow(mailbox_);
    }
  }
  if (dying_ || !driver_) return;
  const bool stalled = exchange().queue().depth() != 0 || exchange().hasUnstarted();
  if (stalled) exchange().wakeIfStalled();
  driver_->armTimer(stalled ? 2 : -1);
  box.park();
  if (awaitsRoom_) exchange().stopUntilLow(mailbox_);  // again after parking: a wake-up before it sent no signal
  if (!box.empty()) box.wake();
}

bool Port::onMessage(Message& message) {
  if (message.kind == Message::Kind::kSendResult) {
    const auto& result = static_cast<const SendResult&>(message);
    arrived(result.request);
    return callJs(Env(), onSent_, context_,
                  {Napi::Number::New(Env(), result.request), Napi::Number::New(Env(), static_cast<int>(result.outcome))});
  }
  if (message.kind == Message::Kind::kCallResult) {
    const auto& result = static_cast<const CallResult&>(message);
    return callJs(Env(), onAnswer_, context_,
                  {Napi::Number::New(Env(), result.request), Napi::Number::New(Env(), static_cast<int>(result.outcome)),
                   Napi::Buffer<uint8_t>::Copy(Env(), result.data.data(), result.data.size())});
  }
  if (message.kind == Message::Kind::kPublished) {
    const auto& published = static_cast<const Published&>(message);
    return callJs(
        Env(), onSent_, context_,
        {Napi::Number::New(Env(), published.request), Napi::Number::New(Env(), static_cast<double>(published.reached))});
  }
  MR_CHECK(message.kind == Message::Kind::kReplies, "a message that is not for a port");
  auto& batch = static_cast<ReplyBatch&>(message);
  Reply reply;
  std::span<const uint8_t> bytes;
  while (batch.take(&reply, &bytes)) {
    const bool wanted = isOurs(reply);
    exchange().giveCredit(reply.worker, reply.creditToken, reply.credit, !wanted);
    if (!wanted) continue;
    const uint32_t slot = reply.connection.slot();
    if (reply.flags & Reply::kLast) retract(slot);
    if (!callJs(Env(), onResult_, context_,
                {Napi::Number::New(Env(), slot), Napi::Number::New(Env(), reply.flags),
                 Napi::Buffer<uint8_t>::Copy(Env(), bytes.data(), bytes.size())})) {
      return false;
    }
    if (!driver_) return true;
  }
  return true;
}

void Port::arrived(uint32_t request) {
  const auto sent = sends_.find(request);
  if (sent == sends_.end()) return;
  const auto road = roads_.find(sent->second);
  if (road != roads_.end() && --road->second.underWay == 0) roads_.erase(road);
  sends_.erase(sent);
}

Napi::Value Port::close(const Napi::CallbackInfo& info) {
  if (driver_) {
    stop();
    Unref();
  }
  return info.Env().Undefined();
}

Napi::Value Port::setReferenced(const Napi::CallbackInfo& info) {
  if (driver_) driver_->setReferenced(info[0].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

// send(id, data) -> a request number that onSent will name, or -1 gone, -2 full
Napi::Value Port::send(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), sendTo(toConnectionId(info[0]), bytesOf(info[1]), false));
}

// destroy(id) -> as send, and behind its earlier sends. Never full: a server must be able to end a connection whose reactor is
// busy.
Napi::Value Port::destroy(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), sendTo(toConnectionId(info[0]), {}, true));
}

double Port::sendTo(ConnectionId id, std::span<const uint8_t> bytes, bool destroys) {
  auto owner = exchange().directory().owner(id);
  if (!owner || !exchange().isReactorMailbox(*owner)) return -1;
  // It may have moved since the last send. While one is under way to the old owner, the next ones take the same road: they would
  // overtake it on the short one.
  const auto road = roads_.find(id.value);
  if (road != roads_.end() && exchange().isActive(road->second.mailbox)) owner = road->second.mailbox;
  Mailbox& box = exchange().mailbox(*owner);
  if (!destroys && box.bytes() + bytes.size() > exchange().options().maxMailboxBytes) return -2;
  auto message = std::make_unique<Send>();
  message->connection = id;
  message->destroys = destroys;
  message->data.assign(bytes.begin(), bytes.end());
  message->replyTo = mailbox_;
  message->request = newRequest();
  const uint32_t request = message->request;
  ++roads_.try_emplace(id.value, Road{*owner, 0}).first->second.underWay;
  sends_[request] = id.value;
  box.send(std::move(message));
  return request;
}

// publish(topic, data, deflated, windowBits) -> a request number that onSent will name with the number of subscribers reached;
// -1: there are none; -2: too much waits to be delivered
Napi::Value Port::publish(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  auto publication = std::make_shared<Publication>();
  publication->topic = textOf(info[0]);
  publication->bytes = SharedBytesRef::copyOf(bytesOf(info[1]));
  publication->deflated = sharedOrNone(info[2]);
  publication->windowBits = static_cast<uint8_t>(u32Or(info, 3, 0));
  publication->replyTo = mailbox_;
  publication->request = newRequest();
  switch (exchange().publish(publication)) {
    case Exchange::Publishing::kNobody:
      return Napi::Number::New(info.Env(), -1);
    case Exchange::Publishing::kFull:
      return Napi::Number::New(info.Env(), -2);
    case Exchange::Publishing::kSent:
      break;
  }
  return Napi::Number::New(info.Env(), publication->request);
}

// callReactor(reactor, data) -> a request number that onAnswer will name with the outcome; -1: no such reactor; -2: too much
// waits for it
Napi::Value Port::callReactor(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const uint32_t request = newRequest();
  switch (exchange().call(u32(info, 0), bytesOf(info[1]), mailbox_, request)) {
    case Exchange::Calling::kNoReactor:
      return Napi::Number::New(info.Env(), -1);
    case Exchange::Calling::kFull:
      return Napi::Number::New(info.Env(), -2);
    case Exchange::Calling::kSent:
      break;
  }
  return Napi::Number::New(info.Env(), request);
}

// run(listener, data, isValue) -> its number that onResult will name, or -1 when the queue is full
Napi::Value Port::run(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const auto bytes = bytesOf(info[1]);
  uint32_t slot;
  if (freeRuns_.empty()) {
    slot = static_cast<uint32_t>(runs_.size());
    runs_.emplace_back();
  } else {
    slot = freeRuns_.back();
    freeRuns_.pop_back();
  }
  runs_[slot] = {nextGeneration_++, true};
  const ConnectionId id = ConnectionId::of(mailbox_, slot, runs_[slot].generation);
  exchange().directory().publish(id, mailbox_);
  const auto flags = static_cast<uint8_t>(Task::kRun | (info[2].As<Napi::Boolean>().Value() ? Task::kValue : Task::kNone));
  Task* task = Task::create({id, 0, static_cast<uint16_t>(u32(info, 0)), flags, {}}, 1, bytes.size());
  task->append(bytes);
  if (!exchange().submit(task)) {
    task->release();
    retract(slot);
    return Napi::Number::New(info.Env(), -1);
  }
  driver_->armTimer(2);
  return Napi::Number::New(info.Env(), slot);
}

// forget(run): its result is not wanted any more; if no worker has started it, none will.
Napi::Value Port::forget(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  const uint32_t slot = u32(info, 0);
  if (slot < runs_.size() && runs_[slot].used) {
    const ConnectionId id = ConnectionId::of(mailbox_, slot, runs_[slot].generation);
    retract(slot);
    exchange().announceGone(id);
  }
  return info.Env().Undefined();
}

Napi::Value Port::awaitRoom(const Napi::CallbackInfo& info) {
  if (!ready(info)) return info.Env().Undefined();
  awaitsRoom_ = true;
  exchange().stopUntilLow(mailbox_);
  return info.Env().Undefined();
}

Napi::Function Port::define(Napi::Env env) {
  return DefineClass(env, "Port",
                     {method<&Port::close>("close"), method<&Port::setReferenced, kBool>("setReferenced"),
                      method<&Port::send, kId, kBytes>("send"), method<&Port::destroy, kId>("destroy"),
                      method<&Port::publish, kText, kBytes, maybe(kBytes), maybe(numberUpTo(15))>("publish"),
                      method<&Port::callReactor, kU32, kBytes>("callReactor"),
                      method<&Port::run, numberUpTo(CostTable::kMaxListeners - 1), kBytes, kBool>("run"),
                      method<&Port::forget, kU32>("forget"), method<&Port::awaitRoom>("awaitRoom")});
}

}  // namespace

void exportPort(Napi::Env env, Napi::Object exports) { exports.Set("Port", Port::define(env)); }

}  // namespace mr
