// Every table that C++ and TypeScript both have, by its name in addon/src/wire.ts: numbers of enums, bits, columns of rows,
// limits. TypeScript keeps constants of its own, because a hot path must not look them up; a test compares all of them with
// these. A table that JavaScript needs is added here and there, under one name, and nowhere else.
#include <cstddef>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "codec/http1.h"
#include "codec/websocket.h"
#include "exchange/box_rows.h"
#include "exchange/call.h"
#include "exchange/task_row.h"
#include "net/fd_passing.h"
#include "reactor/event_columns.h"
#include "reactor/inline_box.h"
#include "reactor/reactor.h"
#include "reactor/subscription.h"
#include "reactor/write_box.h"

namespace mr {

namespace {

// Numbers by name, and lists of names whose numbers are their places.
class Tables {
 public:
  explicit Tables(Napi::Env env) : env_(env), all_(Napi::Object::New(env)) {}

  using Entry = std::pair<const char*, double>;
  void numbers(const char* name, std::initializer_list<Entry> entries) { all_.Set(name, objectOf(entries)); }
  void number(const char* name, double value) { all_.Set(name, Napi::Number::New(env_, value)); }
  // `entries`: in the order of their numbers, which has no gap.
  void names(const char* name, std::initializer_list<Entry> entries) {
    Napi::Array list = Napi::Array::New(env_);
    for (const auto& [text, value] : entries) list.Set(static_cast<uint32_t>(value), text);
    all_.Set(name, list);
  }
  template <typename Names>
  void namesOf(const char* name, const Names& texts) {
    Napi::Array list = Napi::Array::New(env_);
    for (const std::string_view text : texts) list.Set(list.Length(), std::string(text));
    all_.Set(name, list);
  }
  void events() {
    Napi::Object numbers = Napi::Object::New(env_), columns = Napi::Object::New(env_);
    for (const EventColumns& event : kEventColumns) {
      numbers.Set(event.name, static_cast<double>(event.event));
      Napi::Object of = Napi::Object::New(env_);
      for (size_t i = 0; i < event.values.size(); ++i) {
        if (event.values[i]) of.Set(event.values[i], wordOf(offsetof(EventRow, a)) + static_cast<double>(i));
      }
      columns.Set(event.name, of);
    }
    all_.Set("event", numbers);
    all_.Set("column", columns);
  }
  Napi::Object all() const { return all_; }

  static constexpr double wordOf(size_t offset) { return static_cast<double>(offset / sizeof(uint32_t)); }

 private:
  Napi::Object objectOf(std::initializer_list<Entry> entries) {
    Napi::Object object = Napi::Object::New(env_);
    for (const auto& [name, value] : entries) object.Set(name, Napi::Number::New(env_, value));
    return object;
  }

  Napi::Env env_;
  Napi::Object all_;
};

template <typename Enum>
constexpr double of(Enum value) {
  return static_cast<double>(value);
}

#define MR_WORD(Row, field) Tables::wordOf(offsetof(Row, field))
#define MR_WORDS(Row) (static_cast<double>(sizeof(Row) / sizeof(uint32_t)))

void addRows(Tables& tables) {
  tables.events();
  // Its first word: the event in the low half, the unsent bytes of its connection in the high one.
  tables.numbers("eventRow", {{"words", MR_WORDS(EventRow)},
                              {"event", MR_WORD(EventRow, event)},
                              {"slot", MR_WORD(EventRow, slot)},
                              {"generation", MR_WORD(EventRow, generation)},
                              {"waitingShift", 8.0 * offsetof(EventRow, waiting)},
                              {"waitingUnit", kWaitingUnit},
                              {"lastChance", kLastChance}});
  tables.numbers("writeRow", {{"words", MR_WORDS(WriteBox::Row)},
                              {"slot", MR_WORD(WriteBox::Row, slot)},
                              {"generation", MR_WORD(WriteBox::Row, generation)},
                              {"offset", MR_WORD(WriteBox::Row, offset)},
                              {"length", MR_WORD(WriteBox::Row, length)}});
  tables.numbers("inlineWord", {{"running", MR_WORD(InlineBox, running)},
                                {"measured", MR_WORD(InlineBox, measured)},
                                {"count", MR_WORD(InlineBox, count)},
                                {"samples", MR_WORD(InlineBox, samples)},
                                {"full", MR_WORD(InlineBox, full)}});
  tables.numbers("inlineRow", {{"words", MR_WORDS(InlineBox::Row)},
                               {"slot", MR_WORD(InlineBox::Row, slot)},
                               {"generation", MR_WORD(InlineBox::Row, generation)},
                               {"sequence", MR_WORD(InlineBox::Row, sequence)},
                               {"flags", MR_WORD(InlineBox::Row, flags)},
                               {"offset", MR_WORD(InlineBox::Row, offset)},
                               {"length", MR_WORD(InlineBox::Row, length)},
                               {"frameBytes", MR_WORD(InlineBox::Row, frameBytes)}});
  tables.numbers(
      "outWord",
      {{"count", MR_WORD(OutBox, count)}, {"samples", MR_WORD(OutBox, samples)}, {"measured", MR_WORD(OutBox, measured)}});
  tables.numbers("outRow", {{"words", MR_WORDS(OutBox::Row)},
                            {"token", MR_WORD(OutBox::Row, token)},
                            {"flags", MR_WORD(OutBox::Row, flags)},
                            {"offset", MR_WORD(OutBox::Row, offset)},
                            {"length", MR_WORD(OutBox::Row, length)}});
  tables.numbers("taskRow", {{"words", MR_WORDS(TaskRow)},
                             {"token", MR_WORD(TaskRow, token)},
                             {"key", MR_WORD(TaskRow, key)},
                             {"offset", MR_WORD(TaskRow, offset)},
                             {"length", MR_WORD(TaskRow, length)},
                             {"idLow", MR_WORD(TaskRow, idLow)},
                             {"idHigh", MR_WORD(TaskRow, idHigh)},
                             {"sequence", MR_WORD(TaskRow, sequence)},
                             {"flags", MR_WORD(TaskRow, flags)},
                             {"elsewhere", TaskRow::kElsewhere},
                             {"most", WorkerSlot::kMaxBatch}});
  tables.numbers("sampleRow", {{"words", MR_WORDS(CostSample)},
                               {"key", MR_WORD(CostSample, key)},
                               {"runs", MR_WORD(CostSample, runs)},
                               {"ns", MR_WORD(CostSample, ns)},
                               {"flags", MR_WORD(CostSample, flags)}});
}

#undef MR_WORD
#undef MR_WORDS

void addFlags(Tables& tables) {
  tables.numbers("restoreFlag", {{"hasState", kRestoreHasState},
                                 {"dataLost", kRestoreDataLost},
                                 {"ended", kRestoreEnded},
                                 {"webSocket", kRestoreWebSocket}});
  tables.number("restoreWindowShift", kRestoreWindowShift);
  tables.numbers("hookBit", {{"open", kHookOpen},
                             {"message", kHookMessage},
                             {"drain", kHookDrain},
                             {"end", kHookEnd},
                             {"timeout", kHookTimeout},
                             {"close", kHookClose},
                             {"restore", kHookRestore},
                             {"badFrame", kHookBadFrame}});
  tables.numbers("replyFlag", {{"last", Reply::kLast},
                               {"end", Reply::kEnd},
                               {"destroy", Reply::kDestroy},
                               {"error", Reply::kError},
                               {"run", Reply::kRun},
                               {"lost", Reply::kLost},
                               {"timedOut", Reply::kTimedOut},
                               {"overloaded", Reply::kOverloaded},
                               {"wasHeld", InlineBox::kWasHeld}});
  tables.numbers("frameFlag",
                 {{"run", Task::kRun}, {"refused", Task::kRefused}, {"value", Task::kValue}, {"setAside", TaskRow::kSetAside}});
  tables.number("frameAttemptShift", TaskRow::kAttemptShift);
  tables.numbers("sampleFlag", {{"asynchronous", CostSample::kAsynchronous}, {"cold", CostSample::kCold}});
  // Of a CostTable::Key, and of its neighbours in a parse row.
  tables.numbers("costKey", {{"listenerShift", CostTable::kListenerShift},
                             {"timedAlone", kTimedAlone},
                             {"permitted", kPermittedRow},
                             {"placed", InlineBox::kPlacedKeys}});
  tables.numbers("http1Info", {{"headMask", kHttp1HeadMask},
                               {"close", kHttp1Close},
                               {"http10", kHttp10},
                               {"head", kHttp1Head},
                               {"chunked", kHttp1Chunked},
                               {"contentFollows", kHttp1ContentFollows},
                               {"expects", kHttp1Expects},
                               {"upgrade", kHttp1Upgrade},
                               {"content", kHttp1Content},
                               {"lastContent", kHttp1LastContent}});
  tables.numbers(
      "webSocketInfo",
      {{"opcode", kWebSocketOpcode}, {"fin", kWebSocketFin}, {"ascii", kWebSocketAscii}, {"compressed", kWebSocketCompressed}});
}

void addKinds(Tables& tables) {
#define MR_KIND(Name, name, number, call) {#name, number},
  tables.numbers("framingKind", {MR_FRAMINGS(MR_KIND)});
#undef MR_KIND
  tables.names("lengthTypes", {{"u8", of(LengthType::kU8)},
                               {"u16be", of(LengthType::kU16Be)},
                               {"u16le", of(LengthType::kU16Le)},
                               {"u32be", of(LengthType::kU32Be)},
                               {"u32le", of(LengthType::kU32Le)},
                               {"u64be", of(LengthType::kU64Be)},
                               {"varint", of(LengthType::kVarint)}});
  tables.number("stripHeader", FramingConfig::kStripHeader);
  tables.names("runModes", {{"pool", of(Run::kPool)}, {"inline", of(Run::kInline)}, {"auto", of(Run::kAuto)}});
  tables.names("balancePolicies", {{"kernel", of(Balance::Policy::kKernel)},
                                   {"least-connections", of(Balance::Policy::kLeastConnections)},
                                   {"address", of(Balance::Policy::kAddress)},
                                   {"app", of(Balance::Policy::kApp)}});
  tables.names("slowPolicies",
               {{"close", of(SlowPolicy::kClose)}, {"drop", of(SlowPolicy::kDrop)}, {"latest", of(SlowPolicy::kLatest)}});
  tables.names("queueFullPolicies",
               {{"pause", of(QueueFull::kPause)}, {"reject", of(QueueFull::kReject)}, {"close", of(QueueFull::kClose)}});
  tables.numbers("submitHow", {{"reply", of(SubmitHow::kReply)}, {"run", of(SubmitHow::kRun)}, {"value", of(SubmitHow::kValue)}});
  tables.numbers("measured", {{"asWhole", OutBox::kAsWhole}, {"byKind", OutBox::kByKind}, {"mayBeDear", OutBox::kMayBeDear}});
  tables.numbers("passedRole", {{"listening", of(PassedSocket::Role::kListening)}, {"guard", of(PassedSocket::Role::kGuard)}});
  tables.numbers("controlKind", {{"hello", of(ControlMessage::Kind::kHello)},
                                 {"sockets", of(ControlMessage::Kind::kSockets)},
                                 {"all", of(ControlMessage::Kind::kAll)},
                                 {"ready", of(ControlMessage::Kind::kReady)},
                                 {"released", of(ControlMessage::Kind::kReleased)}});
  tables.numbers(
      "peerFamily",
      {{"unnamed", of(Peer::Family::kUnnamed)}, {"ipv4", of(Peer::Family::kInet4)}, {"ipv6", of(Peer::Family::kInet6)}});
}

void addResults(Tables& tables) {
  tables.namesOf("closeReasons", kCloseReasonNames);
  tables.names("sendOutcomes", {{"sent", of(SendOutcome::kSent)},
                                {"buffered", of(SendOutcome::kBuffered)},
                                {"gone", of(SendOutcome::kGone)},
                                {"full", of(SendOutcome::kFull)}});
  tables.numbers("callOutcome", {{"answered", of(CallOutcome::kAnswered)},
                                 {"failed", of(CallOutcome::kFailed)},
                                 {"lost", of(CallOutcome::kLost)},
                                 {"noReactor", of(CallOutcome::kNoReactor)},
                                 {"noHook", of(CallOutcome::kNoHook)}});
  tables.numbers("writeResult", {{"gone", of(Reactor::WriteResult::kGone)},
                                 {"full", of(Reactor::WriteResult::kFull)},
                                 {"belowHigh", of(Reactor::WriteResult::kBelowHigh)}});
  tables.numbers("pipeResult",
                 {{"gone", of(Reactor::Piped::kGone)}, {"busy", of(Reactor::Piped::kBusy)}, {"done", of(Reactor::Piped::kDone)}});
  tables.numbers(
      "framingResult",
      {{"gone", of(Reactor::Framed::kGone)}, {"done", of(Reactor::Framed::kDone)}, {"tooMany", of(Reactor::Framed::kTooMany)}});
  tables.numbers("subscribeResult", {{"gone", of(Reactor::Subscribed::kGone)},
                                     {"done", of(Reactor::Subscribed::kDone)},
                                     {"already", of(Reactor::Subscribed::kAlready)},
                                     {"tooMany", of(Reactor::Subscribed::kTooMany)},
                                     {"tooLong", of(Reactor::Subscribed::kTooLong)}});
}

void addLimits(Tables& tables) {
  tables.numbers("wireLimit", {{"idHomeBits", ConnectionId::kHomeBits},
                               {"idSlotBits", ConnectionId::kSlotBits},
                               {"topicBytes", static_cast<double>(Reactor::kMaxTopicBytes)},
                               {"listeners", Exchange::kMaxListeners},
                               {"overrunNs", static_cast<double>(CostTable::kOverrunNs)}});
#define MR_COUNTER_NAME(name) #name,
  tables.namesOf("reactorCounterNames", std::initializer_list<std::string_view>{MR_REACTOR_COUNTERS(MR_COUNTER_NAME)});
  tables.namesOf("workerCounterNames", std::initializer_list<std::string_view>{MR_WORKER_COUNTERS(MR_COUNTER_NAME)});
#undef MR_COUNTER_NAME
}

// wireTables() -> { table: { name: number } | [name] | number }
Napi::Value wireTables(const Napi::CallbackInfo& info) {
  Tables tables(info.Env());
  addRows(tables);
  addFlags(tables);
  addKinds(tables);
  addResults(tables);
  addLimits(tables);
  return tables.all();
}

}  // namespace

void exportWireTables(Napi::Env env, Napi::Object exports) { exportFunction<&wireTables>(env, exports, "wireTables"); }

}  // namespace mr
