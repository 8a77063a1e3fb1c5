// The types of every native function's arguments. They stand beside the function's name at its export, and are checked
// before the function begins: nothing that JS gives reaches native code by another way. See docs/ownership.md.
#pragma once

#include <napi.h>

#include <array>
#include <cstdint>
#include <span>
#include <string>

namespace mr {

struct Arg {
  enum class Kind : uint8_t {
    kNumber,  // a whole number from `least` to `most`
    kBoolean,
    kText,    // a string
    kBytes,   // a string, or a Uint8Array that has its memory
    kId,      // a bigint of 64 bits
    kObject,  // its fields are read by Fields
    kFunction,
    kNumbers,  // an array of numbers from `least` to `most`
    kWords,    // a Uint32Array of at least `least` words, that has its memory
  };
  Kind kind;
  int64_t least = 0;
  int64_t most = 0;
  bool optional = false;  // may be undefined
};

inline constexpr int64_t kMostSafe = (int64_t{1} << 53) - 1;
inline constexpr Arg kU32{Arg::Kind::kNumber, 0, UINT32_MAX};
constexpr Arg numberUpTo(int64_t most) { return {Arg::Kind::kNumber, 0, most}; }
constexpr Arg numberFrom(int64_t least, int64_t most) { return {Arg::Kind::kNumber, least, most}; }
constexpr Arg numbersFrom(int64_t least, int64_t most) { return {Arg::Kind::kNumbers, least, most}; }
constexpr Arg words(int64_t least) { return {Arg::Kind::kWords, least}; }
constexpr Arg maybe(Arg arg) {
  arg.optional = true;
  return arg;
}
inline constexpr Arg kBool{Arg::Kind::kBoolean};
inline constexpr Arg kText{Arg::Kind::kText};
inline constexpr Arg kBytes{Arg::Kind::kBytes};
inline constexpr Arg kId{Arg::Kind::kId};
inline constexpr Arg kObject{Arg::Kind::kObject};
inline constexpr Arg kFunction{Arg::Kind::kFunction};
// Of a descriptor. -1: none.
inline constexpr Arg kDescriptor{Arg::Kind::kNumber, -1, INT32_MAX};

// False: ERR_MR_OPTION_TYPE or ERR_MR_OPTION_RANGE has been thrown, which names the function and the argument.
bool checkArguments(const Napi::CallbackInfo& info, const char* function, std::span<const Arg> arguments);

template <Arg... kArguments>
bool checkArguments(const Napi::CallbackInfo& info, const char* function) {
  static constexpr std::array<Arg, sizeof...(kArguments)> arguments{kArguments...};
  return checkArguments(info, function, arguments);
}

// A function of the module. Its name is for calls and for its errors.
template <auto kCallee, Arg... kArguments>
Napi::Value checkedFunction(const Napi::CallbackInfo& info) {
  if (!checkArguments<kArguments...>(info, static_cast<const char*>(info.Data()))) return info.Env().Undefined();
  return kCallee(info);
}
template <auto kCallee, Arg... kArguments>
void exportFunction(Napi::Env env, Napi::Object exports, const char* name) {
  exports.Set(name, Napi::Function::New<&checkedFunction<kCallee, kArguments...>>(env, name, const_cast<char*>(name)));
}

// In a class of the module: method<&Class::name, kU32, kBytes>("name").
#define MR_CHECKED_METHODS(Class)                                                                                   \
  template <auto kMethod, Arg... kArguments>                                                                        \
  Napi::Value checked(const Napi::CallbackInfo& info) {                                                             \
    if (!checkArguments<kArguments...>(info, static_cast<const char*>(info.Data()))) return info.Env().Undefined(); \
    return (this->*kMethod)(info);                                                                                  \
  }                                                                                                                 \
  template <auto kMethod, Arg... kArguments>                                                                        \
  static Napi::ClassPropertyDescriptor<Class> method(const char* name) {                                            \
    return InstanceMethod<&Class::checked<kMethod, kArguments...>>(name, napi_default, const_cast<char*>(name));    \
  }

// The fields of an object, read once, before anything is done with them: a getter may throw, and may call anything of this
// module. The first field that is wrong is thrown; the other fields are useless then.
class Fields {
 public:
  Fields(Napi::Env env, const char* function, const Napi::Value& object);

  bool ok() const { return ok_; }
  bool has(const char* name);  // it is not undefined
  double number(const char* name, double least, double most);
  double numberOr(const char* name, double fallback, double least, double most);
  bool flag(const char* name);
  bool flagOr(const char* name, bool fallback);
  std::string text(const char* name);
  Napi::Value get(const char* name);
  // For fields that are read in another way. Throws.
  void wrong(const char* name, const char* expected, bool isRange = false);

 private:
  const Napi::Env env_;
  const char* const function_;
  Napi::Object object_;
  bool ok_ = true;
};

}  // namespace mr
