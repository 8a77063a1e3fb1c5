// A reactor for the JavaScript of its driving thread: its life cycle in the thread's event loop, and one call into JavaScript for
// the events of a turn. The methods that JavaScript calls stand in the reactor_*_methods.cc, as functions of the driver.
#pragma once

#include <napi.h>

#include <memory>
#include <utility>
#include <vector>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/event_box.h"
#include "bindings/loop_driver.h"

namespace mr {

class ReactorDriver final : public Napi::ObjectWrap<ReactorDriver>, public EventSink {
 public:
  using Methods = std::vector<Napi::ClassPropertyDescriptor<ReactorDriver>>;
  static Napi::Function define(Napi::Env env);
  explicit ReactorDriver(const Napi::CallbackInfo& info);
  ~ReactorDriver() override { stop(); }

  Delivered deliver(const std::vector<EventRow>& rows) override;
  Slab newSlab(size_t atLeast) override;

  // --- for the methods ---
  // After close() it has no reactor. While the reactor waits for memory, it is in the middle of something.
  bool drives() const { return reactor_ && !closeAfterTurn_ && !inNewSlab_ && reactor_->isDrivenBy(this); }
  // True: it drives, and earlier writes of hooks have been taken out of the write box. False: thrown.
  bool ready(const Napi::CallbackInfo& info);
  bool isClosed() const { return !reactor_ || closeAfterTurn_; }
  const std::shared_ptr<Reactor>& reactor() const { return reactor_; }
  Runtime& runtime() const { return *runtime_; }
  void armTimer() {
    if (driver_) driver_->armTimer(reactor_->untilNextTimerMs());
  }
  void setReferenced(bool on) { driver_->setReferenced(on); }
  void close();
  // The settings in an object given to connect(), or null after throwing. The last object is read once: reading it costs more
  // than the rest of a connect().
  const ListenerConfig* clientConfig(Napi::Env env, const Napi::Value& client);

  // A method of the class: `kFunction` is a `Napi::Value (ReactorDriver&, const Napi::CallbackInfo&)`.
  template <auto kFunction, Arg... kArguments>
  static Napi::ClassPropertyDescriptor<ReactorDriver> method(const char* name) {
    return InstanceMethod<&ReactorDriver::checked<kFunction, kArguments...>>(name, napi_default, const_cast<char*>(name));
  }

 private:
  template <auto kFunction, Arg... kArguments>
  Napi::Value checked(const Napi::CallbackInfo& info) {
    if (!checkArguments<kArguments...>(info, static_cast<const char*>(info.Data()))) return info.Env().Undefined();
    return kFunction(*this, info);
  }
  void onReady();
  void stop();

  std::shared_ptr<Runtime> runtime_;
  std::shared_ptr<Reactor> reactor_;
  std::unique_ptr<LoopDriver> driver_;
  Napi::FunctionReference onEvents_;
  Napi::FunctionReference newSlab_;
  std::shared_ptr<EventBox> eventBox_ = std::make_shared<EventBox>();
  Napi::ObjectReference client_;  // the last object given to connect(), and its settings
  ListenerConfig clientConfig_;
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

// Nothing when it is wrong: that has been thrown.
std::optional<ListenerConfig> toListenerConfig(Napi::Env env, const char* function, const Napi::Value& value);

// Each adds the methods of its file.
void addLifeMethods(ReactorDriver::Methods& methods);
void addListenerMethods(ReactorDriver::Methods& methods);
void addConnectionMethods(ReactorDriver::Methods& methods);
void addTlsMethods(ReactorDriver::Methods& methods);
void addTopicMethods(ReactorDriver::Methods& methods);
void addInlineMethods(ReactorDriver::Methods& methods);

}  // namespace mr
