// Connections of a reactor: writing, ending, pausing, framing, the order of replies, moving, and the facts about one.
#include "bindings/slot_method.h"

namespace mr {

Napi::Value toJs(Napi::Env env, const Reactor::Details& details);
Napi::Value toJs(Napi::Env env, const Peer& peer);
Napi::Value toJs(Napi::Env env, const Address& address);

// [remoteAddress, remotePort, family, bytesRead, bytesWritten, waiting, inFlight]
Napi::Value toJs(Napi::Env env, const Reactor::Details& details) {
  Napi::Array row = Napi::Array::New(env, 7);
  row.Set(0u, hostOf(details.peer));
  row.Set(1u, Napi::Number::New(env, details.peer.port));
  row.Set(2u, Napi::Number::New(env, static_cast<int>(details.peer.family)));
  row.Set(3u, Napi::Number::New(env, static_cast<double>(details.bytesRead)));
  row.Set(4u, Napi::Number::New(env, static_cast<double>(details.bytesWritten)));
  row.Set(5u, Napi::Number::New(env, static_cast<double>(details.waiting)));
  row.Set(6u, Napi::Number::New(env, details.inFlight));
  return row;
}

// [remoteAddress, remotePort, family]
Napi::Value toJs(Napi::Env env, const Peer& peer) {
  Napi::Array row = Napi::Array::New(env, 3);
  row.Set(0u, hostOf(peer));
  row.Set(1u, Napi::Number::New(env, peer.port));
  row.Set(2u, Napi::Number::New(env, static_cast<int>(peer.family)));
  return row;
}

// [address, port]
Napi::Value toJs(Napi::Env env, const Address& address) {
  Napi::Array row = Napi::Array::New(env, 2);
  row.Set(0u, address.host());
  row.Set(1u, Napi::Number::New(env, address.port()));
  return row;
}

namespace connection_methods {

using Bytes = std::span<const uint8_t>;

// write(slot, generation, data, inOrder) -> 0 gone, 1 above the high water mark, 2 below
Reactor::WriteResult write(Reactor& reactor, uint32_t slot, uint32_t generation, Bytes bytes, Reactor::Place place) {
  return reactor.write(slot, generation, bytes, place);
}

// writeStream(slot, generation, data) -> as write. Of the stream that owns the connection.
Reactor::WriteResult writeStream(Reactor& reactor, uint32_t slot, uint32_t generation, Bytes bytes) {
  return reactor.write(slot, generation, bytes, Reactor::Place::kInOrder, Writer::kStream);
}

// setFraming(slot, generation, framing, rawEnd) -> 0 gone, 1 done, 2 too many different ones
Napi::Value setFraming(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  const auto framing = toFraming(info.Env(), "setFraming", info[2]);
  if (!framing || !driver.ready(info)) return info.Env().Undefined();
  return toJs(info.Env(), driver.reactor()->setFraming(u32(info, 0), u32(info, 1), *framing, u32(info, 3)));
}

// fail(slot, generation, reason, place): place -1 behind all
Napi::Value fail(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.drives()) return toJs(info.Env(), false);  // a promise may reject after close()
  driver.reactor()->emptyWriteBox();
  const double place = info[3].As<Napi::Number>().DoubleValue();
  const uint64_t behind = place < 0 ? Reactor::kBehindAll : static_cast<uint64_t>(place);
  return toJs(info.Env(), driver.reactor()->fail(u32(info, 0), u32(info, 1), behind, static_cast<CloseReason>(u32(info, 2))));
}

// pipe(slotA, generationA, rawEndA, slotB, generationB, rawEndB) -> 0 gone, 1 busy, 2 done
Napi::Value pipe(ReactorDriver& driver, const Napi::CallbackInfo& info) {
  if (!driver.ready(info)) return info.Env().Undefined();
  const auto piped = driver.reactor()->pipe(u32(info, 0), u32(info, 1), u32(info, 2), u32(info, 3), u32(info, 4), u32(info, 5));
  driver.armTimer();
  return toJs(info.Env(), piped);
}

// submit(slot, generation, frame, how) -> the sequence or the run's number, -1 when the connection is gone, -2 when a run found
// the queue full
NumberOr submit(Reactor& reactor, uint32_t slot, uint32_t generation, Bytes frame, SubmitHow how) {
  const auto flags = how == SubmitHow::kReply ? Task::kNone
                     : how == SubmitHow::kRun ? Task::kRun
                                              : static_cast<Task::Flags>(Task::kRun | Task::kValue);
  uint64_t sequence = 0;
  const Reactor::Submitted done = reactor.submit(slot, generation, frame, flags, &sequence);
  if (done == Reactor::Submitted::kDone) return {static_cast<double>(sequence)};
  return {done == Reactor::Submitted::kFull ? -2.0 : -1.0};
}

// defer(slot, generation) -> the sequence of the place, or -1
NumberOr defer(Reactor& reactor, uint32_t slot, uint32_t generation) {
  uint64_t sequence = 0;
  if (!reactor.defer(slot, generation, &sequence)) return {};
  return {static_cast<double>(sequence)};
}

// settleDeferred(slot, generation, sequence, data, flags) -> as write. An answer may come after close().
Reactor::WriteResult settleDeferred(Reactor& reactor, uint32_t slot, uint32_t generation, uint64_t sequence, Bytes bytes,
                                    uint32_t flags) {
  return reactor.settleDeferred(slot, generation, sequence, bytes, static_cast<uint16_t>(flags & Reply::kOfHook));
}

// hold(slot, generation, on) -> the place in the order that a frame would have now, -1 when the connection is gone. A promise may
// settle after close().
NumberOr hold(Reactor& reactor, uint32_t slot, uint32_t generation, bool on) {
  const uint64_t place = reactor.hold(slot, generation, on);
  if (place == Reactor::kNoPlace) return {};
  return {static_cast<double>(place)};
}

// moveNow(slot, generation, state | undefined)
bool moveNow(Reactor& reactor, uint32_t slot, uint32_t generation, std::optional<Bytes> state) {
  return reactor.moveNow(slot, generation, state.value_or(Bytes()), state.has_value());
}

std::optional<Reactor::Details> details(Reactor& reactor, uint32_t slot, uint32_t generation) {
  Reactor::Details details;
  return reactor.details(slot, generation, &details) ? std::optional(details) : std::nullopt;
}

std::optional<Peer> peer(Reactor& reactor, uint32_t slot, uint32_t generation) {
  Peer peer;
  return reactor.findPeer(slot, generation, &peer) ? std::optional(peer) : std::nullopt;
}

std::optional<Address> localAddress(Reactor& reactor, uint32_t slot, uint32_t generation) {
  const auto address = reactor.localAddress(slot, generation);
  return address.ok() ? std::optional(address.value) : std::nullopt;
}

}  // namespace connection_methods

void addConnectionMethods(ReactorDriver::Methods& methods) {
  using namespace connection_methods;
  const auto add = [&](auto method) { methods.push_back(method); };
  constexpr Arg kReason = FromJs<CloseReason>::kArg;
  add(slotMethod<write>("write"));
  add(slotMethod<writeStream>("writeStream"));
  add(slotMethod<&Reactor::end>("end"));
  add(slotMethod<&Reactor::destroy>("destroy"));
  add(slotMethod<&Reactor::resetOnClose>("resetOnClose"));
  add(ReactorDriver::method<fail, kU32, kU32, kReason, numberFrom(-1, kMostSafe)>("fail"));
  add(slotMethod<&Reactor::pause>("pause"));
  add(slotMethod<&Reactor::stopBehind>("stopBehind"));
  add(slotMethod<&Reactor::resume>("resume"));
  add(slotMethod<&Reactor::consumed>("consumed"));
  add(slotMethod<&Reactor::handBack>("handBack"));
  add(ReactorDriver::method<setFraming, kU32, kU32, kObject, kU32>("setFraming"));
  add(slotMethod<&Reactor::setTimeoutMs, kTimed>("setTimeoutMs"));
  add(slotMethod<&Reactor::setNoDelay>("setNoDelay"));
  add(slotMethod<&Reactor::setKeepAlive>("setKeepAlive"));
  add(slotMethod<submit, kTimed>("submit"));
  add(slotMethod<defer>("defer"));
  add(slotMethod<settleDeferred, kLateInOrder>("settleDeferred"));
  add(slotMethod<&Reactor::keepState>("keepState"));
  add(slotMethod<&Reactor::setHasData, kLate>("setHasData"));
  add(slotMethod<hold, kLate>("hold"));
  add(slotMethod<&Reactor::moveTo>("moveTo"));
  add(slotMethod<moveNow>("moveNow"));
  add(slotMethod<&Reactor::assign>("assign"));
  add(ReactorDriver::method<pipe, kU32, kU32, kU32, kU32, kU32, kU32>("pipe"));
  add(slotMethod<&Reactor::staysHere>("staysHere"));
  add(slotMethod<&Reactor::stream>("stream"));
  add(slotMethod<&Reactor::finish>("finish"));
  add(slotMethod<details>("details"));
  add(slotMethod<peer>("peer"));
  add(slotMethod<localAddress>("localAddress"));
}

}  // namespace mr
