// What any thread may ask of a runtime by its number: making and removing it, opening listeners, counters, and what the
// supervisor does about workers that died.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>

#include "base/allocator.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/slab_pool.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"

namespace mr {

std::shared_ptr<Runtime> runtimeOf(const Napi::CallbackInfo& info) {
  auto runtime = Registry::instance().find(u32(info, 0));
  if (!runtime) throwCoded(info.Env(), "ERR_MR_CLOSED", "this runtime has been closed");
  return runtime;
}

void removeOwnRuntime(uint32_t id) {
  if (auto runtime = Registry::instance().find(id)) runtime->dropGroups();
  Registry::instance().remove(id);
}

namespace {

// createRuntime({ reactors, workers, maxTasks, maxBytes }) -> number
Napi::Value createRuntime(const Napi::CallbackInfo& info) {
  const auto options = info[0].As<Napi::Object>();
  const auto number = [&](const char* key) { return options.Get(key).As<Napi::Number>().DoubleValue(); };
  ExchangeOptions exchange;
  exchange.reactors = static_cast<uint32_t>(number("reactors"));
  exchange.workers = static_cast<uint32_t>(number("workers"));
  exchange.maxReactors = static_cast<uint32_t>(number("maxReactors"));
  exchange.maxWorkers = static_cast<uint32_t>(number("maxWorkers"));
  exchange.queue.maxTasks = static_cast<uint32_t>(number("maxTasks"));
  exchange.queue.maxBytes = static_cast<size_t>(number("maxBytes"));
  exchange.onQueueFull = static_cast<QueueFull>(number("onQueueFull"));
  exchange.maxWaitNs = static_cast<uint64_t>(number("maxWaitMs")) * 1'000'000;
  exchange.admission.connections = static_cast<uint32_t>(number("maxConnections"));
  exchange.admission.perAddress = static_cast<uint32_t>(number("maxPerAddress"));
  exchange.admission.acceptsPerSecond = static_cast<uint32_t>(number("acceptsPerSecond"));
  exchange.maxMemoryBytes = static_cast<uint64_t>(number("maxMemoryBytes"));
  try {
    return Napi::Number::New(info.Env(), Registry::instance().add(exchange));
  } catch (const std::system_error& error) {
    throwCoded(info.Env(), "ERR_MR_SYSTEM", std::string("the kernel gives no descriptors for another reactor: ") + error.what(),
               error.code().value());
    return info.Env().Undefined();
  }
}

Napi::Value removeRuntime(const Napi::CallbackInfo& info) {
  removeOwnRuntime(u32(info, 0));
  return info.Env().Undefined();
}

Napi::Value describeGroup(Napi::Env env, Runtime& runtime, const std::shared_ptr<ListenerGroup>& group) {
  Napi::Object result = Napi::Object::New(env);
  result.Set("group", Napi::Number::New(env, runtime.addGroup(group)));
  result.Set("address", group->address().host());
  result.Set("port", Napi::Number::New(env, group->address().port()));
  result.Set("members", Napi::Number::New(env, group->members()));
  result.Set("fixed", Napi::Boolean::New(env, group->isFixed()));
  return result;
}

// `proxyFrom` of a listener: the errno of a range that is none.
int readProxyFrom(const Napi::Object& spec, ListenerOptions* options) {
  const Napi::Value from = spec.Get("proxyFrom");
  if (!from.IsArray()) return 0;
  const auto list = from.As<Napi::Array>();
  std::vector<std::string> ranges;
  for (uint32_t i = 0; i < list.Length(); ++i) ranges.push_back(list.Get(i).As<Napi::String>().Utf8Value());
  const auto set = CidrSet::parse(ranges);
  if (set.ok()) options->proxyFrom = std::make_shared<const CidrSet>(set.value);
  return set.error;
}

// openListener(runtime, { host, port, path, members, backlog, ipv6Only, shared }) -> { group, address, port, members }
// On failure: { error: 'EADDRINUSE' }, for the caller to put into words.
Napi::Value openListener(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto runtime = runtimeOf(info);
  if (!runtime) return env.Undefined();
  const auto spec = info[1].As<Napi::Object>();
  const auto failed = [&](int error) -> Napi::Value {
    Napi::Object result = Napi::Object::New(env);
    result.Set("error", uv_err_name(-error));
    return result;
  };
  const bool isPath = spec.Get("path").IsString();
  const Result<Address> address = isPath
                                      ? Address::unixPath(spec.Get("path").As<Napi::String>().Utf8Value())
                                      : Address::inet(spec.Get("host").As<Napi::String>().Utf8Value(),
                                                      static_cast<uint16_t>(spec.Get("port").As<Napi::Number>().Uint32Value()));
  if (!address.ok()) return failed(address.error);
  ListenerOptions options;
  options.members = spec.Get("members").As<Napi::Number>().Int32Value();
  options.backlog = spec.Get("backlog").As<Napi::Number>().Int32Value();
  options.ipv6Only = spec.Get("ipv6Only").As<Napi::Boolean>().Value();
  options.shared = spec.Get("shared").As<Napi::Boolean>().Value();
  if (const int error = readProxyFrom(spec, &options)) return failed(error);
  if (spec.Get("mode").IsNumber()) options.mode = spec.Get("mode").As<Napi::Number>().Uint32Value();
  const auto group = ListenerGroup::open(address.value, options);
  return group.ok() ? describeGroup(env, *runtime, group.value) : failed(group.error);
}

// adoptListener(runtime, fds, { guard, path, borrowed, members, backlog, ipv6Only, shared }) -> as openListener. On failure
// nothing is owned, and `culprit` is the one that does not fit.
Napi::Value adoptListener(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto runtime = runtimeOf(info);
  if (!runtime) return env.Undefined();
  const auto list = info[1].As<Napi::Array>();
  const auto spec = info[2].As<Napi::Object>();
  std::vector<int> sockets;
  for (uint32_t i = 0; i < list.Length(); ++i) sockets.push_back(list.Get(i).As<Napi::Number>().Int32Value());
  ListenerOptions options;
  options.members = spec.Get("members").As<Napi::Number>().Int32Value();
  options.backlog = spec.Get("backlog").As<Napi::Number>().Int32Value();
  options.ipv6Only = spec.Get("ipv6Only").As<Napi::Boolean>().Value();
  options.shared = spec.Get("shared").As<Napi::Boolean>().Value();
  (void)readProxyFrom(spec, &options);  // each range was looked at before
  size_t culprit = 0;
  const auto group = ListenerGroup::adopt(sockets, options, Fd(spec.Get("guard").As<Napi::Number>().Int32Value()),
                                          spec.Get("path").As<Napi::String>().Utf8Value(),
                                          spec.Get("borrowed").As<Napi::Boolean>().Value(), &culprit);
  if (group.ok()) return describeGroup(env, *runtime, group.value);
  Napi::Object result = Napi::Object::New(env);
  result.Set("error", uv_err_name(-group.error));
  result.Set("culprit", Napi::Number::New(env, culprit < sockets.size() ? sockets[culprit] : -1));
  return result;
}

// ownPath(runtime, group, on): whether the Unix path of the group goes with it.
Napi::Value ownPath(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (auto group = runtime ? runtime->group(u32(info, 1)) : nullptr) group->setUnlinks(info[2].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

template <size_t N>
Napi::Value numbers(Napi::Env env, const Counter* const (&counters)[N]) {
  Napi::Array array = Napi::Array::New(env, N);
  for (uint32_t i = 0; i < N; ++i) array.Set(i, Napi::Number::New(env, static_cast<double>(counters[i]->get())));
  return array;
}

Napi::Value reactorNumbers(Napi::Env env, const ReactorCounters& c) {
  return numbers(
      env, {&c.open,          &c.accepted,        &c.handedOver,      &c.acceptErrors,  &c.bytesRead,      &c.bytesWritten,
            &c.framesRead,    &c.framesSubmitted, &c.repliesWritten,  &c.repliesLate,   &c.repliesHeld,    &c.sends,
            &c.pausesByQueue, &c.pausesByPeer,    &c.turns,           &c.moved,         &c.framesShed,     &c.acceptsDelayed,
            &c.buffered,      &c.framesInline,    &c.inlineStalls,    &c.subscriptions, &c.publications,   &c.publicationsDropped,
            &c.connecting,    &c.connected,       &c.connectFailures, &c.piped,         &c.callsAfterClose});
}

Napi::Value workerNumbers(Napi::Env env, const WorkerCounters& c) {
  return numbers(env, {&c.framesStarted, &c.framesSettled, &c.framesFailed, &c.framesStolen, &c.framesCancelled, &c.framesLost,
                       &c.framesRetried, &c.busyNs, &c.framesShed});
}

// readCounters(runtime): numbers only; their names are in addon/src.
Napi::Value readCounters(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto runtime = runtimeOf(info);
  if (!runtime) return env.Undefined();
  Napi::Object result = Napi::Object::New(env);
  Napi::Array reactors = Napi::Array::New(env), closed = Napi::Array::New(env), workers = Napi::Array::New(env);
  for (uint32_t i = 0; i < runtime->reactors.size(); ++i) {
    if (!runtime->reactors[i]) break;
    const ReactorCounters& counters = runtime->reactors[i]->counters();
    reactors.Set(i, reactorNumbers(env, counters));
    Napi::Array reasons = Napi::Array::New(env, kCloseReasons);
    for (uint32_t r = 0; r < kCloseReasons; ++r)
      reasons.Set(r, Napi::Number::New(env, static_cast<double>(counters.closed[r].get())));
    closed.Set(i, reasons);
  }
  Exchange& exchange = *runtime->exchange;
  for (uint32_t i = 0; i < exchange.workerSlots(); ++i) workers.Set(i, workerNumbers(env, exchange.worker(i).counters));
  result.Set("reactors", reactors);
  result.Set("closed", closed);
  result.Set("workers", workers);
  result.Set("queueTasks", Napi::Number::New(env, exchange.queue().depth()));
  result.Set("queueFrames", Napi::Number::New(env, exchange.queue().frames()));
  result.Set("queueBytes", Napi::Number::New(env, static_cast<double>(exchange.queue().bytes())));
  const MemoryUse use = exchange.memoryUse();
  Napi::Object memory = Napi::Object::New(env);
  memory.Set("buffered", Napi::Number::New(env, static_cast<double>(use.buffered)));
  memory.Set("tasks", Napi::Number::New(env, static_cast<double>(use.tasks)));
  memory.Set("messages", Napi::Number::New(env, static_cast<double>(use.messages)));
  memory.Set("received", Napi::Number::New(env, static_cast<double>(use.received)));
  result.Set("memory", memory);
  result.Set("repliesUnrouted", Napi::Number::New(env, static_cast<double>(exchange.repliesUnrouted.load())));
  result.Set("publicationsRefused", Napi::Number::New(env, static_cast<double>(exchange.publicationsRefused.load())));
  return result;
}

// giveBackMemory(runtime): to the system, what was freed and is not wanted. The supervisor, every few seconds.
Napi::Value giveBackMemory(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  SlabPool::instance().letGo();
  if (runtime->exchange->memoryEbbed()) giveBackFreeMemory();
  return info.Env().Undefined();
}

// runningMs(runtime, worker): how long its oldest frame has been running. Any thread.
Napi::Value runningMs(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  const uint64_t ns = runtime->exchange->worker(u32(info, 1)).oldestRunningNs(monotonicNs());
  return Napi::Number::New(info.Env(), static_cast<double>(ns) / 1e6);
}

// inlineRunningMs(runtime, reactor): how long the frame that runs on it has been running, as far as these looks can tell. One
// thread looks.
Napi::Value inlineRunningMs(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  const uint64_t ns = runtime->reactors[u32(info, 1)]->inlineRunningNs(monotonicNs());
  return Napi::Number::New(info.Env(), static_cast<double>(ns) / 1e6);
}

// endForTime(runtime, reactor): its thread is about to be ended for the frame that it runs.
Napi::Value endForTime(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (runtime) runtime->reactors[u32(info, 1)]->endForTime();
  return info.Env().Undefined();
}

// reapWorker(runtime, worker, retry, timedOut) -> { requeued, retried, lost }. After the thread has ended.
Napi::Value reapWorker(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  const auto reaped = runtime->exchange->reapWorker(u32(info, 1), info[2].As<Napi::Boolean>(), info[3].As<Napi::Boolean>());
  Napi::Object result = Napi::Object::New(info.Env());
  result.Set("requeued", reaped.requeued);
  result.Set("retried", reaped.retried);
  result.Set("lost", reaped.lost);
  return result;
}

// makeReactors(runtime, count): as far as there are fewer. A new one has no thread, and is given no connections.
Napi::Value makeReactors(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  try {
    runtime->makeReactors(u32(info, 1));
  } catch (const std::system_error& error) {
    throwCoded(info.Env(), "ERR_MR_SYSTEM", std::string("the kernel gives no descriptors for another reactor: ") + error.what(),
               error.code().value());
  }
  return info.Env().Undefined();
}

Napi::Value resizeWorkers(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (runtime) runtime->exchange->resizeWorkers(u32(info, 1));
  return info.Env().Undefined();
}

// growListener(runtime, group, more) -> the number of its first new member, or the error's name.
Napi::Value growListener(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  auto group = runtime ? runtime->group(u32(info, 1)) : nullptr;
  if (!group) return info.Env().Undefined();
  const int first = group->members();
  if (const int error = group->grow(static_cast<int>(u32(info, 2)))) return Napi::String::New(info.Env(), uv_err_name(-error));
  return Napi::Number::New(info.Env(), first);
}

// keepListeners(runtime, group, count): how many of its sockets go on when the reactors of the others retire.
Napi::Value keepListeners(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (auto group = runtime ? runtime->group(u32(info, 1)) : nullptr) group->keepOnly(static_cast<int>(u32(info, 2)));
  return info.Env().Undefined();
}

// steerByCpu(runtime, group, cpus) -> nothing, or the error's name
Napi::Value steerByCpu(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  auto group = runtime ? runtime->group(u32(info, 1)) : nullptr;
  const auto list = info[2].As<Napi::Array>();
  std::vector<int> cpus;
  for (uint32_t i = 0; i < list.Length(); ++i) cpus.push_back(list.Get(i).As<Napi::Number>().Int32Value());
  const int error = group ? group->steerByCpu(cpus) : 0;
  return error == 0 ? info.Env().Undefined() : Napi::String::New(info.Env(), uv_err_name(-error)).As<Napi::Value>();
}

// allowedCpus() -> those that the calling thread may run on
Napi::Value readAllowedCpus(const Napi::CallbackInfo& info) {
  Napi::Array all = Napi::Array::New(info.Env());
  for (const int cpu : allowedCpus()) all.Set(all.Length(), Napi::Number::New(info.Env(), cpu));
  return all;
}

// pinThread(cpu): the calling thread. Nothing, or the error's name.
Napi::Value pinThread(const Napi::CallbackInfo& info) {
  const int error = pinThisThread(info[0].As<Napi::Number>().Int32Value());
  return error == 0 ? info.Env().Undefined() : Napi::String::New(info.Env(), uv_err_name(-error)).As<Napi::Value>();
}

// wakeReactor(runtime, reactor): a turn follows, if its thread turns at all.
Napi::Value wakeReactor(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (runtime) runtime->exchange->mailbox(runtime->exchange->reactorMailbox(u32(info, 1))).wake();
  return info.Env().Undefined();
}

// forwardMail(runtime, reactor): of a retired one whose thread has ended.
Napi::Value forwardMail(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (runtime) runtime->reactors[u32(info, 1)]->forwardMail();
  return info.Env().Undefined();
}

// setReactorActive(runtime, reactor, on): whether siblings hand connections to it.
Napi::Value setReactorActive(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (runtime) runtime->exchange->setActive(u32(info, 1), info[2].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

// forgetReactorThread(runtime, reactor): its driving thread has ended; the next one may attach.
Napi::Value forgetReactorThread(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (runtime) runtime->reactors[u32(info, 1)]->forgetDeadThread();
  return info.Env().Undefined();
}

// fileLimit(): how many files the process may have open.
Napi::Value fileLimit(const Napi::CallbackInfo& info) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = 1024;
  constexpr rlim_t kMost = 1u << 30;  // as good as none
  return Napi::Number::New(info.Env(), static_cast<double>(std::min(limit.rlim_cur, kMost)));
}

// newSlab(runtime, size) -> ArrayBuffer
Napi::Value slabOf(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  return newSlab(info.Env(), *runtime->exchange, static_cast<size_t>(info[1].As<Napi::Number>().DoubleValue()));
}

// setThreadNice(nice): of the calling thread alone. Any user may be nicer; nobody is asked when the kernel refuses.
Napi::Value setThreadNice(const Napi::CallbackInfo& info) {
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  return Napi::Boolean::New(info.Env(), ::setpriority(PRIO_PROCESS, thread, static_cast<int>(u32(info, 0))) == 0);
}

// isAddressRange(text): an address, or one with a prefix length.
Napi::Value isAddressRange(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), CidrRange::parse(info[0].As<Napi::String>().Utf8Value()).ok());
}

Napi::Value closeReasonNames(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < kCloseReasons; ++i) names.Set(i, std::string(kCloseReasonNames[i]));
  return names;
}

}  // namespace

void exportRuntime(Napi::Env env, Napi::Object exports) {
  exports.Set("createRuntime", Napi::Function::New(env, createRuntime));
  exports.Set("removeRuntime", Napi::Function::New(env, removeRuntime));
  exports.Set("openListener", Napi::Function::New(env, openListener));
  exports.Set("adoptListener", Napi::Function::New(env, adoptListener));
  exports.Set("ownPath", Napi::Function::New(env, ownPath));
  exports.Set("readCounters", Napi::Function::New(env, readCounters));
  exports.Set("runningMs", Napi::Function::New(env, runningMs));
  exports.Set("giveBackMemory", Napi::Function::New(env, giveBackMemory));
  exports.Set("inlineRunningMs", Napi::Function::New(env, inlineRunningMs));
  exports.Set("endForTime", Napi::Function::New(env, endForTime));
  exports.Set("reapWorker", Napi::Function::New(env, reapWorker));
  exports.Set("makeReactors", Napi::Function::New(env, makeReactors));
  exports.Set("resizeWorkers", Napi::Function::New(env, resizeWorkers));
  exports.Set("growListener", Napi::Function::New(env, growListener));
  exports.Set("keepListeners", Napi::Function::New(env, keepListeners));
  exports.Set("steerByCpu", Napi::Function::New(env, steerByCpu));
  exports.Set("allowedCpus", Napi::Function::New(env, readAllowedCpus));
  exports.Set("pinThread", Napi::Function::New(env, pinThread));
  exports.Set("wakeReactor", Napi::Function::New(env, wakeReactor));
  exports.Set("forwardMail", Napi::Function::New(env, forwardMail));
  exports.Set("setReactorActive", Napi::Function::New(env, setReactorActive));
  exports.Set("forgetReactorThread", Napi::Function::New(env, forgetReactorThread));
  exports.Set("newSlab", Napi::Function::New(env, slabOf));
  exports.Set("fileLimit", Napi::Function::New(env, fileLimit));
  exports.Set("setThreadNice", Napi::Function::New(env, setThreadNice));
  exports.Set("isAddressRange", Napi::Function::New(env, isAddressRange));
  exports.Set("closeReasonNames", Napi::Function::New(env, closeReasonNames));
}

}  // namespace mr
