#include "bindings/arguments.h"

#include <cmath>
#include <cstdio>

#include "bindings/convert.h"

namespace mr {

namespace {

enum class Fits : uint8_t { kYes, kWrongType, kOutOfRange };

Fits numberFits(const Napi::Value& value, double least, double most) {
  double number = 0;
  if (napi_get_value_double(value.Env(), value, &number) != napi_ok) return Fits::kWrongType;
  return number >= least && number <= most && std::trunc(number) == number ? Fits::kYes : Fits::kOutOfRange;
}

// With its memory: a view whose memory was transferred says that it is empty.
bool isView(const Napi::Value& value, napi_typedarray_type wanted, size_t least) {
  bool is = false;
  if (napi_is_typedarray(value.Env(), value, &is) != napi_ok || !is) return false;
  napi_typedarray_type type;
  size_t length = 0;
  napi_value memory = nullptr;
  if (napi_get_typedarray_info(value.Env(), value, &type, &length, nullptr, &memory, nullptr) != napi_ok) return false;
  bool detached = false;
  (void)napi_is_detached_arraybuffer(value.Env(), memory, &detached);
  return type == wanted && !detached && length >= least;
}

Fits numbersFit(const Napi::Value& value, double least, double most) {
  bool is = false;
  uint32_t length = 0;
  if (napi_is_array(value.Env(), value, &is) != napi_ok || !is) return Fits::kWrongType;
  if (napi_get_array_length(value.Env(), value, &length) != napi_ok) return Fits::kWrongType;
  for (uint32_t i = 0; i < length; ++i) {
    napi_value one = nullptr;
    if (napi_get_element(value.Env(), value, i, &one) != napi_ok) return Fits::kWrongType;
    if (const Fits fits = numberFits({value.Env(), one}, least, most); fits != Fits::kYes) return fits;
  }
  return Fits::kYes;
}

Fits fitsArgument(const Napi::Value& value, const Arg& arg) {
  const auto is = [](bool yes) { return yes ? Fits::kYes : Fits::kWrongType; };
  // The cheap and common one first.
  if (arg.kind == Arg::Kind::kNumber && !arg.optional) {
    return numberFits(value, static_cast<double>(arg.least), static_cast<double>(arg.most));
  }
  const napi_valuetype type = value.Type();
  if (arg.optional && type == napi_undefined) return Fits::kYes;
  switch (arg.kind) {
    case Arg::Kind::kNumber:
      return numberFits(value, static_cast<double>(arg.least), static_cast<double>(arg.most));
    case Arg::Kind::kBoolean:
      return is(type == napi_boolean);
    case Arg::Kind::kText:
      return is(type == napi_string);
    case Arg::Kind::kBytes:
      return is(type == napi_string || (type == napi_object && isView(value, napi_uint8_array, 0)));
    case Arg::Kind::kId:
      return is(type == napi_bigint);
    case Arg::Kind::kObject:
      return is(type == napi_object);
    case Arg::Kind::kFunction:
      return is(type == napi_function);
    case Arg::Kind::kNumbers:
      return type == napi_object ? numbersFit(value, static_cast<double>(arg.least), static_cast<double>(arg.most))
                                 : Fits::kWrongType;
    case Arg::Kind::kWords:
      return is(type == napi_object && isView(value, napi_uint32_array, static_cast<size_t>(arg.least)));
  }
  return Fits::kWrongType;
}

std::string rangeOf(double least, double most) {
  char text[96];
  std::snprintf(text, sizeof(text), "a whole number from %.0f to %.0f", least, most);
  return text;
}

std::string expected(const Arg& arg) {
  const auto range = [&] { return rangeOf(static_cast<double>(arg.least), static_cast<double>(arg.most)); };
  switch (arg.kind) {
    case Arg::Kind::kNumber:
      return range();
    case Arg::Kind::kBoolean:
      return "true or false";
    case Arg::Kind::kText:
      return "a string";
    case Arg::Kind::kBytes:
      return "a string, or a Uint8Array with its memory";
    case Arg::Kind::kId:
      return "a bigint";
    case Arg::Kind::kObject:
      return "an object";
    case Arg::Kind::kFunction:
      return "a function";
    case Arg::Kind::kNumbers:
      return "an array, each of its elements " + range();
    case Arg::Kind::kWords:
      return "a Uint32Array of at least " + std::to_string(arg.least) + " words, with its memory";
  }
  return "something else";
}

void throwWrong(Napi::Env env, const std::string& what, const std::string& wanted, bool isRange) {
  bool pending = false;  // a getter may have thrown: then that is the fault
  if (napi_is_exception_pending(env, &pending) != napi_ok || pending) return;
  throwCoded(env, isRange ? "ERR_MR_OPTION_RANGE" : "ERR_MR_OPTION_TYPE", what + " must be " + wanted);
}

}  // namespace

bool checkArguments(const Napi::CallbackInfo& info, const char* function, std::span<const Arg> arguments) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const Fits fits = fitsArgument(info[i], arguments[i]);
    if (fits == Fits::kYes) continue;
    throwWrong(info.Env(), std::string("native ") + function + "(): argument " + std::to_string(i + 1), expected(arguments[i]),
               fits == Fits::kOutOfRange);
    return false;
  }
  return true;
}

Fields::Fields(Napi::Env env, const char* function, const Napi::Value& object) : env_(env), function_(function) {
  if (object.IsEmpty() || !object.IsObject()) {
    ok_ = false;
    throwWrong(env, std::string("native ") + function + "(): the options", "an object", false);
    return;
  }
  object_ = object.As<Napi::Object>();
}

Napi::Value Fields::get(const char* name) {
  napi_value value = nullptr;
  if (!ok_) return env_.Undefined();
  if (napi_get_named_property(env_, object_, name, &value) == napi_ok) return {env_, value};
  ok_ = false;
  return env_.Undefined();
}

bool Fields::has(const char* name) {
  const Napi::Value value = get(name);
  return ok_ && !value.IsUndefined();
}

void Fields::wrong(const char* name, const char* expected, bool isRange) {
  if (!ok_) return;
  ok_ = false;
  throwWrong(env_, std::string("native ") + function_ + "(): '" + name + "'", expected, isRange);
}

double Fields::number(const char* name, double least, double most) {
  const Napi::Value value = get(name);
  if (!ok_) return least;
  const Fits fits = numberFits(value, least, most);
  if (fits == Fits::kYes) return value.As<Napi::Number>().DoubleValue();
  wrong(name, rangeOf(least, most).c_str(), fits == Fits::kOutOfRange);
  return least;
}

double Fields::numberOr(const char* name, double fallback, double least, double most) {
  const Napi::Value value = get(name);
  if (!ok_ || value.IsUndefined()) return fallback;
  const Fits fits = numberFits(value, least, most);
  if (fits == Fits::kYes) return value.As<Napi::Number>().DoubleValue();
  wrong(name, rangeOf(least, most).c_str(), fits == Fits::kOutOfRange);
  return fallback;
}

bool Fields::flag(const char* name) {
  const Napi::Value value = get(name);
  if (ok_ && !value.IsBoolean()) wrong(name, "true or false");
  return ok_ && value.As<Napi::Boolean>().Value();
}

bool Fields::flagOr(const char* name, bool fallback) {
  const Napi::Value value = get(name);
  if (!ok_ || value.IsUndefined()) return fallback;
  if (!value.IsBoolean()) wrong(name, "true or false");
  return ok_ ? value.As<Napi::Boolean>().Value() : fallback;
}

std::string Fields::text(const char* name) {
  const Napi::Value value = get(name);
  if (ok_ && !value.IsString()) wrong(name, "a string");
  return ok_ ? value.As<Napi::String>().Utf8Value() : std::string();
}

}  // namespace mr
