// Between JS values and native ones, and from failures to coded errors. No policy.
#pragma once

#include <napi.h>

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "codec/framer.h"
#include "exchange/connection_id.h"
#include "exchange/exchange.h"
#include "exchange/peer.h"

namespace mr {

// Throws in JS: { code, message, and errno's name in `syscallCode` when there is one }.
void throwCoded(Napi::Env env, const char* code, const std::string& message, int error = 0);

// The bytes of a string (as UTF-8) or Uint8Array. Valid until the next call on this thread, or as long as the JS value is.
std::span<const uint8_t> bytesOf(const Napi::Value& value);
// A copy of them; nothing for undefined.
SharedBytesRef sharedOrNone(const Napi::Value& value);

inline std::string_view textOf(const Napi::Value& value) {
  const auto bytes = bytesOf(value);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Of an argument that has been checked: see bindings/arguments.h.
inline uint32_t u32(const Napi::CallbackInfo& info, size_t index) { return info[index].As<Napi::Number>().Uint32Value(); }
inline uint32_t u32Or(const Napi::CallbackInfo& info, size_t index, uint32_t otherwise) {
  return info[index].IsUndefined() ? otherwise : u32(info, index);
}

Napi::BigInt toBigInt(Napi::Env env, ConnectionId id);
ConnectionId toConnectionId(const Napi::Value& value);  // 0 when it is no bigint

std::string hostOf(const Peer& peer);  // "" for Unix peers

// Native memory for JS to write into, which lives as long as either side holds it: it may outlast the thread.
template <typename Owner>
Napi::ArrayBuffer sharedMemory(Napi::Env env, const std::shared_ptr<Owner>& owner, void* data, size_t size) {
  return Napi::ArrayBuffer::New(
      env, data, size, [](Napi::Env, void*, std::shared_ptr<Owner>* held) { delete held; }, new std::shared_ptr<Owner>(owner));
}

// Of a framing that is to be cut natively. Nothing when it is wrong: that has been thrown.
std::optional<FramingConfig> toFraming(Napi::Env env, const char* function, const Napi::Value& value);

// The error of a failed call into JS; it is pending no more. False: the thread is being terminated, and nothing that may
// run JS works any more.
bool takeException(Napi::Env env, napi_value* error);

// A call into JS from outside of any, with its microtasks. False when JS may not run any more: touch nothing and return.
bool callJs(Napi::Env env, const Napi::FunctionReference& function, const napi_async_context& context,
            std::initializer_list<napi_value> arguments);

// Memory of whole pages for bytes that JS is given, not cleared. Counted as received by this server until
// the collector gives it back. Empty, and thrown, when the kernel gives none.
Napi::Value newSlab(Napi::Env env, Exchange& exchange, size_t size);
// A copy of bytes that JS is given, counted in the same way.
Napi::Value countedCopy(Napi::Env env, Exchange& exchange, std::span<const uint8_t> bytes);

// Makes this thread's collector run.
void collectNow(Napi::Env env);
// If it has been asked for since `seen`.
void collectIfAsked(Napi::Env env, const Exchange& exchange, uint32_t* seen);

}  // namespace mr
