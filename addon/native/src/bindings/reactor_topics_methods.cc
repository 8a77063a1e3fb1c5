// Topics: subscriptions of a reactor's connections, and publishing to all reactors.
#include "bindings/slot_method.h"

namespace mr {

namespace topic_methods {

// subscriptions(slot, generation) -> string[]
Napi::Value subscriptions(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  const auto names = driver.reactor()->subscriptions(u32(info, 0), u32(info, 1));
  Napi::Array array = Napi::Array::New(info.Env(), names.size());
  for (uint32_t i = 0; i < names.size(); ++i) array.Set(i, Napi::String::New(info.Env(), names[i]));
  return array;
}

// publish(topic, data, deflated, windowBits) -> how many have subscribed on this reactor, -1 when too much waits to be delivered
Napi::Value publish(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  const std::string topic(textOf(info[0]));  // the bytes of the next string take its place
  SharedBytesRef bytes = SharedBytesRef::copyOf(bytesOf(info[1]));
  const auto windowBits = static_cast<uint8_t>(u32Or(info, 3, 0));
  const auto subscribers = driver.reactor()->publishHere(topic, std::move(bytes), sharedOrNone(info[2]), windowBits);
  return Napi::Number::New(info.Env(), subscribers ? static_cast<double>(*subscribers) : -1);
}

}  // namespace topic_methods

void addTopicMethods(ReactorDriver::Methods& methods) {
  using namespace topic_methods;
  const auto add = [&](auto method) { methods.push_back(method); };
  // -> 0 gone, 1 done, 2 was subscribed already, 3 too many, 4 too many bytes
  add(slotMethod<&Reactor::subscribe>("subscribe"));
  add(slotMethod<&Reactor::unsubscribe>("unsubscribe"));
  add(ReactorDriver::method<subscriptions, kU32, kU32>("subscriptions"));
  add(ReactorDriver::method<publish, kText, kBytes, maybe(kBytes), maybe(numberUpTo(15))>("publish"));
}

}  // namespace mr
