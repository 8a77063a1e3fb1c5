// What a reactor tells JavaScript, a turn at a time: rows of eight 32-bit words, and slabs that hold the frames' bytes.
// JavaScript makes slabs and holds them. A part of one that has been handed over is never written again.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "reactor/turn_budget.h"

namespace mr {

enum class Event : uint16_t {
  kOpen = 1,   // a: listener
  kFrame = 2,  // a: slab, b: offset, c: length, d: end of the frame in what was received, e: FrameCut::info
  kReceived =
      3,  // custom framing. a: slab, b: offset, c: length of what is new, d: unread bytes before it, which the thread holds
  kEnd = 4,
  kDrain = 5,
  kTimeout = 6,
  kClose = 7,         // a: reason | errno << 8, b, c: bytes read, d, e: bytes written
  kRunResult = 8,     // a: slab, b: offset, c: length, d: run, e: Reply flags
  kDrained = 9,       // slot: 0. The reactor has closed its last listener and connection
  kAcceptError = 10,  // slot: 0. a: listener, b: errno
  kRestore = 11,   // came from another thread. a: slab, b: offset, c: length of its id and state, d: listener | RestoreFlag << 16
  kHandover = 12,  // is about to move to a sibling: moveNow() with its state is expected
  kMoved = 13,     // has moved to a sibling
  kQuiet = 14,     // slot: 0. After quiesce(): nothing is held by this thread any more
  kParse = 15,     // a: slab, b: offset, c: length, d: low half of the sequence, e: CostTable::Key | kTimedAlone
  kCredit = 16,    // slot: 0. a: stream, b: amount, c: 1 when the connection is gone
  kGone = 17,      // a, b: id of a connection that closed with frames in flight. Only for a thread that asked
  kOverrun = 18,   // slot: 0. a: CostTable::Key, b: ns. judgeOverrun() is expected
  kBalance = 19,   // a: listener. It is not open yet: assign() is expected, with the reactor that shall have it
  kBadFrame = 20,  // a: the close reason to come, b: FrameCut::code, d: as for kFrame. The last words may be written
  kShrink = 21,    // slot: 0. Memory is short: what keeps a slab for a few bytes of it copies them
  kCipher = 24,    // received, to be decrypted. a: slab, b: offset, c: length (0: the peer has finished), d: listener
  kPlain = 25,     // to be sent, to be encrypted. a: slab, b: offset, c: length (0: say goodbye)
  kConnected = 32,      // a client connection is open. a: the request that connect() answered with
  kConnectFailed = 33,  // slot: 0. a: request, b: errno
  kCalled = 34          // slot, generation: 0. a: slab, b: offset, c: length, d: number for answerCall()
};

// Whether `a` of such a row names the slab that its bytes lie in. JavaScript may let go of a slab only when no row that waits
// names it. No default: a new event does not compile before it has been decided.
constexpr bool carriesSlab(Event event) {
  switch (event) {
    case Event::kFrame:
    case Event::kReceived:
    case Event::kRunResult:
    case Event::kRestore:
    case Event::kParse:
    case Event::kCalled:
    case Event::kCipher:
    case Event::kPlain:
      return true;
    case Event::kOpen:
    case Event::kEnd:
    case Event::kDrain:
    case Event::kTimeout:
    case Event::kClose:
    case Event::kDrained:
    case Event::kAcceptError:
    case Event::kHandover:
    case Event::kMoved:
    case Event::kQuiet:
    case Event::kCredit:
    case Event::kGone:
    case Event::kOverrun:
    case Event::kBalance:
    case Event::kBadFrame:
    case Event::kShrink:
    case Event::kConnected:
    case Event::kConnectFailed:
      return false;
  }
  return false;
}

constexpr size_t kWaitingUnit = 4 << 10;

// `waiting` of a frame whose connection has closed meanwhile: nobody could cut it again, so it is not handed back.
constexpr uint16_t kLastChance = UINT16_MAX;

// Beside the key of a kParse row: how long it takes is to be measured for this frame alone.
constexpr uint32_t kTimedAlone = 1u << 31;

// Beside it, too: it had been set aside, and was let go.
constexpr uint32_t kPermittedRow = 1u << 30;
constexpr uint32_t kKeyFlags = kTimedAlone | kPermittedRow;

enum RestoreFlag : uint32_t {
  kRestorePlain = 0,
  kRestoreHasState = 1,
  kRestoreDataLost = 2,
  kRestoreEnded = 4,
  kRestoreWebSocket = 8
};
// Of a WebSocket, in the same word: FramingConfig::windowBits.
inline constexpr uint32_t kRestoreWindowShift = 8;

struct EventRow {
  Event event;
  uint16_t waiting;  // kFrame: what the connection has not sent yet, in units of kWaitingUnit, rounded up
  uint32_t slot;
  uint32_t generation;
  uint32_t a, b, c, d, e;
};
static_assert(sizeof(EventRow) == 32);

struct Slab {
  uint8_t* data = nullptr;
  size_t size = 0;
  uint32_t id = 0;
};

// The JS side, as the reactor sees it. All calls come from the reactor's own thread, inside turn().
class EventSink {
 public:
  virtual ~EventSink() = default;
  // Runs the app's hooks for the rows. The hooks may call back into the reactor.
  struct Delivered {
    bool alive;    // false: the thread is ending, call it no more
    size_t begun;  // rows that reached their hook; the last of them has not returned from it if `inHook`
    bool inHook;
  };
  virtual Delivered deliver(const std::vector<EventRow>& rows) = 0;
  // Fresh memory of at least this size; data is null when JS cannot give any more.
  virtual Slab newSlab(size_t atLeast) = 0;
};

// The oldest slab that one of the rows names; UINT32_MAX when none does.
uint32_t oldestSlab(std::span<const EventRow> rows);

// Rows that wait for the next delivery, those that are being delivered, and the slab that bytes are received into.
class EventBatch {
 public:
  static constexpr size_t kLeastRoom = 16 << 10;  // a smaller rest of a slab is not worth a receive

  // JavaScript runs when a slab is asked for: that time is not the turn's.
  explicit EventBatch(TurnBudget& budget) : budget_(budget) {}

  // --- the thread. Rows stay when it goes, slabs go with it ---
  void attach(EventSink* sink) {
    sink_ = sink;
    slab_ = {};
    used_ = 0;
  }
  void detach() { attach(nullptr); }
  bool hasThread() const { return sink_ != nullptr; }
  bool isOf(const EventSink* sink) const { return sink_ == sink; }

  // --- rows that wait ---
  void add(const EventRow& row) { rows_.push_back(row); }
  // With bytes, whose place becomes a, b and c of the row: copied, or where they are when they lie in the current slab. `mask`
  // is taken off. False when there is no memory: nothing has been added.
  bool addBytes(EventRow row, std::span<const uint8_t> bytes, bool inSlab, const uint32_t* mask = nullptr);
  // What addBytes() has found in the bytes that it has taken the mask off last.
  bool wasAscii() const { return wasAscii_; }
  // The row added last is a frame that this thread runs: its bytes are found again when the thread dies.
  void keepBytes() { parsed_.push_back(addedAt_); }
  EventRow& last() { return rows_.back(); }
  size_t size() const { return rows_.size(); }
  bool empty() const { return rows_.empty(); }
  size_t parses() const { return parsed_.size(); }
  const std::vector<EventRow>& rows() const { return rows_; }
  std::vector<EventRow> takeRows() { return std::exchange(rows_, {}); }
  void addRows(std::span<const EventRow> rows) { rows_.insert(rows_.end(), rows.begin(), rows.end()); }
  template <typename Which>
  void dropRows(Which&& which) {
    std::erase_if(rows_, which);
  }
  void clear() {
    rows_.clear();
    parsed_.clear();
  }

  // --- a delivery: begin(), deliver(), end() ---
  void begin() {
    delivering_.swap(rows_);
    parsing_.swap(parsed_);
  }
  std::vector<EventRow>& delivering() { return delivering_; }
  const std::vector<EventRow>& delivering() const { return delivering_; }
  EventSink::Delivered deliver() { return sink_->deliver(delivering_); }
  void end() {
    delivering_.clear();
    parsing_.clear();
  }
  // The thread died in a delivery. Calls `keep(row, bytes)` for the frames that it has not begun, of this delivery and behind.
  template <typename Keep>
  void keepParses(size_t begun, Keep&& keep) {
    size_t parse = 0;
    for (size_t i = 0; i < delivering_.size(); ++i) {
      if (delivering_[i].event != Event::kParse) continue;
      if (i >= begun) keep(delivering_[i], parsing_[parse]);
      ++parse;
    }
    parse = 0;
    for (const EventRow& row : rows_) {
      if (row.event == Event::kParse) keep(row, parsed_[parse++]);
    }
    parsing_.clear();
    parsed_.clear();
  }

  // --- the slab that bytes are received into ---
  // False when there is no thread, or no memory.
  bool ensureRoom(size_t atLeast);
  std::span<uint8_t> room(size_t most) const { return {slab_.data + used_, std::min(slab_.size - used_, most)}; }
  void use(size_t bytes) { used_ = std::min((used_ + bytes + 7) & ~size_t{7}, slab_.size); }
  uint32_t slab() const { return slab_.id; }
  uint32_t offsetOf(const uint8_t* bytes) const { return static_cast<uint32_t>(bytes - slab_.data); }

 private:
  TurnBudget& budget_;
  EventSink* sink_ = nullptr;
  std::vector<EventRow> rows_, delivering_;
  // Where the frames of kParse rows lie, of rows_ and of delivering_, in the order of their rows.
  std::vector<const uint8_t*> parsed_, parsing_;
  Slab slab_;
  size_t used_ = 0;
  const uint8_t* addedAt_ = nullptr;  // where addBytes() has put its bytes last
  bool wasAscii_ = false;
};

}  // namespace mr
