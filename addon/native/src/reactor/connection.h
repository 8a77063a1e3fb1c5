// One connected socket, accepted or made by us, and everything that waits on it. Plain state: the Reactor holds the rules. Two
// cache lines, because an idle server is mostly made of these: rare fields lie in `extras`.
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>

#include "base/fd.h"
#include "exchange/close_reason.h"
#include "exchange/connection_id.h"
#include "net/out_buffer.h"
#include "reactor/aside.h"
#include "reactor/compact_peer.h"
#include "reactor/in_buffer.h"
#include "reactor/order_window.h"
#include "reactor/secure.h"
#include "reactor/short_time.h"
#include "reactor/subscription.h"
#include "reactor/timer_wheel.h"

namespace mr {

// The socket has failed: see reactor_broken.cc.
struct Broken {
  int error = 0;            // the error it has reported, which it reports once; 0: not yet
  bool known = false;       // it has failed
  bool emptied = false;     // nothing that the peer has sent lies in it any more
  bool outputLost = false;  // not all was sent
  bool listed = false;
  uint64_t readAtLoss = 0;  // `bytesRead` when it lost its first output
  // The end of what it gives is not an end that the peer has said. EPIPE: the peer had said one before.
  bool cutsOff() const { return known && error != 0 && error != EPIPE; }
};

// Fields that most connections never need.
struct Extras {
  std::unique_ptr<OrderWindow> window;
  std::unique_ptr<Secure> secure;                      // its listener speaks TLS
  std::unique_ptr<std::vector<ReplyPart>> creditsDue;  // streamed parts that lie in `out`
  std::unique_ptr<Subscriptions> subscriptions;
  std::unique_ptr<Aside> aside;  // it holds too much: frames of it are set aside
  uint64_t framerState = 0;      // the framing's state for the next frame
  uint64_t sendingSinceMs = 0;   // when the peer last took a part of the waiting bytes; 0: nothing waits
  ConnectionId bornAs;           // its name, when it was born in another reactor's table
  uint64_t discarded = 0;        // bytes received since it ends, and thrown away
  Broken broken;
  uint32_t timeoutMs = 0;  // of setTimeout()
  uint32_t pipe = 0;       // with kPiped: the other one's slot
  // While more than `outBuffer.high` waits: how many messages may still pass `outBuffer.max`, of handlers that had begun; and how
  // much may wait beside one that has passed, in pages. See Reactor::admits().
  uint32_t passes = 0;
  uint32_t ceilingPages = 0;

  size_t waitingBytes() const {
    const size_t encrypted = secure ? secure->out.size() + secure->handed : 0;
    return encrypted + (window ? window->heldBytes() : 0) + (subscriptions ? subscriptions->latestBytes : 0);
  }
};

struct alignas(64) Connection {
  enum Flag : uint32_t {
    kOpen = 1u << 0,
    kReadEnded = 1u << 1,  // the peer has finished sending
    kEnding = 1u << 2,     // end() was said: FIN behind the waiting bytes
    kFinSent = 1u << 3,
    kDirty = 1u << 4,        // has output of this turn
    kHasPending = 1u << 5,   // is on the list of connections whose unread bytes are to be cut again
    kWantsDrain = 1u << 6,   // write() has said false
    kHeadStarted = 1u << 7,  // a part of the reply at the head has left
    kDraining = 1u << 8,     // the server is closing: frames in flight are answered, nothing new is read
    kInEpoll = 1u << 9,
    kAnnounced = 1u << 10,      // its open row has gone to a thread
    kEndSaid = 1u << 11,        // end() is at the head of the order: nothing may follow it
    kStopAtCurrent = 1u << 12,  // a hook paused or reframed in the middle of a batch
    kHasData = 1u << 13,        // conn.data is not undefined: it would be lost with the thread
    kMoving = 1u << 14,         // goes to a sibling as soon as nothing of it is under way here
    kAway = 1u << 15,           // lives with a sibling: the slot only keeps the name
    kPausedByUser = 1u << 16,
    kPausedByOutput = 1u << 17,
    kPausedByQueue = 1u << 18,
    kPausedByOrder = 1u << 19,
    kPausedForHandover = 1u << 20,
    kPausedByPipe = 1u << 28,   // its pipe partner takes no more for now
    kCounted = 1u << 21,        // among the connections of its address
    kAwaitsProxy = 1u << 22,    // its first bytes are a PROXY header, and name its peer
    kAwaitsReactor = 1u << 23,  // the app is to say which reactor gets it
    // Reasons not to read. Reading goes on when none is left.
    kPausedMask = 31u << 16 | kAwaitsReactor | kPausedByPipe,
    kUnplaced = kAwaitsProxy | kAwaitsReactor,  // no hook may see it yet
    kPrompted = 1u << 24,                       // has been told to send the rest of the frame at hand
    kStreamed = 1u << 25,                       // a stream of the driving thread owns it: it cannot go to another one
    kHalfClosing = 1u << 26,                    // that stream has ended: FIN behind the waiting bytes, and reading goes on
    kShut = 1u << 27,                           // that FIN has left
    kPipeFinSent = 1u << 29,                    // the peer's end of stream has been passed on to it
    kPiped = 1u << 30,                          // its bytes go to another connection, without any hook
    kClient = 1u << 31,                         // we have connected: `listener` is a client profile
    // Without any of these an open connection is not about to end, and nothing has to be looked at for it.
    kMayFinish = kPiped | kFinSent | kHalfClosing | kEnding | kDraining,
  };

  // The fields for every message, in one cache line.
  Fd fd;
  uint32_t flags = 0;
  uint32_t generation = 0;
  uint32_t span = 0;  // 1 + index of this turn's span, 0: none
  uint64_t headSequence = 0;
  uint64_t nextSequence = 0;
  uint64_t bytesRead = 0;
  uint64_t bytesWritten = 0;
  uint32_t inFlight = 0;  // frames submitted and not settled
  uint32_t held = 0;      // promises, deferred replies and calls that live in the driving thread
  ShortTime lastActivity;
  ShortTime receivingSince;  // accepted, or when the frame at hand began

  OutBuffer out;
  std::unique_ptr<InBuffer> in;
  std::unique_ptr<Extras> extras;
  CompactPeer peer;
  uint64_t accounted : 48 = 0;  // bytes of it in the reactor's sum
  uint16_t listener = 0;
  uint64_t inFlightBytes : 48 = 0;  // of frames in the pool
  uint16_t framing = 0;             // index of the reactor's framings
  TimerWheel::Link timer;
  uint8_t interest : 3 = 0;                   // EPOLLIN and EPOLLOUT, as the epoll set is to have them
  uint8_t told : 3 = 0;                       // with kInEpoll: the events it has been told, or kToldOther
  bool tellDue : 1 = false;                   // the set is told at the end of this turn
  bool onlyHeader : 1 = false;                // all that has come is a PROXY header
  CloseReason endReason = CloseReason::kEnd;  // the reason of an orderly close
  uint16_t moveTarget = 0;

  // Made when one of them is first needed, and kept until the connection closes.
  Extras& needExtras() {
    if (!extras) extras = std::make_unique<Extras>();
    return *extras;
  }
  OrderWindow* window() const { return extras ? extras->window.get() : nullptr; }
  Secure* secure() const { return extras ? extras->secure.get() : nullptr; }
  std::vector<ReplyPart>* creditsDue() const { return extras ? extras->creditsDue.get() : nullptr; }
  Aside* aside() const { return extras ? extras->aside.get() : nullptr; }
  bool isBroken() const { return extras && extras->broken.known; }
  Subscriptions* subscriptions() const { return extras ? extras->subscriptions.get() : nullptr; }
  uint64_t framerState() const { return extras ? extras->framerState : 0; }
  void setFramerState(uint64_t state) {
    if (state != 0 || extras) needExtras().framerState = state;
  }
  uint64_t sendingSinceMs() const { return extras ? extras->sendingSinceMs : 0; }
  void setSendingSinceMs(uint64_t ms) {
    if (ms != 0 || extras) needExtras().sendingSinceMs = ms;
  }

  bool has(uint32_t mask) const { return (flags & mask) != 0; }
  void set(uint32_t mask) { flags |= mask; }
  void unset(uint32_t mask) { flags &= ~mask; }
  size_t waitingBytes() const { return out.size() + (extras ? extras->waitingBytes() : 0); }
  // Of them, those that exist once for many connections.
  size_t sharedBytes() const { return out.sharedSize() + (subscriptions() ? subscriptions()->latestBytes : 0); }
  // The bytes that go into the socket.
  OutBuffer& wire() { return secure() ? secure()->out : out; }
  // Its state is in the driving thread, and it cannot go to another one.
  bool isBound() const { return has(kStreamed) || (secure() && secure()->begun); }
  // Something that a hook has begun is pending; the state of TLS is not meant.
  bool heldByHooks() const { return held > (secure() && secure()->begun ? 1u : 0u); }
  // Of `held`: the state of TLS and the stream belong to the connection, the rest to frames of its peer.
  uint32_t heldByItself() const { return (secure() && secure()->begun ? 1u : 0u) + (has(kStreamed) ? 1u : 0u); }
  uint32_t heldForFrames() const { return held > heldByItself() ? held - heldByItself() : 0; }
  // No interest is equal to it: the set has the descriptor under another token.
  static constexpr uint8_t kToldOther = 7;
  // Of a connection that ends: further bytes of its peer stay in the kernel, which makes the peer wait.
  static constexpr uint64_t kMostDiscarded = 16 << 20;
  bool discardsNoMore() const { return extras && extras->discarded >= kMostDiscarded; }
  // The peer is not known yet, or not accepted.
  bool isHidden() const { return has(kUnplaced) || (secure() && !secure()->established); }
  // No byte of the app's protocol has come: nothing, or only a preface, a PROXY header or a handshake.
  bool isUnheard() const { return isHidden() || (secure() ? !secure()->heard : bytesRead == 0 || onlyHeader); }
};
static_assert(sizeof(Connection) == 128, "docs/memory.md says what an idle connection costs");

}  // namespace mr
