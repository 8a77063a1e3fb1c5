// What a reactor tells JS, a turn at a time: rows of eight 32-bit words, and slabs that hold the frames' bytes.
// Slabs are memory that JS made and holds; once a part of one has been handed over it is never written again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

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
  kRunResult = 8,     // a: run, b: slab, c: offset, d: length, e: Reply flags
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

}  // namespace mr
