// TLS of a reactor's connections. Its layer may report something after close(), when its connection is gone.
#include "bindings/slot_method.h"

namespace mr {

namespace tls_methods {

Napi::Value endSecure(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.ready(info)) driver.reactor()->endSecure(u32(info, 0));
  return info.Env().Undefined();
}

}  // namespace tls_methods

void addTlsMethods(ReactorDriver::Methods& methods) {
  const auto add = [&](auto method) { methods.push_back(method); };
  add(ReactorDriver::method<tls_methods::endSecure, kU32>("endSecure"));
  add(slotMethod<&Reactor::feed, kLate>("feed"));
  add(slotMethod<&Reactor::feedEnd, kLate>("feedEnd"));
  add(slotMethod<&Reactor::decrypted, kLate>("decrypted"));
  add(slotMethod<&Reactor::established, kLate>("established"));
  add(slotMethod<&Reactor::writeCipher, kLate>("writeCipher"));
  add(slotMethod<&Reactor::encrypted, kLate>("encrypted"));
  add(slotMethod<&Reactor::cipherEnd, kLate>("cipherEnd"));
  add(slotMethod<&Reactor::secureFailed, kLate>("secureFailed"));
}

}  // namespace mr
