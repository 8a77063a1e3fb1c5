// Listeners of a reactor, the connections that it makes, and which reactor gets a connection.
#include <algorithm>
#include <limits>

#include <uv.h>

#include "bindings/reactor_driver.h"
#include "net/address.h"

namespace mr {

std::optional<ListenerConfig> toListenerConfig(Napi::Env env, const char* function, const Napi::Value& value) {
  Fields fields(env, function, value);
  ListenerConfig config;
  const Napi::Value framing = fields.get("framing");
  if (!fields.ok()) return std::nullopt;
  const auto cut = toFraming(env, function, framing);
  if (!cut) return std::nullopt;
  config.framing = *cut;
#define MR_NUMBER(name)                             \
  config.name = static_cast<decltype(config.name)>( \
      fields.number(#name, 0, std::min<double>(std::numeric_limits<decltype(config.name)>::max(), kMostSafe)));
#define MR_FLAG(name) config.name = fields.flag(#name);
  MR_LISTENER_NUMBERS(MR_NUMBER)
  MR_LISTENER_FLAGS(MR_FLAG)
#undef MR_NUMBER
#undef MR_FLAG
  config.run = static_cast<Run>(fields.number("run", 0, static_cast<double>(Run::kAuto)));
  config.balance = static_cast<Balance::Policy>(fields.number("balance", 0, static_cast<double>(Balance::Policy::kApp)));
  if (!fields.ok()) return std::nullopt;
  return config;
}

namespace listener_methods {

Napi::Value addListener(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  const auto config = toListenerConfig(info.Env(), "addListener", info[0]);
  if (!config || !driver.ready(info)) return info.Env().Undefined();
  if (driver.reactor()->listenerCount() == Exchange::kMaxListeners) {
    throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this reactor has as many listeners as it may have");
    return info.Env().Undefined();
  }
  return Napi::Number::New(info.Env(), driver.reactor()->addListener(*config));
}

bool hasListener(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (u32(info, 0) < driver.reactor()->listenerCount()) return true;
  throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this reactor has no listener of this number");
  return false;
}

Napi::Value listenerCount(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  return Napi::Number::New(info.Env(), driver.reactor()->listenerCount());
}

// updateListener(number, listener)
Napi::Value updateListener(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  const auto config = toListenerConfig(info.Env(), "updateListener", info[1]);
  if (!config || !driver.ready(info) || !hasListener(driver, info)) return info.Env().Undefined();
  driver.reactor()->updateListener(static_cast<uint16_t>(u32(info, 0)), *config);
  return info.Env().Undefined();
}

// listen(listener, group, member, spread)
Napi::Value listen(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  auto group = driver.runtime().group(u32(info, 1));
  if (!group) {
    throwCoded(info.Env(), "ERR_MR_CLOSED", "this listener has been closed");
    return info.Env().Undefined();
  }
  if (!hasListener(driver, info)) return info.Env().Undefined();
  if (!group->has(static_cast<int>(u32(info, 2)))) {
    throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this listener has no such socket, or it has been taken");
    return info.Env().Undefined();
  }
  driver.reactor()->listen(static_cast<uint16_t>(u32(info, 0)), std::move(group), static_cast<int>(u32(info, 2)),
                           info[3].As<Napi::Boolean>().Value());
  driver.armTimer();
  return info.Env().Undefined();
}

// leaveListeners(graceMs)
Napi::Value leaveListeners(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.ready(info)) driver.reactor()->leaveListeners(u32(info, 0));
  return info.Env().Undefined();
}

// loads() -> [reactor, connections, ...] of those that take connections
Napi::Value loads(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  const Balance& balance = driver.reactor()->exchange().balance();
  Napi::Array pairs = Napi::Array::New(info.Env());
  for (uint32_t reactor = 0; reactor < balance.end(); ++reactor) {
    if (!balance.takes(reactor)) continue;
    pairs.Set(pairs.Length(), Napi::Number::New(info.Env(), reactor));
    pairs.Set(pairs.Length(), Napi::Number::New(info.Env(), balance.of(reactor)));
  }
  return pairs;
}

// Nothing when it is no target: that has been thrown.
std::optional<Result<Address>> toTarget(Napi::Env env, const Napi::Value& value) {
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
Napi::Value connect(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  const auto failed = [&](int error) { return Napi::String::New(info.Env(), uv_err_name(-error)); };
  // Everything is read before anything is begun: a getter may close this reactor.
  const auto address = toTarget(info.Env(), info[0]);
  if (!address) return info.Env().Undefined();
  const std::optional<Result<Address>> local = info[1].IsObject() ? toTarget(info.Env(), info[1]) : Result<Address>::success({});
  if (!local) return info.Env().Undefined();
  const ListenerConfig* config = driver.clientConfig(info.Env(), info[2]);
  if (!config) return info.Env().Undefined();
  if (!driver.ready(info)) return info.Env().Undefined();
  if (!address->ok()) return failed(address->error);
  if (!local->ok()) return failed(local->error);
  const auto begun =
      driver.reactor()->connect(address->value, info[1].IsObject() ? &local->value : nullptr, *config, u32(info, 3));
  driver.armTimer();
  if (!begun.ok()) return failed(begun.error);
  return Napi::Number::New(info.Env(), begun.value);
}

Napi::Value cancelConnect(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.drives()) driver.reactor()->cancelConnect(u32(info, 0));
  return info.Env().Undefined();
}

}  // namespace listener_methods

void addListenerMethods(ReactorDriver::Methods& methods) {
  using namespace listener_methods;
  const auto add = [&](auto method) { methods.push_back(method); };
  add(ReactorDriver::method<addListener, kObject>("addListener"));
  add(ReactorDriver::method<listenerCount>("listenerCount"));
  add(ReactorDriver::method<updateListener, kU32, kObject>("updateListener"));
  add(ReactorDriver::method<listen, kU32, kU32, kU32, kBool>("listen"));
  add(ReactorDriver::method<leaveListeners, kU32>("leaveListeners"));
  add(ReactorDriver::method<loads>("loads"));
  add(ReactorDriver::method<connect, kObject, maybe(kObject), kObject, kU32>("connect"));
  add(ReactorDriver::method<cancelConnect, kU32>("cancelConnect"));
}

}  // namespace mr
