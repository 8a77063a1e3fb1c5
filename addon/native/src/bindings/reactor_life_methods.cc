// Life cycle of a reactor: from attaching to its thread until the next thread takes over, or it has drained.
#include "bindings/reactor_driver.h"

namespace mr {

namespace life_methods {

Napi::Value close(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  driver.close();
  return info.Env().Undefined();
}

Napi::Value setReferenced(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.ready(info)) driver.setReferenced(info[0].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

Napi::Value restoreConnections(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  driver.reactor()->restoreConnections(info[0].As<Napi::Boolean>().Value());
  driver.armTimer();
  return info.Env().Undefined();
}

Napi::Value quiesce(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.ready(info)) driver.reactor()->quiesce();
  return info.Env().Undefined();
}

// lastRows() -> rows as in a batch, of connections that have closed; none inside of a turn, and after close()
Napi::Value lastRows(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  std::vector<EventRow> rows;
  if (driver.drives()) {
    driver.reactor()->emptyWriteBox();
    rows = driver.reactor()->lastRows();
  }
  Napi::Uint32Array words = Napi::Uint32Array::New(info.Env(), rows.size() * kRowWords);
  if (!rows.empty()) std::memcpy(words.Data(), rows.data(), rows.size() * sizeof(EventRow));
  return words;
}

Napi::Value retire(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  driver.reactor()->retire(info[0].As<Napi::Boolean>().Value());
  driver.armTimer();
  return info.Env().Undefined();
}

Napi::Value relieve(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.ready(info)) driver.reactor()->relieve();
  return info.Env().Undefined();
}

Napi::Value welcome(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.ready(info)) driver.reactor()->welcome();
  return info.Env().Undefined();
}

// drain(lingerMs)
Napi::Value drain(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  driver.reactor()->drain(u32(info, 0));
  driver.armTimer();
  return info.Env().Undefined();
}

// destroyAll(reason) -> how many connections
Napi::Value destroyAll(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), driver.reactor()->destroyAll(static_cast<CloseReason>(u32(info, 0))));
}

Napi::Value flush(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.drives()) return info.Env().Undefined();  // a microtask may come after close()
  driver.reactor()->emptyWriteBox();
  driver.reactor()->flush();
  driver.armTimer();
  return info.Env().Undefined();
}

// A call on a connection that had closed before the call reached this side.
Napi::Value countLateCall(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.isClosed()) driver.reactor()->countLateCall();
  return info.Env().Undefined();
}

Napi::Value countDropped(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.isClosed()) driver.reactor()->countDropped();
  return info.Env().Undefined();
}

// answerCall(number, outcome, data) -> false: its caller has been answered
Napi::Value answerCall(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  const auto outcome = static_cast<CallOutcome>(u32(info, 1));
  // An answer may come after close(): its caller knows.
  const bool done = driver.drives() && driver.reactor()->answerCall(u32(info, 0), outcome, bytesOf(info[2]));
  return Napi::Boolean::New(info.Env(), done);
}

}  // namespace life_methods

void addLifeMethods(ReactorDriver::Methods& methods) {
  using namespace life_methods;
  const auto add = [&](auto method) { methods.push_back(method); };
  add(ReactorDriver::method<close>("close"));
  add(ReactorDriver::method<setReferenced, kBool>("setReferenced"));
  add(ReactorDriver::method<restoreConnections, kBool>("restoreConnections"));
  add(ReactorDriver::method<quiesce>("quiesce"));
  add(ReactorDriver::method<lastRows>("lastRows"));
  add(ReactorDriver::method<retire, kBool>("retire"));
  add(ReactorDriver::method<relieve>("relieve"));
  add(ReactorDriver::method<welcome>("welcome"));
  add(ReactorDriver::method<drain, kU32>("drain"));
  add(ReactorDriver::method<destroyAll, numberUpTo(kCloseReasons - 1)>("destroyAll"));
  add(ReactorDriver::method<flush>("flush"));
  add(ReactorDriver::method<countLateCall>("countLateCall"));
  add(ReactorDriver::method<countDropped>("countDropped"));
  constexpr auto kMostOutcome = static_cast<int64_t>(CallOutcome::kNoHook);
  add(ReactorDriver::method<answerCall, kU32, numberUpTo(kMostOutcome), kBytes>("answerCall"));
}

}  // namespace mr
