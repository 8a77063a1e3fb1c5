// Methods of a connection, which JavaScript names by slot and generation:
//
//   slotMethod<&Reactor::pause>("pause")
//
// The types of the parameters define the arguments of JavaScript, their decoding, and the result. A callee is a method of
// Reactor, or a function whose first parameter is a Reactor&; slot and generation follow.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>

#include "bindings/reactor_driver.h"

namespace mr {

// How a method may be called.
struct Use {
  bool late = false;   // after close() as well: it answers as for a connection that has closed. Others throw
  bool writes = true;  // behind the writes of hooks: the write box is emptied first
  bool timer = false;  // it may change the reactor's next deadline
};
inline constexpr Use kUse{}, kTimed{.timer = true}, kLate{.late = true, .writes = false}, kLateInOrder{.late = true};

// ---------------------------------------------------------------- from JavaScript

template <typename T>
struct FromJs;
template <>
struct FromJs<uint32_t> {
  static constexpr Arg kArg = kU32;
  static uint32_t get(const Napi::Value& value) { return value.As<Napi::Number>().Uint32Value(); }
};
template <>
struct FromJs<uint64_t> {
  static constexpr Arg kArg = numberUpTo(kMostSafe);
  static uint64_t get(const Napi::Value& value) { return static_cast<uint64_t>(value.As<Napi::Number>().DoubleValue()); }
};
template <>
struct FromJs<bool> {
  static constexpr Arg kArg = kBool;
  static bool get(const Napi::Value& value) { return value.As<Napi::Boolean>().Value(); }
};
template <>
struct FromJs<std::span<const uint8_t>> {
  static constexpr Arg kArg = kBytes;
  static std::span<const uint8_t> get(const Napi::Value& value) { return bytesOf(value); }
};
template <>
struct FromJs<std::optional<std::span<const uint8_t>>> {
  static constexpr Arg kArg = maybe(kBytes);
  static std::optional<std::span<const uint8_t>> get(const Napi::Value& value) {
    return value.IsUndefined() ? std::nullopt : std::optional(bytesOf(value));
  }
};
template <>
struct FromJs<std::string_view> {
  static constexpr Arg kArg = kText;
  static std::string_view get(const Napi::Value& value) { return textOf(value); }
};
template <>
struct FromJs<CloseReason> {
  static constexpr Arg kArg = numberUpTo(kCloseReasons - 1);
  static CloseReason get(const Napi::Value& value) { return static_cast<CloseReason>(FromJs<uint32_t>::get(value)); }
};
template <>
struct FromJs<SlowPolicy> {
  static constexpr Arg kArg = numberUpTo(static_cast<int64_t>(SlowPolicy::kLatest));
  static SlowPolicy get(const Napi::Value& value) { return static_cast<SlowPolicy>(FromJs<uint32_t>::get(value)); }
};
template <>
struct FromJs<SubmitHow> {
  static constexpr Arg kArg = numberUpTo(static_cast<int64_t>(SubmitHow::kValue));
  static SubmitHow get(const Napi::Value& value) { return static_cast<SubmitHow>(FromJs<uint32_t>::get(value)); }
};
// True: inside of a message hook.
template <>
struct FromJs<Reactor::Place> {
  static constexpr Arg kArg = kBool;
  static Reactor::Place get(const Napi::Value& value) {
    return FromJs<bool>::get(value) ? Reactor::Place::kInOrder : Reactor::Place::kBetween;
  }
};

// ---------------------------------------------------------------- to JavaScript

// A number, or less than 0 where there is none.
struct NumberOr {
  double value = -1;
};

inline Napi::Value toJs(Napi::Env env, bool value) { return Napi::Boolean::New(env, value); }
inline Napi::Value toJs(Napi::Env env, NumberOr number) { return Napi::Number::New(env, number.value); }
template <typename E>
requires std::is_enum_v<E> Napi::Value toJs(Napi::Env env, E value) {
  return Napi::Number::New(env, static_cast<uint32_t>(value));
}
template <typename T>
Napi::Value toJs(Napi::Env env, const std::optional<T>& value) {
  return value ? toJs(env, *value) : env.Undefined();
}

// ---------------------------------------------------------------- the call

template <typename Callee>
struct SlotCall;

template <typename R, typename... P>
struct SlotCall<R (*)(Reactor&, uint32_t, uint32_t, P...)> {
  template <auto kCallee, Use kHow>
  static Napi::Value call(ReactorDriver& driver, const Napi::CallbackInfo& info) {
    if constexpr (kHow.late) {
      if (!driver.drives()) return toJs(info.Env(), R{});
      if constexpr (kHow.writes) driver.reactor()->emptyWriteBox();
    } else {
      if (!driver.ready(info)) return info.Env().Undefined();
    }
    return run<kCallee, kHow>(driver, info, std::index_sequence_for<P...>());
  }
  template <auto kCallee, Use kHow>
  static Napi::ClassPropertyDescriptor<ReactorDriver> method(const char* name) {
    return ReactorDriver::method<&SlotCall::call<kCallee, kHow>, kU32, kU32, FromJs<P>::kArg...>(name);
  }

 private:
  template <auto kCallee, Use kHow, size_t... I>
  static Napi::Value run(ReactorDriver& driver, const Napi::CallbackInfo& info, std::index_sequence<I...>) {
    const R result = std::invoke(kCallee, *driver.reactor(), u32(info, 0), u32(info, 1), FromJs<P>::get(info[2 + I])...);
    if constexpr (kHow.timer) driver.armTimer();
    return toJs(info.Env(), result);
  }
};
template <typename R, typename... P>
struct SlotCall<R (Reactor::*)(uint32_t, uint32_t, P...)> : SlotCall<R (*)(Reactor&, uint32_t, uint32_t, P...)> {};

template <auto kCallee, Use kHow = kUse>
Napi::ClassPropertyDescriptor<ReactorDriver> slotMethod(const char* name) {
  return SlotCall<decltype(kCallee)>::template method<kCallee, kHow>(name);
}

}  // namespace mr
