#include "bindings/reactor_driver.h"

#include <algorithm>

#include "base/fatal.h"

namespace mr {

namespace {

constexpr int kTurnsPerCallback = 2;  // more would keep timers and messages of the thread waiting

}  // namespace

// new ReactorDriver(runtime, index, onEvents(count, oldestSlab, currentSlab, more), newSlab(size, id) -> Buffer, ownsRuntime)
ReactorDriver::ReactorDriver(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ReactorDriver>(info) {
  if (!checkArguments<kU32, kU32, kFunction, kFunction, maybe(kBool)>(info, "ReactorDriver")) return;
  runtime_ = runtimeOf(info);
  if (!runtime_) return;
  runtimeId_ = u32(info, 0);
  ownsRuntime_ = info[4].IsBoolean() && info[4].As<Napi::Boolean>().Value();
  if (u32(info, 1) >= runtime_->reactors.size() || !runtime_->reactors[u32(info, 1)]) {
    throwCoded(info.Env(), "ERR_MR_NO_REACTOR", "this runtime has no reactor of this number");
    return;
  }
  auto reactor = runtime_->reactors[u32(info, 1)];
  onEvents_ = Napi::Persistent(info[2].As<Napi::Function>());
  newSlab_ = Napi::Persistent(info[3].As<Napi::Function>());
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
  self.Set("eventRows", Napi::Uint32Array::New(env, sizeof(EventBox) / sizeof(uint32_t),
                                               sharedMemory(env, eventBox_, eventBox_->rows.data(), sizeof(EventBox)), 0));
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
  const uint32_t oldest = oldestSlab(rows);
  std::erase_if(heldSlabs_, [&](const auto& held) { return held.first < oldest && held.first != reactor_->currentSlab(); });
  size_t count = 0;
  for (size_t from = 0; from < rows.size(); from += count) {
    Napi::HandleScope scope(Env());
    count = std::min<size_t>(rows.size() - from, EventBox::kRows);
    std::copy_n(rows.data() + from, count, eventBox_->rows.data());
    eventBox_->progress = 0;  // JS may not get so far as to write it
    if (!callJs(
            Env(), onEvents_, context_,
            {Napi::Number::New(Env(), static_cast<double>(count)), Napi::Number::New(Env(), oldest),
             Napi::Number::New(Env(), reactor_->currentSlab()), Napi::Number::New(Env(), from + count < rows.size() ? 1 : 0)})) {
      dying_ = true;
      // What JS has counted: no more than it was given.
      const uint32_t progress = std::min<uint32_t>(eventBox_->progress, static_cast<uint32_t>(count * 2));
      return {false, from + (progress + 1) / 2, progress % 2 != 0};
    }
  }
  return {true, rows.size(), false};
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

bool ReactorDriver::ready(const Napi::CallbackInfo& info) {
  if (drives()) return reactor_->emptyWriteBox(), true;
  if (isClosed()) {
    throwCoded(info.Env(), "ERR_MR_CLOSED", "this reactor has been closed");
  } else if (inNewSlab_) {
    throwCoded(info.Env(), "ERR_MR_STATE", "the reactor waits for memory: nothing can be asked of it now");
  } else {
    throwCoded(info.Env(), "ERR_MR_WRONG_THREAD", "this thread does not drive the reactor any more");
  }
  return false;
}

void ReactorDriver::close() {
  if (isClosed()) return;
  // A hook that closes its reactor is still inside the turn: the turn ends first.
  closeAfterTurn_ = true;
  if (inTurn_) return;
  stop();
  Unref();
}

const ListenerConfig* ReactorDriver::clientConfig(Napi::Env env, const Napi::Value& client) {
  if (client_.IsEmpty() || !client_.Value().StrictEquals(client)) {
    const auto config = toListenerConfig(env, "connect", client);
    if (!config) return nullptr;
    client_ = Napi::Persistent(client.As<Napi::Object>());
    clientConfig_ = *config;
  }
  return &clientConfig_;
}

Napi::Function ReactorDriver::define(Napi::Env env) {
  Methods methods;
  for (const auto add :
       {addLifeMethods, addListenerMethods, addConnectionMethods, addTlsMethods, addTopicMethods, addInlineMethods})
    add(methods);
  return DefineClass(env, "ReactorDriver", methods);
}

void exportReactor(Napi::Env env, Napi::Object exports) { exports.Set("ReactorDriver", ReactorDriver::define(env)); }

}  // namespace mr
