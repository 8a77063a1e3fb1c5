// A reactor as its driving thread sees it: turns in the thread's own event loop, one call into JS for a turn's events.
#include <uv.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/fatal.h"
#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/loop_driver.h"
#include "net/address.h"

namespace mr {

namespace {

constexpr int kTurnsPerCallback = 2;  // more would keep timers and messages of the thread waiting

class ReactorDriver final : public Napi::ObjectWrap<ReactorDriver>, public EventSink {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ReactorDriver(const Napi::CallbackInfo& info);
  ~ReactorDriver() override { stop(); }

  Delivered deliver(const std::vector<EventRow>& rows) override;
  Slab newSlab(size_t atLeast) override;

 private:
  MR_CHECKED_METHODS(ReactorDriver)
  void onReady();
  void stop();
  bool ready(const Napi::CallbackInfo& info);
  // After close() it has no reactor; and while the reactor waits for memory, it is in the middle of something.
  bool drives() const { return reactor_ && !closeAfterTurn_ && !inNewSlab_ && reactor_->isDrivenBy(this); }
  bool findRows();
  bool hasListener(const Napi::CallbackInfo& info);
  void armTimer() {
    if (driver_) driver_->armTimer(reactor_->untilNextTimerMs());
  }
  Napi::Value boolean(const Napi::CallbackInfo& info, bool value) { return Napi::Boolean::New(info.Env(), value); }

  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value setReferenced(const Napi::CallbackInfo& info);
  Napi::Value addListener(const Napi::CallbackInfo& info);
  Napi::Value listen(const Napi::CallbackInfo& info);
  Napi::Value leaveListeners(const Napi::CallbackInfo& info);
  Napi::Value drain(const Napi::CallbackInfo& info);
  Napi::Value destroyAll(const Napi::CallbackInfo& info);
  Napi::Value flush(const Napi::CallbackInfo& info);
  Napi::Value write(const Napi::CallbackInfo& info);
  Napi::Value writeStream(const Napi::CallbackInfo& info);
  Napi::Value end(const Napi::CallbackInfo& info);
  Napi::Value destroy(const Napi::CallbackInfo& info);
  Napi::Value fail(const Napi::CallbackInfo& info);
  Napi::Value pause(const Napi::CallbackInfo& info);
  Napi::Value resume(const Napi::CallbackInfo& info);
  Napi::Value stopBehind(const Napi::CallbackInfo& info);
  Napi::Value setFraming(const Napi::CallbackInfo& info);
  Napi::Value setTimeoutMs(const Napi::CallbackInfo& info);
  Napi::Value setNoDelay(const Napi::CallbackInfo& info);
  Napi::Value resetOnClose(const Napi::CallbackInfo& info);
  Napi::Value setKeepAlive(const Napi::CallbackInfo& info);
  Napi::Value submit(const Napi::CallbackInfo& info);
  Napi::Value defer(const Napi::CallbackInfo& info);
  Napi::Value settleDeferred(const Napi::CallbackInfo& info);
  Napi::Value countLateCall(const Napi::CallbackInfo& info);
  Napi::Value countDropped(const Napi::CallbackInfo& info);
  Napi::Value inlineBox(const Napi::CallbackInfo& info);
  Napi::Value settleInline(const Napi::CallbackInfo& info);
  Napi::Value replyInline(const Napi::CallbackInfo& info);
  Napi::Value place(const Napi::CallbackInfo& info);
  Napi::Value setAside(const Napi::CallbackInfo& info);
  Napi::Value connectionId(const Napi::CallbackInfo& info);
  Napi::Value watchGone(const Napi::CallbackInfo& info);
  Napi::Value isGone(const Napi::CallbackInfo& info);
  Napi::Value judgeOverrun(const Napi::CallbackInfo& info);
  Napi::Value consumed(const Napi::CallbackInfo& info);
  Napi::Value handBack(const Napi::CallbackInfo& info);
  Napi::Value details(const Napi::CallbackInfo& info);
  Napi::Value peer(const Napi::CallbackInfo& info);
  Napi::Value localAddress(const Napi::CallbackInfo& info);
  Napi::Value listenerCount(const Napi::CallbackInfo& info);
  Napi::Value updateListener(const Napi::CallbackInfo& info);
  Napi::Value restoreConnections(const Napi::CallbackInfo& info);
  Napi::Value quiesce(const Napi::CallbackInfo& info);
  Napi::Value lastRows(const Napi::CallbackInfo& info);
  Napi::Value keepState(const Napi::CallbackInfo& info);
  Napi::Value setHasData(const Napi::CallbackInfo& info);
  Napi::Value hold(const Napi::CallbackInfo& info);
  Napi::Value moveTo(const Napi::CallbackInfo& info);
  Napi::Value moveNow(const Napi::CallbackInfo& info);
  Napi::Value retire(const Napi::CallbackInfo& info);
  Napi::Value assign(const Napi::CallbackInfo& info);
  Napi::Value loads(const Napi::CallbackInfo& info);
  Napi::Value subscribe(const Napi::CallbackInfo& info);
  Napi::Value unsubscribe(const Napi::CallbackInfo& info);
  Napi::Value subscriptions(const Napi::CallbackInfo& info);
  Napi::Value publish(const Napi::CallbackInfo& info);
  Napi::Value connect(const Napi::CallbackInfo& info);
  Napi::Value cancelConnect(const Napi::CallbackInfo& info);
  Napi::Value pipe(const Napi::CallbackInfo& info);
  Napi::Value staysHere(const Napi::CallbackInfo& info);
  Napi::Value answerCall(const Napi::CallbackInfo& info);
  Napi::Value stream(const Napi::CallbackInfo& info);
  Napi::Value finish(const Napi::CallbackInfo& info);
  Napi::Value relieve(const Napi::CallbackInfo& info);
  Napi::Value welcome(const Napi::CallbackInfo& info);
  Napi::Value endSecure(const Napi::CallbackInfo& info);
  Napi::Value feed(const Napi::CallbackInfo& info);
  Napi::Value feedEnd(const Napi::CallbackInfo& info);
  Napi::Value decrypted(const Napi::CallbackInfo& info);
  Napi::Value established(const Napi::CallbackInfo& info);
  Napi::Value writeCipher(const Napi::CallbackInfo& info);
  Napi::Value encrypted(const Napi::CallbackInfo& info);
  Napi::Value cipherEnd(const Napi::CallbackInfo& info);
  Napi::Value secureFailed(const Napi::CallbackInfo& info);

  std::shared_ptr<Runtime> runtime_;
  std::shared_ptr<Reactor> reactor_;
  std::unique_ptr<LoopDriver> driver_;
  Napi::FunctionReference onEvents_;
  Napi::FunctionReference newSlab_;
  Napi::Reference<Napi::Uint32Array> rows_;
  Napi::ObjectReference client_;  // what connect() was given last, and what it says
  ListenerConfig clientConfig_;
  uint32_t* rowWords_ = nullptr;
  size_t rowCapacity_ = 0;
  uint32_t* progress_ = nullptr;
  napi_async_context context_ = nullptr;
  uint32_t runtimeId_ = 0;
  bool ownsRuntime_ = false;
  uint32_t slabs_ = 0;
  // Those that rows name, and the one that is written to. JS keeps them too; but memory that it lets go of must not be written.
  std::vector<std::pair<uint32_t, Napi::ObjectReference>> heldSlabs_;
  uint32_t collected_ = 0;  // the last collection that it has been asked for
  bool dying_ = false;
  bool inTurn_ = false;
  bool closeAfterTurn_ = false;
  bool inNewSlab_ = false;
};

constexpr size_t kRowWords = sizeof(EventRow) / sizeof(uint32_t);
constexpr Arg kSlotArg = kU32, kGenerationArg = kU32, kSequenceArg = numberUpTo(kMostSafe);
constexpr Arg kReasonArg = numberUpTo(kCloseReasons - 1);

Reactor::Place placeOf(const Napi::Value& value) {
  return value.As<Napi::Boolean>().Value() ? Reactor::Place::kInOrder : Reactor::Place::kBetween;
}

uint64_t sequenceOf(const Napi::Value& value) { return static_cast<uint64_t>(value.As<Napi::Number>().DoubleValue()); }

// new ReactorDriver(runtime, index, rows: Uint32Array, onEvents(count, oldestSlab, currentSlab, more), newSlab(size, id) ->
// Buffer, ownsRuntime)
ReactorDriver::ReactorDriver(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ReactorDriver>(info) {
  if (!checkArguments<kU32, kU32, words(kRowWords + 1), kFunction, kFunction, maybe(kBool)>(info, "ReactorDriver")) return;
  runtime_ = runtimeOf(info);
  if (!runtime_) return;
  runtimeId_ = u32(info, 0);
  ownsRuntime_ = info[5].IsBoolean() && info[5].As<Napi::Boolean>().Value();
  if (u32(info, 1) >= runtime_->reactors.size() || !runtime_->reactors[u32(info, 1)]) {
    throwCoded(info.Env(), "ERR_MR_NO_REACTOR", "this runtime has no reactor of this number");
    return;
  }
  auto reactor = runtime_->reactors[u32(info, 1)];
  rows_ = Napi::Reference<Napi::Uint32Array>::New(info[2].As<Napi::Uint32Array>(), 1);
  onEvents_ = Napi::Persistent(info[3].As<Napi::Function>());
  newSlab_ = Napi::Persistent(info[4].As<Napi::Function>());
  if (reactor->attached() || !reactor->attach(this)) {
    throwCoded(info.Env(), "ERR_MR_WRONG_THREAD", "another thread drives this reactor");
    return;
  }
  reactor_ = std::move(reactor);
  napi_async_init(info.Env(), nullptr, Napi::String::New(info.Env(), "multireactor:reactor"), &context_);
  driver_ = std::make_unique<LoopDriver>(
      info.Env(), reactor_->fd(), [this] { onReady(); },
      [this] {
        dying_ = true;
        stop();
        // A reactor of this thread's own has nobody else to find it by its number.
        if (ownsRuntime_) removeOwnRuntime(runtimeId_);
      });
  if (!driver_->open()) {
    stop();
    throwCoded(info.Env(), "ERR_MR_SYSTEM", "the event loop does not take the reactor's descriptor");
    return;
  }
  Ref();  // while it drives, the loop holds it
  const Napi::Env env = info.Env();
  const auto& box = reactor_->writeBox();
  auto self = info.This().As<Napi::Object>();
  self.Set("boxCount", Napi::Uint32Array::New(env, 1, sharedMemory(env, box, &box->count, sizeof(box->count)), 0));
  self.Set("boxRows", Napi::Uint32Array::New(env, WriteBox::kRows * sizeof(WriteBox::Row) / sizeof(uint32_t),
                                             sharedMemory(env, box, box->rows.data(), sizeof(box->rows)), 0));
  self.Set("boxBytes",
           Napi::Uint8Array::New(env, WriteBox::kBytes, sharedMemory(env, box, box->bytes.data(), WriteBox::kBytes), 0));
  armTimer();
}

void ReactorDriver::stop() {
  if (!reactor_) return;
  driver_.reset();
  if (reactor_->isHeldBy(this)) reactor_->detach();
  reactor_.reset();
  runtime_.reset();
  if (context_) napi_async_destroy(Env(), context_);  // works in a thread that is ending, too
  context_ = nullptr;
}

void ReactorDriver::onReady() {
  if (!reactor_ || dying_ || !reactor_->isDrivenBy(this)) return;
  Napi::HandleScope scope(Env());
  collectIfAsked(Env(), reactor_->exchange(), &collected_);
  for (int i = 0; i < kTurnsPerCallback; ++i) {
    inTurn_ = true;
    const bool more = reactor_->turn(0);
    inTurn_ = false;
    if (dying_) return;
    if (closeAfterTurn_) {
      stop();
      Unref();
      return;
    }
    if (!more) break;
    if (i + 1 == kTurnsPerCallback) reactor_->requestAnotherTurn();
  }
  armTimer();
}

EventSink::Delivered ReactorDriver::deliver(const std::vector<EventRow>& rows) {
  if (dying_) return {false, 0, false};
  uint32_t oldest = UINT32_MAX;
  for (const EventRow& row : rows) {
    if (row.event == Event::kFrame || row.event == Event::kReceived || row.event == Event::kRunResult ||
        row.event == Event::kRestore || row.event == Event::kParse || row.event == Event::kCalled ||
        row.event == Event::kCipher || row.event == Event::kPlain) {
      oldest = std::min(oldest, row.a);
    }
  }
  std::erase_if(heldSlabs_, [&](const auto& held) { return held.first < oldest && held.first != reactor_->currentSlab(); });
  size_t count = 0;
  for (size_t from = 0; from < rows.size(); from += count) {
    Napi::HandleScope scope(Env());
    if (!findRows()) {
      dying_ = true;
      return {false, from, false};
    }
    count = std::min(rows.size() - from, rowCapacity_);
    std::memcpy(rowWords_, rows.data() + from, count * sizeof(EventRow));
    *progress_ = 0;  // JS may not get so far as to write it
    if (!callJs(
            Env(), onEvents_, context_,
            {Napi::Number::New(Env(), static_cast<double>(count)), Napi::Number::New(Env(), oldest),
             Napi::Number::New(Env(), reactor_->currentSlab()), Napi::Number::New(Env(), from + count < rows.size() ? 1 : 0)})) {
      dying_ = true;
      if (!findRows()) return {false, from, false};
      // What JS has counted: no more than it was given.
      const uint32_t progress = std::min<uint32_t>(*progress_, static_cast<uint32_t>(count * 2));
      return {false, from + (progress + 1) / 2, progress % 2 != 0};
    }
  }
  return {true, rows.size(), false};
}

// Where the rows of the next batch go. Their memory is JS's, which can transfer it at any time.
bool ReactorDriver::findRows() {
  void* data = nullptr;
  size_t length = 0;
  const Napi::Value rows = rows_.Value();
  if (napi_get_typedarray_info(Env(), rows, nullptr, &length, &data, nullptr, nullptr) != napi_ok) return false;
  if (!data || length <= kRowWords) return false;
  rowWords_ = static_cast<uint32_t*>(data);
  // The last word is JS's progress: twice the rows that have been begun, less one while the last of them is in its hook.
  rowCapacity_ = (length - 1) / kRowWords;
  progress_ = rowWords_ + length - 1;
  return true;
}

Slab ReactorDriver::newSlab(size_t atLeast) {
  if (dying_) return {};
  Napi::HandleScope scope(Env());
  const uint32_t id = ++slabs_;
  napi_value arguments[2] = {Napi::Number::New(Env(), static_cast<double>(atLeast)), Napi::Number::New(Env(), id)};
  napi_value global, buffer;
  inNewSlab_ = true;
  const bool given = napi_get_global(Env(), &global) == napi_ok &&
                     napi_call_function(Env(), global, newSlab_.Value(), 2, arguments, &buffer) == napi_ok;
  inNewSlab_ = false;
  if (!given) {
    // There may only be no memory now, and the reactor asks again.
    napi_value error;
    if (!takeException(Env(), &error)) dying_ = true;
    return {};
  }
  const auto memory = bytesOf({Env(), buffer});
  if (memory.size() < atLeast) return {};
  heldSlabs_.emplace_back(id, Napi::Persistent(Napi::Object(Env(), buffer)));
  return {const_cast<uint8_t*>(memory.data()), memory.size(), id};
}

// Every method checks the driver first.
bool ReactorDriver::ready(const Napi::CallbackInfo& info) {
  if (drives()) return reactor_->emptyWriteBox(), true;
  if (!reactor_ || closeAfterTurn_) {
    throwCoded(info.Env(), "ERR_MR_CLOSED", "this reactor has been closed");
  } else if (inNewSlab_) {
    throwCoded(info.Env(), "ERR_MR_STATE", "the reactor waits for memory: nothing can be asked of it now");
  } else {
    throwCoded(info.Env(), "ERR_MR_WRONG_THREAD", "this thread does not drive the reactor any more");
  }
  return false;
}

#define MR_READY(info) \
  if (!ready(info)) return (info).Env().Undefined()

Napi::Value ReactorDriver::close(const Napi::CallbackInfo& info) {
  if (!reactor_ || closeAfterTurn_) return info.Env().Undefined();
  // A hook that closes its reactor is still inside the turn: the turn ends first.
  closeAfterTurn_ = true;
  if (inTurn_) return info.Env().Undefined();
  stop();
  Unref();
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::setReferenced(const Napi::CallbackInfo& info) {
  MR_READY(info);
  driver_->setReferenced(info[0].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

// Nothing when it is wrong: that has been thrown.
static std::optional<ListenerConfig> toListenerConfig(Napi::Env env, const char* function, const Napi::Value& value) {
  Fields fields(env, function, value);
  constexpr double kMost32 = UINT32_MAX, kMostOf = kMostSafe;
  const auto number = [&](const char* name, double most) { return fields.number(name, 0, most); };
  ListenerConfig config;
  const Napi::Value framing = fields.get("framing");
  if (!fields.ok()) return std::nullopt;
  const auto cut = toFraming(env, function, framing);
  if (!cut) return std::nullopt;
  config.framing = *cut;
  config.hooks = static_cast<uint32_t>(number("hooks", kMost32));
  config.toPool = fields.flag("toPool");
  config.run = static_cast<Run>(number("run", static_cast<double>(Run::kAuto)));
  config.unordered = fields.flag("unordered");
  config.allowHalfOpen = fields.flag("allowHalfOpen");
  config.noDelay = fields.flag("noDelay");
  config.keepAliveSeconds = static_cast<uint32_t>(number("keepAliveSeconds", kMost32));
  config.outHighBytes = static_cast<size_t>(number("outHighBytes", kMostOf));
  config.outLowBytes = static_cast<size_t>(number("outLowBytes", kMostOf));
  config.outMaxBytes = static_cast<size_t>(number("outMaxBytes", kMostOf));
  config.maxInFlight = static_cast<uint32_t>(number("maxInFlight", kMost32));
  config.maxInFlightBytes = static_cast<size_t>(number("maxInFlightBytes", kMostOf));
  config.idleMs = static_cast<uint32_t>(number("idleMs", kMost32));
  config.firstByteMs = static_cast<uint32_t>(number("firstByteMs", kMost32));
  config.frameMs = static_cast<uint32_t>(number("frameMs", kMost32));
  config.writeMs = static_cast<uint32_t>(number("writeMs", kMost32));
  config.maxSubscriptions = static_cast<uint32_t>(number("maxSubscriptions", kMost32));
  config.maxSubscriptionBytes = static_cast<size_t>(number("maxSubscriptionBytes", kMostOf));
  config.answersOverload = fields.flag("answersOverload");
  config.balance = static_cast<Balance::Policy>(number("balance", static_cast<double>(Balance::Policy::kApp)));
  config.secure = fields.flag("secure");
  if (!fields.ok()) return std::nullopt;
  return config;
}

Napi::Value ReactorDriver::addListener(const Napi::CallbackInfo& info) {
  const auto config = toListenerConfig(info.Env(), "addListener", info[0]);
  if (!config) return info.Env().Undefined();
  MR_READY(info);
  if (reactor_->listenerCount() == Exchange::kMaxListeners) {
    throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this reactor has as many listeners as it may have");
    return info.Env().Undefined();
  }
  return Napi::Number::New(info.Env(), reactor_->addListener(*config));
}

bool ReactorDriver::hasListener(const Napi::CallbackInfo& info) {
  if (u32(info, 0) < reactor_->listenerCount()) return true;
  throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this reactor has no listener of this number");
  return false;
}

Napi::Value ReactorDriver::listenerCount(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return Napi::Number::New(info.Env(), reactor_->listenerCount());
}

// updateListener(number, listener)
Napi::Value ReactorDriver::updateListener(const Napi::CallbackInfo& info) {
  const auto config = toListenerConfig(info.Env(), "updateListener", info[1]);
  if (!config) return info.Env().Undefined();
  MR_READY(info);
  if (hasListener(info)) reactor_->updateListener(static_cast<uint16_t>(u32(info, 0)), *config);
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::restoreConnections(const Napi::CallbackInfo& info) {
  MR_READY(info);
  reactor_->restoreConnections(info[0].As<Napi::Boolean>().Value());
  armTimer();
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::quiesce(const Napi::CallbackInfo& info) {
  MR_READY(info);
  reactor_->quiesce();
  return info.Env().Undefined();
}

// lastRows() -> rows as in a batch, of connections that have closed; none inside of a turn, and after close()
Napi::Value ReactorDriver::lastRows(const Napi::CallbackInfo& info) {
  const std::vector<EventRow> rows = drives() ? (reactor_->emptyWriteBox(), reactor_->lastRows()) : std::vector<EventRow>{};
  Napi::Uint32Array words = Napi::Uint32Array::New(info.Env(), rows.size() * kRowWords);
  if (!rows.empty()) std::memcpy(words.Data(), rows.data(), rows.size() * sizeof(EventRow));
  return words;
}

Napi::Value ReactorDriver::keepState(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->keepState(u32(info, 0), u32(info, 1), bytesOf(info[2])));
}

Napi::Value ReactorDriver::setHasData(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->setHasData(u32(info, 0), u32(info, 1), info[2].As<Napi::Boolean>().Value()));
}

// hold(slot, generation, on) -> the place in the order that a frame would have now, -1 when the connection is gone
Napi::Value ReactorDriver::hold(const Napi::CallbackInfo& info) {
  if (!drives()) return Napi::Number::New(info.Env(), -1);  // a promise may settle after close()
  const uint64_t place = reactor_->hold(u32(info, 0), u32(info, 1), info[2].As<Napi::Boolean>().Value());
  return Napi::Number::New(info.Env(), place == Reactor::kNoPlace ? -1 : static_cast<double>(place));
}

// moveTo(slot, generation, reactor, rawEnd)
Napi::Value ReactorDriver::moveTo(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->moveTo(u32(info, 0), u32(info, 1), u32(info, 2), u32(info, 3)));
}

// moveNow(slot, generation, state | undefined)
Napi::Value ReactorDriver::moveNow(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const bool hasState = !info[2].IsUndefined();
  return boolean(
      info, reactor_->moveNow(u32(info, 0), u32(info, 1), hasState ? bytesOf(info[2]) : std::span<const uint8_t>(), hasState));
}

Napi::Value ReactorDriver::retire(const Napi::CallbackInfo& info) {
  MR_READY(info);
  reactor_->retire(info[0].As<Napi::Boolean>().Value());
  armTimer();
  return info.Env().Undefined();
}

// assign(slot, generation, reactor) -> false when that one takes no connections
Napi::Value ReactorDriver::assign(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->assign(u32(info, 0), u32(info, 1), u32(info, 2)));
}

// loads() -> [reactor, connections, ...] of those that take connections
Napi::Value ReactorDriver::loads(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const Balance& balance = reactor_->exchange().balance();
  Napi::Array pairs = Napi::Array::New(info.Env());
  for (uint32_t reactor = 0; reactor < balance.end(); ++reactor) {
    if (!balance.takes(reactor)) continue;
    pairs.Set(pairs.Length(), Napi::Number::New(info.Env(), reactor));
    pairs.Set(pairs.Length(), Napi::Number::New(info.Env(), balance.of(reactor)));
  }
  return pairs;
}

// Nothing when it is no target: that has been thrown.
static std::optional<Result<Address>> toTarget(Napi::Env env, const Napi::Value& value) {
  Fields target(env, "connect", value);
  if (target.has("path")) {
    const std::string path = target.text("path");
    if (target.ok()) return Address::unixPath(path);
    return std::nullopt;
  }
  const std::string host = target.text("host");
  const auto port = static_cast<uint16_t>(target.number("port", 0, UINT16_MAX));
  if (target.ok()) return Address::inet(host, port);
  return std::nullopt;
}

// connect({ host, port } | { path }, { host, port } | undefined, listener, timeoutMs) -> its number, or the errno's name
Napi::Value ReactorDriver::connect(const Napi::CallbackInfo& info) {
  const auto failed = [&](int error) { return Napi::String::New(info.Env(), uv_err_name(-error)); };
  // Everything is read before anything is begun: a getter may close this reactor.
  const auto address = toTarget(info.Env(), info[0]);
  if (!address) return info.Env().Undefined();
  const std::optional<Result<Address>> local = info[1].IsObject() ? toTarget(info.Env(), info[1]) : Result<Address>::success({});
  if (!local) return info.Env().Undefined();
  // Who connects often does so with one object, which nobody changes: reading it costs more than the rest of this call.
  if (client_.IsEmpty() || !client_.Value().StrictEquals(info[2])) {
    const auto config = toListenerConfig(info.Env(), "connect", info[2]);
    if (!config) return info.Env().Undefined();
    client_ = Napi::Persistent(info[2].As<Napi::Object>());
    clientConfig_ = *config;
  }
  MR_READY(info);
  if (!address->ok()) return failed(address->error);
  if (!local->ok()) return failed(local->error);
  const auto begun = reactor_->connect(address->value, info[1].IsObject() ? &local->value : nullptr, clientConfig_, u32(info, 3));
  armTimer();
  if (!begun.ok()) return failed(begun.error);
  return Napi::Number::New(info.Env(), begun.value);
}

Napi::Value ReactorDriver::cancelConnect(const Napi::CallbackInfo& info) {
  if (drives()) reactor_->cancelConnect(u32(info, 0));
  return info.Env().Undefined();
}

// pipe(slotA, generationA, rawEndA, slotB, generationB, rawEndB) -> 0 gone, 1 busy, 2 done
Napi::Value ReactorDriver::pipe(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const auto piped = reactor_->pipe(u32(info, 0), u32(info, 1), u32(info, 2), u32(info, 3), u32(info, 4), u32(info, 5));
  armTimer();
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(piped));
}

Napi::Value ReactorDriver::staysHere(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->staysHere(u32(info, 0), u32(info, 1)));
}

Napi::Value ReactorDriver::stream(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->stream(u32(info, 0), u32(info, 1)));
}

Napi::Value ReactorDriver::finish(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->finish(u32(info, 0), u32(info, 1)));
}

Napi::Value ReactorDriver::relieve(const Napi::CallbackInfo& info) {
  MR_READY(info);
  reactor_->relieve();
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::welcome(const Napi::CallbackInfo& info) {
  MR_READY(info);
  reactor_->welcome();
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::endSecure(const Napi::CallbackInfo& info) {
  MR_READY(info);
  reactor_->endSecure(u32(info, 0));
  return info.Env().Undefined();
}

// The layer of TLS may be told of something after close(): its connection is gone.
Napi::Value ReactorDriver::feed(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->feed(u32(info, 0), u32(info, 1), bytesOf(info[2])));
}

Napi::Value ReactorDriver::feedEnd(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->feedEnd(u32(info, 0), u32(info, 1)));
}

Napi::Value ReactorDriver::decrypted(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->decrypted(u32(info, 0), u32(info, 1), u32(info, 2)));
}

Napi::Value ReactorDriver::established(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->established(u32(info, 0), u32(info, 1)));
}

Napi::Value ReactorDriver::writeCipher(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->writeCipher(u32(info, 0), u32(info, 1), bytesOf(info[2])));
}

Napi::Value ReactorDriver::encrypted(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->encrypted(u32(info, 0), u32(info, 1), u32(info, 2)));
}

Napi::Value ReactorDriver::cipherEnd(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->cipherEnd(u32(info, 0), u32(info, 1)));
}

Napi::Value ReactorDriver::secureFailed(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);
  return boolean(info, reactor_->secureFailed(u32(info, 0), u32(info, 1)));
}

// listen(listener, group, member, spread)
Napi::Value ReactorDriver::listen(const Napi::CallbackInfo& info) {
  MR_READY(info);
  auto group = runtime_->group(u32(info, 1));
  if (!group) {
    throwCoded(info.Env(), "ERR_MR_CLOSED", "this listener has been closed");
    return info.Env().Undefined();
  }
  if (!hasListener(info)) return info.Env().Undefined();
  if (!group->has(static_cast<int>(u32(info, 2)))) {
    throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this listener has no such socket, or it has been taken");
    return info.Env().Undefined();
  }
  reactor_->listen(static_cast<uint16_t>(u32(info, 0)), std::move(group), static_cast<int>(u32(info, 2)),
                   info[3].As<Napi::Boolean>().Value());
  armTimer();
  return info.Env().Undefined();
}

// leaveListeners(graceMs)
Napi::Value ReactorDriver::leaveListeners(const Napi::CallbackInfo& info) {
  MR_READY(info);
  reactor_->leaveListeners(u32(info, 0));
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::drain(const Napi::CallbackInfo& info) {
  MR_READY(info);
  reactor_->drain(u32(info, 0));
  armTimer();
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::destroyAll(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return Napi::Number::New(info.Env(), reactor_->destroyAll(static_cast<CloseReason>(u32(info, 0))));
}

Napi::Value ReactorDriver::flush(const Napi::CallbackInfo& info) {
  if (!drives()) return info.Env().Undefined();  // a microtask may come after close()
  reactor_->emptyWriteBox();
  reactor_->flush();
  armTimer();
  return info.Env().Undefined();
}

// writeStream(slot, generation, data) -> as write. Of the stream that owns the connection.
Napi::Value ReactorDriver::writeStream(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const auto result = reactor_->write(u32(info, 0), u32(info, 1), bytesOf(info[2]), Reactor::Place::kInOrder, Writer::kStream);
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(result));
}

// write(slot, generation, data, inOrder) -> 0 gone, 1 above the high water mark, 2 below
Napi::Value ReactorDriver::write(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const auto result = reactor_->write(u32(info, 0), u32(info, 1), bytesOf(info[2]), placeOf(info[3]));
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(result));
}

Napi::Value ReactorDriver::end(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->end(u32(info, 0), u32(info, 1), placeOf(info[2])));
}

Napi::Value ReactorDriver::destroy(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->destroy(u32(info, 0), u32(info, 1), static_cast<CloseReason>(u32(info, 2))));
}

// fail(slot, generation, reason, place): place -1 behind all
Napi::Value ReactorDriver::fail(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);  // a promise may reject after close()
  reactor_->emptyWriteBox();
  const double place = info[3].As<Napi::Number>().DoubleValue();
  const uint64_t behind = place < 0 ? Reactor::kBehindAll : static_cast<uint64_t>(place);
  return boolean(info, reactor_->fail(u32(info, 0), u32(info, 1), behind, static_cast<CloseReason>(u32(info, 2))));
}

Napi::Value ReactorDriver::pause(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->pause(u32(info, 0), u32(info, 1), u32(info, 2)));
}

// stopBehind(slot, generation, rawEnd) -> false when there is room again
Napi::Value ReactorDriver::stopBehind(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->stopBehind(u32(info, 0), u32(info, 1), u32(info, 2)));
}

Napi::Value ReactorDriver::resume(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->resume(u32(info, 0), u32(info, 1)));
}

// setFraming(slot, generation, framing, rawEnd) -> 0 gone, 1 done, 2 too many different ones
Napi::Value ReactorDriver::setFraming(const Napi::CallbackInfo& info) {
  const auto framing = toFraming(info.Env(), "setFraming", info[2]);
  if (!framing) return info.Env().Undefined();
  MR_READY(info);
  const auto done = reactor_->setFraming(u32(info, 0), u32(info, 1), *framing, u32(info, 3));
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(done));
}

Napi::Value ReactorDriver::setTimeoutMs(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const bool done = reactor_->setTimeoutMs(u32(info, 0), u32(info, 1), u32(info, 2));
  armTimer();
  return boolean(info, done);
}

Napi::Value ReactorDriver::resetOnClose(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->resetOnClose(u32(info, 0), u32(info, 1)));
}

Napi::Value ReactorDriver::setNoDelay(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->setNoDelay(u32(info, 0), u32(info, 1), info[2].As<Napi::Boolean>().Value()));
}

Napi::Value ReactorDriver::setKeepAlive(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->setKeepAlive(u32(info, 0), u32(info, 1), info[2].As<Napi::Boolean>().Value(), u32(info, 3)));
}

static Task::Flags runFlags(SubmitHow how) {
  if (how == SubmitHow::kReply) return Task::kNone;
  return how == SubmitHow::kRun ? Task::kRun : static_cast<Task::Flags>(Task::kRun | Task::kValue);
}

// submit(slot, generation, frame, how) -> the sequence or the run's number, -1 when the connection is gone, -2 when a run found
// the queue full.
Napi::Value ReactorDriver::submit(const Napi::CallbackInfo& info) {
  MR_READY(info);
  uint64_t sequence = 0;
  const Reactor::Submitted done =
      reactor_->submit(u32(info, 0), u32(info, 1), bytesOf(info[2]), runFlags(static_cast<SubmitHow>(u32(info, 3))), &sequence);
  armTimer();
  const double number = done == Reactor::Submitted::kDone   ? static_cast<double>(sequence)
                        : done == Reactor::Submitted::kFull ? -2
                                                            : -1;
  return Napi::Number::New(info.Env(), number);
}

Napi::Value ReactorDriver::defer(const Napi::CallbackInfo& info) {
  MR_READY(info);
  uint64_t sequence = 0;
  const bool done = reactor_->defer(u32(info, 0), u32(info, 1), &sequence);
  return Napi::Number::New(info.Env(), done ? static_cast<double>(sequence) : -1);
}

// settleDeferred(slot, generation, sequence, data, flags) -> as write
Napi::Value ReactorDriver::settleDeferred(const Napi::CallbackInfo& info) {
  // An answer may come after close(): its connection is gone.
  if (!drives()) return Napi::Number::New(info.Env(), 0);
  reactor_->emptyWriteBox();
  const auto result = reactor_->settleDeferred(u32(info, 0), u32(info, 1), sequenceOf(info[2]), bytesOf(info[3]),
                                               static_cast<uint16_t>(u32(info, 4) & Reply::kOfHook));
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(result));
}

// A call on a connection that has closed, of which this side is asked nothing.
Napi::Value ReactorDriver::countLateCall(const Napi::CallbackInfo& info) {
  if (reactor_ && !closeAfterTurn_) reactor_->countLateCall();
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::countDropped(const Napi::CallbackInfo& info) {
  if (reactor_ && !closeAfterTurn_) reactor_->countDropped();
  return info.Env().Undefined();
}

// inlineBox() -> { words, rows, samples, bytes }: see reactor/inline_box.h. It outlives this environment.
Napi::Value ReactorDriver::inlineBox(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const Napi::Env env = info.Env();
  InlineBox& box = reactor_->inlineBox();
  const auto shared = [&](void* data, size_t size) {
    auto* keep = new std::shared_ptr<Reactor>(reactor_);
    return Napi::ArrayBuffer::New(
        env, data, size, [](Napi::Env, void*, std::shared_ptr<Reactor>* held) { delete held; }, keep);
  };
  static_assert(offsetof(InlineBox, full) == 4 * sizeof(uint32_t));
  Napi::Object result = Napi::Object::New(env);
  result.Set("words", Napi::Uint32Array::New(env, 5, shared(&box.running, 5 * sizeof(uint32_t)), 0));
  result.Set("rows",
             Napi::Uint32Array::New(env, sizeof(box.rows) / sizeof(uint32_t), shared(box.rows.data(), sizeof(box.rows)), 0));
  result.Set("samples", Napi::Uint32Array::New(env, sizeof(box.sampleRows) / sizeof(uint32_t),
                                               shared(box.sampleRows.data(), sizeof(box.sampleRows)), 0));
  result.Set("bytes", Napi::Uint8Array::New(env, InlineBox::kBytes, shared(box.bytes.data(), InlineBox::kBytes), 0));
  return result;
}

Napi::Value ReactorDriver::settleInline(const Napi::CallbackInfo& info) {
  if (!drives()) return info.Env().Undefined();  // a promise may settle after close()
  reactor_->settleInline();
  return info.Env().Undefined();
}

// replyInline(slot, generation, sequence, flags, data, frameBytes, credit, stream)
Napi::Value ReactorDriver::replyInline(const Napi::CallbackInfo& info) {
  if (!drives()) return info.Env().Undefined();
  reactor_->replyInline(
      {u32(info, 0), u32(info, 1), u32(info, 2), static_cast<uint16_t>(u32(info, 3)), u32(info, 5), u32(info, 6), u32(info, 7)},
      bytesOf(info[4]));
  return info.Env().Undefined();
}

// place(slot, generation, frame) -> InlineBox::placed() of a frame that is to be run here at once, or -1
Napi::Value ReactorDriver::place(const Napi::CallbackInfo& info) {
  MR_READY(info);
  uint32_t sequence = 0, key = 0;
  const bool done = reactor_->place(u32(info, 0), u32(info, 1), bytesOf(info[2]), &sequence, &key);
  armTimer();
  return Napi::Number::New(info.Env(), done ? -1 : InlineBox::placed(sequence, key));
}

// setAside(slot, generation, sequence, frame) -> true: it has no room for a reply, and comes again
Napi::Value ReactorDriver::setAside(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return Napi::Boolean::New(info.Env(), reactor_->setAsideHere(u32(info, 0), u32(info, 1), u32(info, 2), bytesOf(info[3])));
}

// connectionId(slot, generation) -> bigint, or undefined
Napi::Value ReactorDriver::connectionId(const Napi::CallbackInfo& info) {
  ConnectionId id;
  if (!drives() || !reactor_->idOf(u32(info, 0), u32(info, 1), &id)) return info.Env().Undefined();
  return toBigInt(info.Env(), id);
}

Napi::Value ReactorDriver::watchGone(const Napi::CallbackInfo& info) {
  if (drives()) reactor_->watchGone(info[0].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::isGone(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, true);
  return boolean(info, reactor_->exchange().isGone(toConnectionId(info[0])));
}

// judgeOverrun(key, wasOne)
Napi::Value ReactorDriver::judgeOverrun(const Napi::CallbackInfo& info) {
  if (drives() && CostTable::isKey(u32(info, 0))) reactor_->judgeOverrun(u32(info, 0), info[1].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

Napi::Value ReactorDriver::consumed(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->consumed(u32(info, 0), u32(info, 1), u32(info, 2), u32(info, 3), info[4].ToBoolean()));
}

Napi::Value ReactorDriver::handBack(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->handBack(u32(info, 0), u32(info, 1), u32(info, 2), u32(info, 3)));
}

// details(slot, generation) -> [remoteAddress, remotePort, family, bytesRead, bytesWritten, waiting, inFlight]
Napi::Value ReactorDriver::details(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const Napi::Env env = info.Env();
  Reactor::Details details;
  if (!reactor_->details(u32(info, 0), u32(info, 1), &details)) return env.Undefined();
  Napi::Array row = Napi::Array::New(env, 7);
  row.Set(0u, hostOf(details.peer));
  row.Set(1u, Napi::Number::New(env, details.peer.port));
  row.Set(2u, Napi::Number::New(env, static_cast<int>(details.peer.family)));
  row.Set(3u, Napi::Number::New(env, static_cast<double>(details.bytesRead)));
  row.Set(4u, Napi::Number::New(env, static_cast<double>(details.bytesWritten)));
  row.Set(5u, Napi::Number::New(env, static_cast<double>(details.waiting)));
  row.Set(6u, Napi::Number::New(env, details.inFlight));
  return row;
}

// peer(slot, generation) -> [remoteAddress, remotePort, family]
Napi::Value ReactorDriver::peer(const Napi::CallbackInfo& info) {
  MR_READY(info);
  Peer peer;
  if (!reactor_->findPeer(u32(info, 0), u32(info, 1), &peer)) return info.Env().Undefined();
  Napi::Array row = Napi::Array::New(info.Env(), 3);
  row.Set(0u, hostOf(peer));
  row.Set(1u, Napi::Number::New(info.Env(), peer.port));
  row.Set(2u, Napi::Number::New(info.Env(), static_cast<int>(peer.family)));
  return row;
}

// localAddress(slot, generation) -> [address, port]
Napi::Value ReactorDriver::localAddress(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const auto address = reactor_->localAddress(u32(info, 0), u32(info, 1));
  if (!address.ok()) return info.Env().Undefined();
  Napi::Array row = Napi::Array::New(info.Env(), 2);
  row.Set(0u, address.value.host());
  row.Set(1u, Napi::Number::New(info.Env(), address.value.port()));
  return row;
}

// subscribe(slot, generation, topic, policy) -> 0 gone, 1 done, 2 was subscribed already, 3 too many, 4 too many bytes
Napi::Value ReactorDriver::subscribe(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const auto done = reactor_->subscribe(u32(info, 0), u32(info, 1), textOf(info[2]), static_cast<SlowPolicy>(u32(info, 3)));
  return Napi::Number::New(info.Env(), static_cast<uint32_t>(done));
}

Napi::Value ReactorDriver::unsubscribe(const Napi::CallbackInfo& info) {
  MR_READY(info);
  return boolean(info, reactor_->unsubscribe(u32(info, 0), u32(info, 1), textOf(info[2])));
}

// subscriptions(slot, generation) -> string[]
Napi::Value ReactorDriver::subscriptions(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const auto names = reactor_->subscriptions(u32(info, 0), u32(info, 1));
  Napi::Array array = Napi::Array::New(info.Env(), names.size());
  for (uint32_t i = 0; i < names.size(); ++i) array.Set(i, Napi::String::New(info.Env(), names[i]));
  return array;
}

// publish(topic, data, deflated, windowBits) -> how many have subscribed on this reactor, -1 when too much waits to be delivered
Napi::Value ReactorDriver::publish(const Napi::CallbackInfo& info) {
  MR_READY(info);
  const std::string topic(textOf(info[0]));  // the bytes of the next string take its place
  SharedBytesRef bytes = SharedBytesRef::copyOf(bytesOf(info[1]));
  const auto windowBits = static_cast<uint8_t>(u32Or(info, 3, 0));
  const auto subscribers = reactor_->publishHere(topic, std::move(bytes), sharedOrNone(info[2]), windowBits);
  return Napi::Number::New(info.Env(), subscribers ? static_cast<double>(*subscribers) : -1);
}

// answerCall(number, outcome, data)
Napi::Value ReactorDriver::answerCall(const Napi::CallbackInfo& info) {
  if (!drives()) return boolean(info, false);  // an answer may come after close(): its caller knows
  return boolean(info, reactor_->answerCall(u32(info, 0), static_cast<CallOutcome>(u32(info, 1)), bytesOf(info[2])));
}

Napi::Function ReactorDriver::define(Napi::Env env) {
  return DefineClass(
      env, "ReactorDriver",
      {method<&ReactorDriver::close>("close"),
       method<&ReactorDriver::setReferenced, kBool>("setReferenced"),
       method<&ReactorDriver::addListener, kObject>("addListener"),
       method<&ReactorDriver::listenerCount>("listenerCount"),
       method<&ReactorDriver::updateListener, kU32, kObject>("updateListener"),
       method<&ReactorDriver::restoreConnections, kBool>("restoreConnections"),
       method<&ReactorDriver::quiesce>("quiesce"),
       method<&ReactorDriver::lastRows>("lastRows"),
       method<&ReactorDriver::keepState, kSlotArg, kGenerationArg, kBytes>("keepState"),
       method<&ReactorDriver::setHasData, kSlotArg, kGenerationArg, kBool>("setHasData"),
       method<&ReactorDriver::hold, kSlotArg, kGenerationArg, kBool>("hold"),
       method<&ReactorDriver::moveTo, kSlotArg, kGenerationArg, kU32, kU32>("moveTo"),
       method<&ReactorDriver::moveNow, kSlotArg, kGenerationArg, maybe(kBytes)>("moveNow"),
       method<&ReactorDriver::retire, kBool>("retire"),
       method<&ReactorDriver::assign, kSlotArg, kGenerationArg, kU32>("assign"),
       method<&ReactorDriver::loads>("loads"),
       method<&ReactorDriver::connect, kObject, maybe(kObject), kObject, kU32>("connect"),
       method<&ReactorDriver::cancelConnect, kU32>("cancelConnect"),
       method<&ReactorDriver::pipe, kSlotArg, kGenerationArg, kU32, kSlotArg, kGenerationArg, kU32>("pipe"),
       method<&ReactorDriver::staysHere, kSlotArg, kGenerationArg>("staysHere"),
       method<&ReactorDriver::stream, kSlotArg, kGenerationArg>("stream"),
       method<&ReactorDriver::finish, kSlotArg, kGenerationArg>("finish"),
       method<&ReactorDriver::relieve>("relieve"),
       method<&ReactorDriver::welcome>("welcome"),
       method<&ReactorDriver::endSecure, kU32>("endSecure"),
       method<&ReactorDriver::feed, kSlotArg, kGenerationArg, kBytes>("feed"),
       method<&ReactorDriver::feedEnd, kSlotArg, kGenerationArg>("feedEnd"),
       method<&ReactorDriver::decrypted, kSlotArg, kGenerationArg, kU32>("decrypted"),
       method<&ReactorDriver::established, kSlotArg, kGenerationArg>("established"),
       method<&ReactorDriver::writeCipher, kSlotArg, kGenerationArg, kBytes>("writeCipher"),
       method<&ReactorDriver::encrypted, kSlotArg, kGenerationArg, kU32>("encrypted"),
       method<&ReactorDriver::cipherEnd, kSlotArg, kGenerationArg>("cipherEnd"),
       method<&ReactorDriver::secureFailed, kSlotArg, kGenerationArg>("secureFailed"),
       method<&ReactorDriver::listen, kU32, kU32, kU32, kBool>("listen"),
       method<&ReactorDriver::leaveListeners, kU32>("leaveListeners"),
       method<&ReactorDriver::drain, kU32>("drain"),
       method<&ReactorDriver::destroyAll, kReasonArg>("destroyAll"),
       method<&ReactorDriver::flush>("flush"),
       method<&ReactorDriver::write, kSlotArg, kGenerationArg, kBytes, kBool>("write"),
       method<&ReactorDriver::writeStream, kSlotArg, kGenerationArg, kBytes>("writeStream"),
       method<&ReactorDriver::end, kSlotArg, kGenerationArg, kBool>("end"),
       method<&ReactorDriver::destroy, kSlotArg, kGenerationArg, kReasonArg>("destroy"),
       method<&ReactorDriver::fail, kSlotArg, kGenerationArg, kReasonArg, numberFrom(-1, kMostSafe)>("fail"),
       method<&ReactorDriver::pause, kSlotArg, kGenerationArg, kU32>("pause"),
       method<&ReactorDriver::stopBehind, kSlotArg, kGenerationArg, kU32>("stopBehind"),
       method<&ReactorDriver::resume, kSlotArg, kGenerationArg>("resume"),
       method<&ReactorDriver::setFraming, kSlotArg, kGenerationArg, kObject, kU32>("setFraming"),
       method<&ReactorDriver::setTimeoutMs, kSlotArg, kGenerationArg, kU32>("setTimeoutMs"),
       method<&ReactorDriver::resetOnClose, kSlotArg, kGenerationArg>("resetOnClose"),
       method<&ReactorDriver::setNoDelay, kSlotArg, kGenerationArg, kBool>("setNoDelay"),
       method<&ReactorDriver::setKeepAlive, kSlotArg, kGenerationArg, kBool, kU32>("setKeepAlive"),
       method<&ReactorDriver::submit, kSlotArg, kGenerationArg, kBytes, numberUpTo(static_cast<int64_t>(SubmitHow::kValue))>(
           "submit"),
       method<&ReactorDriver::defer, kSlotArg, kGenerationArg>("defer"),
       method<&ReactorDriver::settleDeferred, kSlotArg, kGenerationArg, kSequenceArg, kBytes, kU32>("settleDeferred"),
       method<&ReactorDriver::countLateCall>("countLateCall"),
       method<&ReactorDriver::countDropped>("countDropped"),
       method<&ReactorDriver::inlineBox>("inlineBox"),
       method<&ReactorDriver::settleInline>("settleInline"),
       method<&ReactorDriver::replyInline, kSlotArg, kGenerationArg, kU32, kU32, kBytes, kU32, kU32, kU32>("replyInline"),
       method<&ReactorDriver::place, kSlotArg, kGenerationArg, kBytes>("place"),
       method<&ReactorDriver::setAside, kSlotArg, kGenerationArg, kU32, kBytes>("setAside"),
       method<&ReactorDriver::connectionId, kSlotArg, kGenerationArg>("connectionId"),
       method<&ReactorDriver::watchGone, kBool>("watchGone"),
       method<&ReactorDriver::isGone, kId>("isGone"),
       method<&ReactorDriver::judgeOverrun, kU32, kBool>("judgeOverrun"),
       method<&ReactorDriver::consumed, kSlotArg, kGenerationArg, kU32, kU32>("consumed"),
       method<&ReactorDriver::handBack, kSlotArg, kGenerationArg, kU32, kU32>("handBack"),
       method<&ReactorDriver::details, kSlotArg, kGenerationArg>("details"),
       method<&ReactorDriver::peer, kSlotArg, kGenerationArg>("peer"),
       method<&ReactorDriver::localAddress, kSlotArg, kGenerationArg>("localAddress"),
       method<&ReactorDriver::subscribe, kSlotArg, kGenerationArg, kText, numberUpTo(static_cast<int64_t>(SlowPolicy::kLatest))>(
           "subscribe"),
       method<&ReactorDriver::unsubscribe, kSlotArg, kGenerationArg, kText>("unsubscribe"),
       method<&ReactorDriver::subscriptions, kSlotArg, kGenerationArg>("subscriptions"),
       method<&ReactorDriver::publish, kText, kBytes, maybe(kBytes), maybe(numberUpTo(15))>("publish"),
       method<&ReactorDriver::answerCall, kU32, numberUpTo(static_cast<int64_t>(CallOutcome::kNoHook)), kBytes>("answerCall")});
}

}  // namespace

void exportReactor(Napi::Env env, Napi::Object exports) { exports.Set("ReactorDriver", ReactorDriver::define(env)); }

}  // namespace mr
