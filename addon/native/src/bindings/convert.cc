#include "bindings/convert.h"

#include <arpa/inet.h>

#include <uv.h>

#include "base/slab_pool.h"

namespace mr {

namespace {

template <typename T>
T numberOr(const Napi::Object& object, const char* key, T fallback) {
  const Napi::Value value = object.Get(key);
  return value.IsNumber() ? static_cast<T>(value.As<Napi::Number>().DoubleValue()) : fallback;
}

bool boolOr(const Napi::Object& object, const char* key, bool fallback) {
  const Napi::Value value = object.Get(key);
  return value.IsBoolean() ? value.As<Napi::Boolean>().Value() : fallback;
}

}  // namespace

void throwCoded(Napi::Env env, const char* code, const std::string& message, int error) {
  Napi::Error failure = Napi::Error::New(env, message);
  failure.Set("code", Napi::String::New(env, code));
  if (error != 0) failure.Set("syscallCode", Napi::String::New(env, uv_err_name(-error)));
  failure.ThrowAsJavaScriptException();
}

std::span<const uint8_t> bytesOf(const Napi::Value& value) {
  if (value.IsString()) {
    // One scratch for each thread; it keeps the size of the largest string it has seen, up to a bound.
    thread_local std::vector<char> scratch(4096);
    if (scratch.size() > (1u << 20)) scratch = std::vector<char>(4096);
    size_t length = 0;
    napi_get_value_string_utf8(value.Env(), value, scratch.data(), scratch.size(), &length);
    if (length >= scratch.size() - 4) {
      napi_get_value_string_utf8(value.Env(), value, nullptr, 0, &length);
      scratch.resize(length + 1);
      napi_get_value_string_utf8(value.Env(), value, scratch.data(), scratch.size(), &length);
    }
    return {reinterpret_cast<const uint8_t*>(scratch.data()), length};
  }
  void* data = nullptr;
  size_t length = 0;
  if (napi_get_typedarray_info(value.Env(), value, nullptr, &length, &data, nullptr, nullptr) != napi_ok) return {};
  return {static_cast<const uint8_t*>(data), length};
}

Napi::BigInt toBigInt(Napi::Env env, ConnectionId id) { return Napi::BigInt::New(env, id.value); }

ConnectionId toConnectionId(const Napi::Value& value) {
  if (!value.IsBigInt()) return {};
  bool lossless = false;
  return {value.As<Napi::BigInt>().Uint64Value(&lossless)};
}

std::string hostOf(const Peer& peer) {
  char text[INET6_ADDRSTRLEN] = "";
  if (peer.family == Peer::Family::kInet4) inet_ntop(AF_INET, peer.bytes.data(), text, sizeof(text));
  if (peer.family == Peer::Family::kInet6) inet_ntop(AF_INET6, peer.bytes.data(), text, sizeof(text));
  return text;
}

FramingConfig toFraming(const Napi::Object& object) {
  FramingConfig framing;
  framing.kind = static_cast<FramingKind>(numberOr(object, "kind", 0u));
  framing.maxBytes = numberOr(object, "maxBytes", framing.maxBytes);
  const Napi::Value delimiter = object.Get("delimiter");
  if (delimiter.IsTypedArray()) {
    const auto bytes = bytesOf(delimiter);
    framing.delimiter.assign(bytes.begin(), bytes.end());
  }
  framing.trimCarriageReturn = boolOr(object, "trimCarriageReturn", false);
  framing.fixedBytes = numberOr(object, "fixedBytes", framing.fixedBytes);
  framing.lengthType = static_cast<LengthType>(numberOr(object, "lengthType", 3u));
  framing.lengthOffset = numberOr(object, "lengthOffset", framing.lengthOffset);
  framing.lengthAdjustment = numberOr(object, "lengthAdjustment", framing.lengthAdjustment);
  framing.lengthIncludesHeader = boolOr(object, "lengthIncludesHeader", false);
  framing.strip = numberOr(object, "strip", framing.strip);
  framing.resp.maxElements = numberOr(object, "maxElements", framing.resp.maxElements);
  framing.resp.maxBulkBytes = numberOr(object, "maxBulkBytes", framing.resp.maxBulkBytes);
  framing.resp.maxLineBytes = numberOr(object, "maxLineBytes", framing.resp.maxLineBytes);
  framing.resp.maxDepth = numberOr(object, "maxDepth", framing.resp.maxDepth);
  framing.resp.batch = boolOr(object, "batch", false);
  framing.mqttTypes = numberOr(object, "mqttTypes", framing.mqttTypes);
  framing.frameMs = numberOr(object, "frameMs", framing.frameMs);
  framing.maxHeadBytes = numberOr(object, "maxHeadBytes", framing.maxHeadBytes);
  framing.maxHeaders = numberOr(object, "maxHeaders", framing.maxHeaders);
  framing.wholeBytes = numberOr(object, "wholeBytes", framing.wholeBytes);
  framing.streamsBody = boolOr(object, "streamsBody", framing.streamsBody);
  return framing;
}

namespace {

// What the collector's call needs; the exchange may be gone by then.
struct Given {
  std::shared_ptr<MemoryShares> counted;
  size_t size;
  explicit Given(Exchange& exchange, size_t bytes) : counted(exchange.received()), size(bytes) {
    counted->add(static_cast<int64_t>(size));
  }
  ~Given() { counted->add(-static_cast<int64_t>(size)); }
};

}  // namespace

Napi::Value newSlab(Napi::Env env, Exchange& exchange, size_t size) {
  void* memory = SlabPool::instance().take(size);
  if (!memory) {
    throwCoded(env, "ERR_MR_SYSTEM", "the kernel gives no memory for received bytes");
    return env.Undefined();
  }
  return Napi::ArrayBuffer::New(
      env, memory, size,
      [](Napi::Env, void* data, Given* given) {
        SlabPool::instance().giveBack(data, given->size);
        delete given;
      },
      new Given(exchange, size));
}

Napi::Value countedCopy(Napi::Env env, Exchange& exchange, std::span<const uint8_t> bytes) {
  auto* memory = static_cast<uint8_t*>(std::malloc(std::max<size_t>(bytes.size(), 1)));
  if (!memory) {
    throwCoded(env, "ERR_MR_SYSTEM", "the kernel gives no memory for received bytes");
    return env.Undefined();
  }
  std::memcpy(memory, bytes.data(), bytes.size());
  return Napi::Buffer<uint8_t>::New(
      env, memory, bytes.size(),
      [](Napi::Env, uint8_t* data, Given* given) {
        std::free(data);
        delete given;
      },
      new Given(exchange, bytes.size()));
}

void collectIfAsked(Napi::Env env, const Exchange& exchange, uint32_t* seen) {
  const uint32_t asked = exchange.collectionsAsked();
  if (asked == *seen) return;
  *seen = asked;
  // Node-API has no other word for it: told of more memory outside of its heap than it could ever have, V8 collects at once.
  constexpr int64_t kMuch = int64_t{1} << 40;
  int64_t sum = 0;
  if (napi_adjust_external_memory(env, kMuch, &sum) == napi_ok) napi_adjust_external_memory(env, -kMuch, &sum);
}

bool takeException(Napi::Env env, napi_value* error) {
  bool pending = false;
  if (napi_is_exception_pending(env, &pending) != napi_ok || !pending) return false;
  if (napi_get_and_clear_last_exception(env, error) != napi_ok) return false;
  // process.exit() and terminate() look like an exception too.
  napi_value global;
  bool has = false;
  return napi_get_global(env, &global) == napi_ok && napi_has_named_property(env, global, "undefined", &has) == napi_ok;
}

bool callJs(Napi::Env env, const Napi::FunctionReference& function, const napi_async_context& context,
            std::initializer_list<napi_value> arguments) {
  napi_value receiver, result, error;
  bool pending = false;
  if (napi_get_global(env, &receiver) != napi_ok || napi_is_exception_pending(env, &pending) != napi_ok) return false;
  // Somebody else's, with which this call would fail without having begun.
  if (pending) {
    if (!takeException(env, &error)) return false;
    napi_fatal_exception(env, error);
  }
  const napi_status status =
      napi_make_callback(env, context, receiver, function.Value(), arguments.size(), std::data(arguments), &result);
  if (status == napi_ok) return true;
  if (!takeException(env, &error)) return false;
  // Our own dispatchers catch what hooks throw: what comes here belongs to 'uncaughtException'.
  napi_fatal_exception(env, error);
  return true;
}

}  // namespace mr
