#include "bindings/convert.h"

#include <arpa/inet.h>

#include <uv.h>

#include "base/slab_pool.h"
#include "bindings/arguments.h"

namespace mr {

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
  napi_typedarray_type type;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, &data, nullptr, nullptr) != napi_ok) return {};
  if (type != napi_uint8_array || !data) return {};
  return {static_cast<const uint8_t*>(data), length};
}

SharedBytesRef sharedOrNone(const Napi::Value& value) {
  return value.IsUndefined() ? SharedBytesRef() : SharedBytesRef::copyOf(bytesOf(value));
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

namespace {

bool isFramingKind(double kind) {
#define MR_IS_KIND(Name, name, number, call) \
  if (kind == number) return true;
  MR_FRAMINGS(MR_IS_KIND)
#undef MR_IS_KIND
  return false;
}

}  // namespace

// The framers trust their settings: a delimiter of nothing, or frames of no bytes, would be cut for ever.
std::optional<FramingConfig> toFraming(Napi::Env env, const char* function, const Napi::Value& value) {
  Fields fields(env, function, value);
  constexpr double kMost32 = UINT32_MAX, kMostOf = kMostSafe;
  FramingConfig framing;
  const double kind = fields.number("kind", 0, UINT8_MAX);
  if (!isFramingKind(kind)) fields.wrong("kind", "the number of a framing", true);
  framing.kind = static_cast<FramingKind>(kind);
  const auto number = [&](const char* name, auto* field, double least, double most) {
    *field = static_cast<std::remove_pointer_t<decltype(field)>>(fields.numberOr(name, static_cast<double>(*field), least, most));
  };
  number("maxBytes", &framing.maxBytes, 0, kMostOf);
  if (fields.has("delimiter")) {
    const Napi::Value delimiter = fields.get("delimiter");
    const auto bytes = fields.ok() ? bytesOf(delimiter) : std::span<const uint8_t>();
    if (bytes.empty() || bytes.size() > UINT8_MAX) fields.wrong("delimiter", "a Uint8Array of 1 to 255 bytes", true);
    framing.delimiter.assign(bytes.begin(), bytes.end());
  }
  framing.trimCarriageReturn = fields.flagOr("trimCarriageReturn", false);
  number("fixedBytes", &framing.fixedBytes, 0, kMost32);
  if (framing.kind == FramingKind::kFixed && framing.fixedBytes == 0) fields.wrong("fixedBytes", "more than 0", true);
  framing.lengthType = static_cast<LengthType>(
      fields.numberOr("lengthType", static_cast<double>(LengthType::kU32Be), 0, static_cast<double>(LengthType::kVarint)));
  number("lengthOffset", &framing.lengthOffset, 0, UINT16_MAX);
  number("lengthAdjustment", &framing.lengthAdjustment, -UINT16_MAX, UINT16_MAX);
  framing.lengthIncludesHeader = fields.flagOr("lengthIncludesHeader", false);
  number("strip", &framing.strip, 0, kMost32);
  number("maxElements", &framing.resp.maxElements, 0, kMost32);
  number("maxBulkBytes", &framing.resp.maxBulkBytes, 0, kMost32);
  number("maxLineBytes", &framing.resp.maxLineBytes, 0, kMost32);
  number("maxDepth", &framing.resp.maxDepth, 1, RespLimits::kMostDepth);
  framing.resp.batch = fields.flagOr("batch", false);
  number("mqttTypes", &framing.mqttTypes, 0, UINT16_MAX);
  number("frameMs", &framing.frameMs, 0, INT32_MAX);
  number("windowBits", &framing.windowBits, 0, 15);
  number("maxHeadBytes", &framing.maxHeadBytes, 1, (1 << 20) - 1);
  number("maxHeaders", &framing.maxHeaders, 0, kMost32);
  number("wholeBytes", &framing.wholeBytes, 0, kMost32);
  framing.streamsBody = fields.flagOr("streamsBody", framing.streamsBody);
  if (!fields.ok()) return std::nullopt;
  return framing;
}

namespace {

// The data for the collector's call; the exchange may be gone by then.
struct Given {
  std::shared_ptr<MemoryShares> counted;
  size_t size;
  explicit Given(Exchange& exchange, size_t bytes) : counted(exchange.received()), size(bytes) {
    counted->add(static_cast<int64_t>(size));
  }
  ~Given() { counted->add(-static_cast<int64_t>(size)); }
};

// V8 looks at the memory of young buffers only when it allocates memory for one itself, and collects the young alone if that is
// much.
// Ours would wait for the next collection of the whole heap, which takes several times as long.
void collectYoungIfMany(Napi::Env env) { Napi::ArrayBuffer::New(env, 1); }

}  // namespace

Napi::Value newSlab(Napi::Env env, Exchange& exchange, size_t size) {
  void* memory = SlabPool::instance().take(size);
  if (!memory) {
    throwCoded(env, "ERR_MR_SYSTEM", "the kernel gives no memory for received bytes");
    return env.Undefined();
  }
  collectYoungIfMany(env);
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
  collectYoungIfMany(env);
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
  collectNow(env);
}

void collectNow(Napi::Env env) {
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
  // An exception of another call, with which this call would fail without having begun.
  if (pending) {
    if (!takeException(env, &error)) return false;
    napi_fatal_exception(env, error);
  }
  const napi_status status =
      napi_make_callback(env, context, receiver, function.Value(), arguments.size(), std::data(arguments), &result);
  if (status == napi_ok) return true;
  if (!takeException(env, &error)) return false;
  // Our own dispatchers catch the errors of hooks: an error here belongs to 'uncaughtException'.
  napi_fatal_exception(env, error);
  return true;
}

}  // namespace mr
