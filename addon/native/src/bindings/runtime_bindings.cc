// Calls of any thread on a runtime, by its number: making and removing it, opening listeners, counters, and the
// supervisor's handling of workers that died.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include <algorithm>

#include "base/allocator.h"
#include "base/clock.h"
#include "base/cpu.h"
#include "base/slab_pool.h"
#include "bindings/arguments.h"
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

// Of the argument behind the runtime. Null after throwing.
std::shared_ptr<Reactor> reactorOf(const Napi::CallbackInfo& info, const std::shared_ptr<Runtime>& runtime) {
  if (!runtime) return nullptr;
  const uint32_t index = u32(info, 1);
  if (index < runtime->reactors.size() && runtime->reactors[index]) return runtime->reactors[index];
  throwCoded(info.Env(), "ERR_MR_NO_REACTOR", "this runtime has no reactor of this number");
  return nullptr;
}

bool hasWorker(const Napi::CallbackInfo& info, const std::shared_ptr<Runtime>& runtime) {
  if (!runtime) return false;
  if (u32(info, 1) < runtime->exchange->workerSlots()) return true;
  throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this runtime has no worker of this number");
  return false;
}

// An array whose elements have been checked. A getter may say something else now: that is -1.
std::vector<int> intsOf(const Napi::Value& value) {
  std::vector<int> all;
  const auto list = value.As<Napi::Array>();
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value one = list.Get(i);
    all.push_back(!one.IsEmpty() && one.IsNumber() ? one.As<Napi::Number>().Int32Value() : -1);
  }
  return all;
}

// createRuntime({ reactors, workers, maxTasks, maxBytes }) -> number
Napi::Value createRuntime(const Napi::CallbackInfo& info) {
  Fields fields(info.Env(), "createRuntime", info[0]);
  constexpr double kMost32 = UINT32_MAX, kMostOf = kMostSafe;
  const auto number = [&](const char* name, double least, double most) { return fields.number(name, least, most); };
  ExchangeOptions exchange;
  constexpr double kMostThreads = Exchange::kMaxMailboxes - 1 - Exchange::kMaxWorkers;
  exchange.maxReactors = static_cast<uint32_t>(number("maxReactors", 0, kMostThreads));
  exchange.maxWorkers = static_cast<uint32_t>(number("maxWorkers", 0, Exchange::kMaxWorkers));
  exchange.reactors = static_cast<uint32_t>(number("reactors", 0, exchange.maxReactors));
  exchange.workers = static_cast<uint32_t>(number("workers", 0, exchange.maxWorkers));
  exchange.queue.maxTasks = static_cast<uint32_t>(number("maxTasks", 1, kMost32));
  exchange.queue.maxBytes = static_cast<size_t>(number("maxBytes", 1, kMostOf));
  exchange.onQueueFull = static_cast<QueueFull>(number("onQueueFull", 0, static_cast<double>(QueueFull::kClose)));
  exchange.maxWaitNs = static_cast<uint64_t>(number("maxWaitMs", 0, kMost32)) * 1'000'000;
  exchange.admission.connections = static_cast<uint32_t>(number("maxConnections", 0, kMost32));
  exchange.admission.perAddress = static_cast<uint32_t>(number("maxPerAddress", 0, kMost32));
  exchange.admission.acceptsPerSecond = static_cast<uint32_t>(number("acceptsPerSecond", 0, kMost32));
  exchange.maxMemoryBytes = static_cast<uint64_t>(number("maxMemoryBytes", 0, kMostOf));
  if (!fields.ok()) return info.Env().Undefined();
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

// describe(runtime, text): the result of description(runtime) from now on, in every thread.
Napi::Value describe(const Napi::CallbackInfo& info) {
  if (const auto runtime = runtimeOf(info)) runtime->describe(std::string(textOf(info[1])));
  return info.Env().Undefined();
}

Napi::Value description(const Napi::CallbackInfo& info) {
  const auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  return Napi::String::New(info.Env(), runtime->description());
}

// activeReactors(runtime): how many run, numbered from 0.
Napi::Value activeReactors(const Napi::CallbackInfo& info) {
  const auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  uint32_t count = 0;
  while (count < runtime->reactors.size() && runtime->exchange->isActive(count)) ++count;
  return Napi::Number::New(info.Env(), count);
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
int readProxyFrom(Fields& fields, ListenerOptions* options) {
  if (!fields.has("proxyFrom")) return 0;
  const Napi::Value from = fields.get("proxyFrom");
  if (!from.IsArray()) return fields.wrong("proxyFrom", "an array of address ranges"), 0;
  const auto list = from.As<Napi::Array>();
  std::vector<std::string> ranges;
  for (uint32_t i = 0; i < list.Length(); ++i) {
    const Napi::Value range = list.Get(i);
    if (range.IsEmpty() || !range.IsString()) return fields.wrong("proxyFrom", "an array of address ranges"), 0;
    ranges.push_back(range.As<Napi::String>().Utf8Value());
  }
  const auto set = CidrSet::parse(ranges);
  if (set.ok()) options->proxyFrom = std::make_shared<const CidrSet>(set.value);
  return set.error;
}

ListenerOptions readListenerOptions(Fields& spec) {
  ListenerOptions options;
  options.members = static_cast<int>(spec.number("members", 0, Exchange::kMaxMailboxes));
  options.backlog = static_cast<int>(spec.number("backlog", 0, INT32_MAX));
  options.ipv6Only = spec.flag("ipv6Only");
  options.shared = spec.flag("shared");
  return options;
}

// openListener(runtime, { host, port, path, members, backlog, ipv6Only, shared }) -> { group, address, port, members }
// On failure: { error: 'EADDRINUSE' }, for the caller to put into words.
Napi::Value openListener(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto runtime = runtimeOf(info);
  if (!runtime) return env.Undefined();
  Fields spec(env, "openListener", info[1]);
  const auto failed = [&](int error) -> Napi::Value {
    Napi::Object result = Napi::Object::New(env);
    result.Set("error", uv_err_name(-error));
    return result;
  };
  const bool isPath = spec.has("path");
  const std::string place = spec.text(isPath ? "path" : "host");
  const auto port = isPath ? uint16_t{0} : static_cast<uint16_t>(spec.number("port", 0, UINT16_MAX));
  ListenerOptions options = readListenerOptions(spec);
  const int wrongRange = readProxyFrom(spec, &options);
  options.mode = static_cast<uint32_t>(spec.numberOr("mode", 0, 0, 07777));
  if (!spec.ok()) return env.Undefined();
  const Result<Address> address = isPath ? Address::unixPath(place) : Address::inet(place, port);
  if (!address.ok()) return failed(address.error);
  if (wrongRange != 0) return failed(wrongRange);
  const auto group = ListenerGroup::open(address.value, options);
  return group.ok() ? describeGroup(env, *runtime, group.value) : failed(group.error);
}

// adoptListener(runtime, fds, { guard, path, borrowed, members, backlog, ipv6Only, shared }) -> as openListener. On failure
// nothing is owned, and `culprit` is the one that does not fit.
Napi::Value adoptListener(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  auto runtime = runtimeOf(info);
  if (!runtime) return env.Undefined();
  const std::vector<int> sockets = intsOf(info[1]);
  Fields spec(env, "adoptListener", info[2]);
  ListenerOptions options = readListenerOptions(spec);
  (void)readProxyFrom(spec, &options);  // each range was looked at before
  const std::string path = spec.text("path");
  const bool borrowed = spec.flag("borrowed");
  const auto guardFd = static_cast<int>(spec.number("guard", -1, INT32_MAX));
  if (!spec.ok()) return env.Undefined();
  size_t culprit = 0;
  const auto group = ListenerGroup::adopt(sockets, options, Fd(guardFd), path, borrowed, &culprit);
  if (group.ok()) return describeGroup(env, *runtime, group.value);
  Napi::Object result = Napi::Object::New(env);
  result.Set("error", uv_err_name(-group.error));
  result.Set("culprit", Napi::Number::New(env, culprit < sockets.size() ? sockets[culprit] : -1));
  return result;
}

// closeListener(runtime, group): no reactor is going to take it.
Napi::Value closeListener(const Napi::CallbackInfo& info) {
  if (auto runtime = runtimeOf(info)) runtime->dropGroup(u32(info, 1));
  return info.Env().Undefined();
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

#define MR_COUNTER_OF(name) &c.name,
Napi::Value reactorNumbers(Napi::Env env, const ReactorCounters& c) { return numbers(env, {MR_REACTOR_COUNTERS(MR_COUNTER_OF)}); }

Napi::Value workerNumbers(Napi::Env env, const WorkerCounters& c) { return numbers(env, {MR_WORKER_COUNTERS(MR_COUNTER_OF)}); }
#undef MR_COUNTER_OF

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

// giveBackMemory(runtime, round): returns freed, unused memory to the system. The supervisor, some times in a round of a few
// seconds, the last of which says so.
Napi::Value giveBackMemory(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  SlabPool::instance().letGo();
  Exchange& exchange = *runtime->exchange;
  const bool isRound = info[1].As<Napi::Boolean>();
  const bool ebbed = isRound && exchange.memoryEbbed();
  const bool isLeft = isRound && runtime->leftover.isWorthGivingBack(residentBytes(), runtime->bytesRead());
  if (ebbed || isLeft || (exchange.memoryIsTight() && runtime->trims.isDue(monotonicNs()))) {
    const uint64_t beganNs = threadCpuNs();
    giveBackFreeMemory();
    runtime->trims.took(threadCpuNs() - beganNs, monotonicNs());
    if (isLeft) runtime->leftover.gaveBack(residentBytes());
  }
  if (isRound) exchange.collectWhenIdle();
  return info.Env().Undefined();
}

// collectGarbage(): the heap of the calling thread, now.
Napi::Value collectGarbage(const Napi::CallbackInfo& info) {
  collectNow(info.Env());
  return info.Env().Undefined();
}

// runningMs(runtime, worker): how long its oldest frame has been running. Any thread.
Napi::Value runningMs(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!hasWorker(info, runtime)) return info.Env().Undefined();
  const uint64_t ns = runtime->exchange->worker(u32(info, 1)).oldestRunningNs(monotonicNs());
  return Napi::Number::New(info.Env(), static_cast<double>(ns) / 1e6);
}

// workWaits(runtime): whether a worker that looked now would find something. Any thread.
Napi::Value workWaits(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!runtime) return info.Env().Undefined();
  return Napi::Boolean::New(info.Env(), runtime->exchange->hasWork());
}

// inlineRunningMs(runtime, reactor): how long the frame that runs on it has been running, as far as these looks can tell. One
// thread looks.
Napi::Value inlineRunningMs(const Napi::CallbackInfo& info) {
  const auto reactor = reactorOf(info, runtimeOf(info));
  if (!reactor) return info.Env().Undefined();
  const uint64_t ns = reactor->inlineRunningNs(monotonicNs());
  return Napi::Number::New(info.Env(), static_cast<double>(ns) / 1e6);
}

// endForTime(runtime, reactor): its thread is about to be ended for the frame that it runs.
Napi::Value endForTime(const Napi::CallbackInfo& info) {
  if (const auto reactor = reactorOf(info, runtimeOf(info))) reactor->endForTime();
  return info.Env().Undefined();
}

// reapWorker(runtime, worker, retry, timedOut) -> { requeued, retried, lost }. After the thread has ended.
Napi::Value reapWorker(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  if (!hasWorker(info, runtime)) return info.Env().Undefined();
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
  if (u32(info, 1) > runtime->reactors.size()) {
    throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this runtime has no room for so many reactors");
    return info.Env().Undefined();
  }
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
  if (!runtime) return info.Env().Undefined();
  if (u32(info, 1) > runtime->exchange->options().maxWorkers) {
    throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "this runtime has no room for so many workers");
  } else {
    runtime->exchange->resizeWorkers(u32(info, 1));
  }
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
  const int error = group ? group->steerByCpu(intsOf(info[2])) : 0;
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
  const auto reactor = reactorOf(info, runtimeOf(info));
  if (reactor) reactor->exchange().mailbox(reactor->exchange().reactorMailbox(reactor->index())).wake();
  return info.Env().Undefined();
}

// forwardMail(runtime, reactor): of a retired one whose thread has ended.
Napi::Value forwardMail(const Napi::CallbackInfo& info) {
  const auto reactor = reactorOf(info, runtimeOf(info));
  if (reactor && !reactor->attached()) reactor->forwardMail();
  return info.Env().Undefined();
}

// setReactorActive(runtime, reactor, on): whether siblings hand connections to it.
Napi::Value setReactorActive(const Napi::CallbackInfo& info) {
  const auto reactor = reactorOf(info, runtimeOf(info));
  if (reactor) reactor->exchange().setActive(reactor->index(), info[2].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

// forgetReactorThread(runtime, reactor): its driving thread has ended; the next one may attach.
Napi::Value forgetReactorThread(const Napi::CallbackInfo& info) {
  if (const auto reactor = reactorOf(info, runtimeOf(info))) reactor->forgetDeadThread();
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

// setThreadNice(nice): of the calling thread alone. Any user may be nicer; a refusal of the kernel is final.
Napi::Value setThreadNice(const Napi::CallbackInfo& info) {
  const auto thread = static_cast<id_t>(::syscall(SYS_gettid));
  return Napi::Boolean::New(info.Env(), ::setpriority(PRIO_PROCESS, thread, info[0].As<Napi::Number>().Int32Value()) == 0);
}

// isAddressRange(text): an address, or one with a prefix length.
Napi::Value isAddressRange(const Napi::CallbackInfo& info) {
  return Napi::Boolean::New(info.Env(), CidrRange::parse(info[0].As<Napi::String>().Utf8Value()).ok());
}

}  // namespace

void exportRuntime(Napi::Env env, Napi::Object exports) {
  exportFunction<&createRuntime, kObject>(env, exports, "createRuntime");
  exportFunction<&removeRuntime, kU32>(env, exports, "removeRuntime");
  exportFunction<&describe, kU32, kText>(env, exports, "describe");
  exportFunction<&activeReactors, kU32>(env, exports, "activeReactors");
  exportFunction<&description, kU32>(env, exports, "description");
  exportFunction<&openListener, kU32, kObject>(env, exports, "openListener");
  exportFunction<&adoptListener, kU32, numbersFrom(-1, INT32_MAX), kObject>(env, exports, "adoptListener");
  exportFunction<&closeListener, kU32, kU32>(env, exports, "closeListener");
  exportFunction<&ownPath, kU32, kU32, kBool>(env, exports, "ownPath");
  exportFunction<&readCounters, kU32>(env, exports, "readCounters");
  exportFunction<&runningMs, kU32, kU32>(env, exports, "runningMs");
  exportFunction<&workWaits, kU32>(env, exports, "workWaits");
  exportFunction<&giveBackMemory, kU32, kBool>(env, exports, "giveBackMemory");
  exportFunction<&collectGarbage>(env, exports, "collectGarbage");
  exportFunction<&inlineRunningMs, kU32, kU32>(env, exports, "inlineRunningMs");
  exportFunction<&endForTime, kU32, kU32>(env, exports, "endForTime");
  exportFunction<&reapWorker, kU32, kU32, kBool, kBool>(env, exports, "reapWorker");
  exportFunction<&makeReactors, kU32, kU32>(env, exports, "makeReactors");
  exportFunction<&resizeWorkers, kU32, kU32>(env, exports, "resizeWorkers");
  exportFunction<&growListener, kU32, kU32, numberUpTo(Exchange::kMaxMailboxes)>(env, exports, "growListener");
  exportFunction<&keepListeners, kU32, kU32, numberUpTo(Exchange::kMaxMailboxes)>(env, exports, "keepListeners");
  exportFunction<&steerByCpu, kU32, kU32, numbersFrom(0, INT32_MAX)>(env, exports, "steerByCpu");
  exportFunction<&readAllowedCpus>(env, exports, "allowedCpus");
  exportFunction<&pinThread, numberUpTo(INT32_MAX)>(env, exports, "pinThread");
  exportFunction<&wakeReactor, kU32, kU32>(env, exports, "wakeReactor");
  exportFunction<&forwardMail, kU32, kU32>(env, exports, "forwardMail");
  exportFunction<&setReactorActive, kU32, kU32, kBool>(env, exports, "setReactorActive");
  exportFunction<&forgetReactorThread, kU32, kU32>(env, exports, "forgetReactorThread");
  exportFunction<&slabOf, kU32, numberFrom(1, int64_t{1} << 33)>(env, exports, "newSlab");
  exportFunction<&fileLimit>(env, exports, "fileLimit");
  exportFunction<&setThreadNice, numberFrom(-20, 19)>(env, exports, "setThreadNice");
  exportFunction<&isAddressRange, kText>(env, exports, "isAddressRange");
}

}  // namespace mr
