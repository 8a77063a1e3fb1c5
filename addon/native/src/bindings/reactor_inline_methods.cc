// Frames that run on the reactor's thread instead of in the pool.
#include "bindings/slot_method.h"

namespace mr {

Napi::Value toJs(Napi::Env env, ConnectionId id);
Napi::Value toJs(Napi::Env env, ConnectionId id) { return toBigInt(env, id); }

namespace inline_methods {

// inlineBox() -> { words, rows, samples, bytes }: see reactor/inline_box.h. It outlives this environment.
Napi::Value inlineBox(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  const Napi::Env env = info.Env();
  InlineBox& box = driver.reactor()->inlineBox();
  const auto shared = [&](void* data, size_t size) { return sharedMemory(env, driver.reactor(), data, size); };
  static_assert(offsetof(InlineBox, full) == 4 * sizeof(uint32_t));
  Napi::Object result = Napi::Object::New(env);
  result.Set("words", Napi::Uint32Array::New(env, 5, shared(&box.running, 5 * sizeof(uint32_t)), 0));
  result.Set("rows",
             Napi::Uint32Array::New(env, sizeof(box.rows) / sizeof(uint32_t), shared(box.rows.data(), sizeof(box.rows)), 0));
  result.Set("samples", Napi::Uint32Array::New(env, sizeof(box.sampleRows) / sizeof(uint32_t),
                                               shared(box.sampleRows.data(), sizeof(box.sampleRows)), 0));
  result.Set("bytes", Napi::Uint8Array::New(env, InlineBox::kBytes, shared(box.bytes.data(), InlineBox::kBytes), 0));
  return result;
}

Napi::Value settleInline(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.drives()) return info.Env().Undefined();  // a promise may settle after close()
  driver.reactor()->settleInline();
  return info.Env().Undefined();
}

// replyInline(slot, generation, sequence, flags, data, frameBytes, credit, stream)
Napi::Value replyInline(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.drives()) return info.Env().Undefined();
  driver.reactor()->replyInline(
      {u32(info, 0), u32(info, 1), u32(info, 2), static_cast<uint16_t>(u32(info, 3)), u32(info, 5), u32(info, 6), u32(info, 7)},
      bytesOf(info[4]));
  return info.Env().Undefined();
}

// place(slot, generation, frame) -> InlineBox::placed() of a frame that is to be run here at once, or -1
NumberOr place(Reactor& reactor, uint32_t slot, uint32_t generation, std::span<const uint8_t> frame) {
  uint32_t sequence = 0, key = 0;
  if (reactor.place(slot, generation, frame, &sequence, &key)) return {};
  return {InlineBox::placed(sequence, key)};
}

// connectionId(slot, generation) -> bigint, or undefined
std::optional<ConnectionId> connectionId(Reactor& reactor, uint32_t slot, uint32_t generation) {
  ConnectionId id;
  return reactor.idOf(slot, generation, &id) ? std::optional(id) : std::nullopt;
}

Napi::Value watchGone(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.drives()) driver.reactor()->watchGone(info[0].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

Napi::Value isGone(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  const bool gone = !driver.drives() || driver.reactor()->exchange().isGone(toConnectionId(info[0]));
  return Napi::Boolean::New(info.Env(), gone);
}

// judgeOverrun(key, wasOne)
Napi::Value judgeOverrun(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (driver.drives() && CostTable::isKey(u32(info, 0))) {
    driver.reactor()->judgeOverrun(u32(info, 0), info[1].As<Napi::Boolean>().Value());
  }
  return info.Env().Undefined();
}

}  // namespace inline_methods

void addInlineMethods(ReactorDriver::Methods& methods) {
  using namespace inline_methods;
  const auto add = [&](auto method) { methods.push_back(method); };
  add(ReactorDriver::method<inlineBox>("inlineBox"));
  add(ReactorDriver::method<settleInline>("settleInline"));
  add(ReactorDriver::method<replyInline, kU32, kU32, kU32, kU32, kBytes, kU32, kU32, kU32>("replyInline"));
  add(slotMethod<place, kTimed>("place"));
  // -> true: it has no room for a reply, and comes again
  add(slotMethod<&Reactor::setAsideHere>("setAside"));
  add(slotMethod<connectionId, kLate>("connectionId"));
  add(ReactorDriver::method<watchGone, kBool>("watchGone"));
  add(ReactorDriver::method<isGone, kId>("isGone"));
  add(ReactorDriver::method<judgeOverrun, kU32, kBool>("judgeOverrun"));
}

}  // namespace mr
