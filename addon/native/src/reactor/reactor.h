// One reactor: an epoll set and all it owns. Thread-bound: every method asserts the owner, unless its line says otherwise.
// Belongs to the process; a JS thread attaches, drives it turn by turn and detaches. Does not know Node, and runs no user code
// except through the EventSink.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/thread_owner.h"
#include "exchange/call.h"
#include "exchange/exchange.h"
#include "net/epoll.h"
#include "net/listener_group.h"
#include "reactor/acceptors.h"
#include "reactor/clients.h"
#include "reactor/hook_pace.h"
#include "reactor/incoming_calls.h"
#include "reactor/inline_box.h"
#include "reactor/may_write.h"
#include "reactor/memory_guard.h"
#include "reactor/reactor_core.h"
#include "reactor/subscribers.h"
#include "reactor/write_box.h"

namespace mr {

class Reactor : private ReactorCore, private PublicationOutput {
 public:
  Reactor(std::shared_ptr<Exchange> exchange, uint32_t index);  // throws std::system_error when the kernel refuses
  ~Reactor() override;

  // --- the thread that drives it ---
  bool attach(EventSink* sink);  // false: another living thread drives it
  void detach();
  // Any thread, once the driving thread is known to be dead.
  void forgetDeadThread();
  bool attached() const { return !owner_.isFree(); }  // Any thread.
  bool isDrivenBy(const EventSink* sink) const { return owner_.isCurrent() && batch_.isOf(sink); }
  // It has attached and has not let go, although its thread may have died in a turn and drives no more.
  bool isHeldBy(const EventSink* sink) const { return owner_.isCurrent() && attachedSink_ == sink; }
  int fd() const { return epoll_.fd(); }  // readable when there is something to do
  // One round: mailbox, epoll, timers, hooks, output. True when there is more to do at once. timeoutMs as for epoll_wait.
  bool turn(int timeoutMs);
  int64_t untilNextTimerMs();
  void requestAnotherTurn() { wake(); }  // makes fd() readable
  void flush();                          // sends what hooks wrote outside of a turn
  // The slab that the next bytes are received into: JS must not let go of it, although no row may name it for a while.
  uint32_t currentSlab() const { return batch_.slab(); }

  // --- listeners ---
  uint16_t addListener(const ListenerConfig& config);
  // members: how many reactors take part; `spread` hands every fresh connection round them (one listener on a Unix path).
  void listen(uint16_t listener, std::shared_ptr<ListenerGroup> group, int member, bool spread);
  uint32_t listenerCount() const { return static_cast<uint32_t>(listeners_.size()); }
  // New code for an old listener: its connections follow.
  void updateListener(uint16_t listener, const ListenerConfig& config);

  // --- connections that we make ---
  // Begins to connect; Event::kConnected or kConnectFailed follows for its number. `local`: where from, or null. timeoutMs 0: as
  // long as the kernel tries. A client without a message hook begins paused. Fails at once with an errno: ECANCELED when the
  // reactor is closing, ENOSPC when the process has as many connections or bytes as it may, or the kernel's own.
  Result<uint32_t> connect(const Address& address, const Address* local, const ListenerConfig& config, uint32_t timeoutMs);
  void cancelConnect(uint32_t request);  // no event follows
  // From now on the bytes of each go to the other, and their ends too, without any hook but timeout and close. rawEnd as for
  // pause(). kGone: one of them has closed, ends, or is about to move. kBusy: one has
  // frames in flight or is piped.
  enum class Piped : uint8_t { kGone, kBusy, kDone };
  Piped pipe(uint32_t slotA, uint32_t generationA, uint32_t rawEndA, uint32_t slotB, uint32_t generationB, uint32_t rawEndB);
  bool staysHere(uint32_t slot, uint32_t generation);  // it is a client or piped: it does not move to a sibling

  // --- from one driving thread to the next ---
  // Stops feeding hooks; Event::kQuiet when no promise, deferred reply or call lives in this thread any more.
  // Rows for a thread that leaves in this very moment: again until there are none, then detach().
  std::vector<EventRow> lastRows();
  void quiesce();
  // The state for restore() of the next thread for this connection.
  bool keepState(uint32_t slot, uint32_t generation, std::span<const uint8_t> state);
  // The next thread, after attach() and its listeners: tells it of the connections that are here. `lost`: the last thread died.
  void restoreConnections(bool lost);
  bool setHasData(uint32_t slot, uint32_t generation, bool on);
  // A promise of a hook is pending, or no longer. Its connection closes when the thread dies meanwhile. Where in the order it
  // would be, or kNoPlace: the connection has closed.
  static constexpr uint64_t kNoPlace = UINT64_MAX;
  uint64_t hold(uint32_t slot, uint32_t generation, bool on);

  // --- from one reactor to another ---
  // As soon as nothing of it is under way here; rawEnd as for pause().
  bool moveTo(uint32_t slot, uint32_t generation, uint32_t reactor, uint32_t rawEnd);
  // The answer to Event::kHandover.
  bool moveNow(uint32_t slot, uint32_t generation, std::span<const uint8_t> state, bool hasState);
  // The answer to Event::kBalance. False when that reactor takes no connections: the answer is asked for again.
  bool assign(uint32_t slot, uint32_t generation, uint32_t reactor);
  // Everything goes to the siblings. Event::kDrained in the end. `abandoned`: no thread of the app drives it, so listening
  // sockets go along, and no hook is asked for anything.
  void retire(bool abandoned);
  // The supervisor, when a retired reactor has no thread any more: messages that still reached its mailbox go on to the owners.
  void forwardMail();

  // --- streams: connections that live in the driving thread (reactor_stream.cc) ---
  // A stream owns the connection from now on: every event is told, and it closes with the thread.
  bool stream(uint32_t slot, uint32_t generation);
  // The stream has ended: after what is waiting, FIN; Event::kDrain says that it has left. Reading goes on.
  bool finish(uint32_t slot, uint32_t generation);
  // The thread waits for its streams to end. Fresh connections go to siblings; without one they wait for the next thread.
  void relieve();
  void welcome();
  void endSecure(uint32_t graceMs);

  // --- TLS, whose keys are in the driving thread (reactor_secure.cc): the answers to Event::kCipher and Event::kPlain ---
  // Plaintext that came out of what was received: it is cut as if the socket had given it.
  bool feed(uint32_t slot, uint32_t generation, std::span<const uint8_t> plain);
  bool feedEnd(uint32_t slot, uint32_t generation);  // the peer has finished, under its keys
  // One Event::kCipher is through; `readBytes`: how much of the connection may be read at once from now on.
  bool decrypted(uint32_t slot, uint32_t generation, uint32_t readBytes = kReadBytes);
  bool established(uint32_t slot, uint32_t generation);
  bool writeCipher(uint32_t slot, uint32_t generation, std::span<const uint8_t> bytes);
  bool encrypted(uint32_t slot, uint32_t generation, uint32_t bytes);  // so much of Event::kPlain is through
  bool cipherEnd(uint32_t slot, uint32_t generation);                  // after this, FIN
  bool secureFailed(uint32_t slot, uint32_t generation);               // the same, as CloseReason::kTlsError

  // --- closing ---
  // The sockets belong to another process now: their descriptors close here, and what is queued on them is left to it. Comes
  // before drain(), which then lets those who were accepted and have not said all of their request do so for `graceMs`.
  void leaveListeners(uint32_t graceMs);
  // How long a peer may take to answer our FIN, until drain() says otherwise.
  void setLinger(uint32_t lingerMs) { lingerMs_ = lingerMs; }
  // Refuses new connections, serves what the kernel has queued, answers what is in flight, closes. Event::kDrained in the end.
  void drain(uint32_t lingerMs);
  uint32_t destroyAll(CloseReason reason);

  // --- connections, by slot and generation; false or kGone when that connection has closed ---
  bool isOpen(uint32_t slot, uint32_t generation);
  enum class Place : uint8_t { kInOrder, kBetween };  // inside a message hook, or at any other time
  enum class WriteResult : uint8_t { kGone, kFull, kBelowHigh };
  // kGone also when this writer may not put bytes on the connection in its state: see reactor/may_write.h.
  WriteResult write(uint32_t slot, uint32_t generation, std::span<const uint8_t> bytes, Place place,
                    Writer writer = Writer::kHook);
  // Where `message` hooks may leave writes instead of calling write(). Whoever asks the reactor for anything else on their behalf
  // calls emptyWriteBox() first, or what was written before would come after it.
  const std::shared_ptr<WriteBox>& writeBox() { return writeBox_; }
  void emptyWriteBox() {
    if (writeBox_->count != 0) takeWriteBox(false);
  }
  // More frames of the batch are at hand, and the hooks have written more than may wait: they wait until the peer has taken it.
  // rawEnd as for pause(), of the last frame that a hook has seen. False: they need not.
  bool stopBehind(uint32_t slot, uint32_t generation, uint32_t rawEnd);
  bool end(uint32_t slot, uint32_t generation, Place place);
  // Now: one attempt to send what is buffered, and no waiting.
  bool destroy(uint32_t slot, uint32_t generation, CloseReason reason);
  // A frame has failed: the connection closes behind the replies to the frames before it. `place`: the first sequence of that
  // frame.
  static constexpr uint64_t kBehindAll = UINT64_MAX;
  bool fail(uint32_t slot, uint32_t generation, uint64_t place, CloseReason reason);
  // rawEnd: where the current frame ends in what was received this turn, UINT32_MAX outside of a message hook. What comes
  // after it stays unread.
  bool pause(uint32_t slot, uint32_t generation, uint32_t rawEnd);
  bool resume(uint32_t slot, uint32_t generation);
  // kTooMany: every connection has another one, and there are no more numbers for them.
  enum class Framed : uint8_t { kGone, kDone, kTooMany };
  Framed setFraming(uint32_t slot, uint32_t generation, const FramingConfig& framing, uint32_t rawEnd);
  bool setTimeoutMs(uint32_t slot, uint32_t generation, uint32_t milliseconds);
  bool setNoDelay(uint32_t slot, uint32_t generation, bool on);
  bool resetOnClose(uint32_t slot, uint32_t generation);
  bool setKeepAlive(uint32_t slot, uint32_t generation, bool on, uint32_t delaySeconds);
  // A frame for the pool, at its place in the order. kRun: its result is for the caller; `sequence` names it. kFull: a run
  // that was refused because the queue is full.
  enum class Submitted : uint8_t { kGone, kDone, kFull };
  Submitted submit(uint32_t slot, uint32_t generation, std::span<const uint8_t> frame, Task::Flags flags, uint64_t* sequence);
  // A place in the order that is answered later, by settleDeferred.
  bool defer(uint32_t slot, uint32_t generation, uint64_t* sequence);
  WriteResult settleDeferred(uint32_t slot, uint32_t generation, uint64_t sequence, std::span<const uint8_t> bytes,
                             uint16_t flags);
  // Custom framing: how much of what was received has been used, and how much is worth a new look (0: any).
  // `holds`: the thread keeps the rest, and is shown only what comes behind it.
  bool consumed(uint32_t slot, uint32_t generation, uint32_t bytes, uint32_t needed, bool holds);
  // The hooks of this batch have had their time: this connection's bytes behind `rawEnd` are cut again in the next turn.
  // `begun`: how many rows of the batch had been begun by then.
  bool handBack(uint32_t slot, uint32_t generation, uint32_t rawEnd, uint32_t begun);

  // --- frames that run here (Event::kParse) instead of in the pool ---
  InlineBox& inlineBox();  // lives as long as the reactor, or its next thread's
  // Takes replies and samples out of the box. After a batch the reactor does so itself.
  void settleInline();
  // A part of a reply, or a whole one that is too large for the box; flags are those of a row.
  struct InlineReply {
    uint32_t slot, generation, sequence;
    uint16_t flags;
    uint32_t frameBytes, credit, stream;
  };
  void replyInline(const InlineReply& part, std::span<const uint8_t> bytes);
  // A frame that a custom framer has cut. True: it has gone to the pool, or its connection has closed. Otherwise it is to be run
  // at once, under this sequence and key, and timed alone.
  bool place(uint32_t slot, uint32_t generation, std::span<const uint8_t> frame, uint32_t* sequence, uint32_t* key);
  // A frame of the batch at hand, before it runs. True: there is no room for its reply, and it comes again when there is.
  bool setAsideHere(uint32_t slot, uint32_t generation, uint32_t sequence, std::span<const uint8_t> frame);
  bool idOf(uint32_t slot, uint32_t generation, ConnectionId* id);
  void watchGone(bool on) { watchesGone_ = on; }
  // A supposed overrun: it was one, or the garbage collector had come in between.
  void judgeOverrun(CostTable::Key key, bool wasOne);
  // The supervisor. How long the frame at hand has been running, as far as its looks can tell; and that it is ended for that.
  uint64_t inlineRunningNs(uint64_t nowNs);
  void endForTime() { endedForTime_.store(true, std::memory_order_release); }

  // The answer to Event::kCalled. False when nobody waits for it.
  bool answerCall(uint32_t number, CallOutcome outcome, std::span<const uint8_t> bytes);

  // --- publishing. Topics are 1 to kMaxTopicBytes bytes ---
  static constexpr size_t kMaxTopicBytes = 1024;
  using Subscribed = Subscribers::Subscribed;
  Subscribed subscribe(uint32_t slot, uint32_t generation, std::string_view topic, SlowPolicy policy) {
    return subscribers_.subscribe(slot, generation, topic, policy);
  }
  bool unsubscribe(uint32_t slot, uint32_t generation, std::string_view topic) {
    return subscribers_.unsubscribe(slot, generation, topic);
  }
  std::vector<std::string> subscriptions(uint32_t slot, uint32_t generation) { return subscribers_.names(slot, generation); }
  // To all reactors. How many subscribers this one has; nothing when too much waits to be delivered.
  std::optional<uint64_t> publishHere(std::string_view topic, SharedBytesRef bytes, SharedBytesRef deflated = {},
                                      uint8_t windowBits = 0);
  std::optional<uint64_t> publishHere(std::string_view topic, std::span<const uint8_t> bytes) {
    return publishHere(topic, SharedBytesRef::copyOf(bytes));
  }

  struct Details {
    Peer peer;
    uint64_t bytesRead, bytesWritten;
    size_t waiting;
    uint32_t inFlight;
  };
  bool details(uint32_t slot, uint32_t generation, Details* out);
  // Also of a connection that has closed in this turn: hooks may hear of it only now.
  bool findPeer(uint32_t slot, uint32_t generation, Peer* out);
  Result<Address> localAddress(uint32_t slot, uint32_t generation);

  // The app has called something on a connection that had closed.
  void countLateCall() { counters_.callsAfterClose.add(1); }
  void countDropped() { counters_.messagesDropped.add(1); }      // a message of a hook, for a peer that is slow
  const ReactorCounters& counters() const { return counters_; }  // Any thread.
  uint32_t index() const { return index_; }
  Exchange& exchange() { return *exchange_; }

  static constexpr uint32_t kOutsideMessage = UINT32_MAX;

 private:
  // Bounds of one turn, so that no connection starves the others; those of all together are in TurnBudget.
  static constexpr int kMaxEvents = 256;
  // How far each phase may go with the budget: replies and sends, publications, events, timers, and last what was received
  // before.
  static constexpr uint32_t kMailShares = 4, kPublicationShares = 5, kEventShares = 6, kTimerShares = 7;
  static constexpr int kMaxAcceptsPerTurn = 64;
  static constexpr size_t kReadBytes = 64 << 10;       // one receive of one connection
  static constexpr uint32_t kMaxFramesPerTurn = 1024;  // of one connection
  static constexpr uint32_t kMaxRepliesPerTurn = 4096;
  static constexpr size_t kFlushBytes = 256 << 10;  // sent to one connection
  static constexpr uint32_t kAsideLooks = 256;      // connections whose frames were set aside
  static constexpr uint32_t kAlwaysInFlight = 4;    // frames of one connection, whatever their size
  static constexpr uint64_t kCheapNs = 20'000;
  static constexpr uint32_t kMostUnwoken = 16;
  static constexpr int kHookRounds = 4;               // hooks may cause events, whose hooks may cause events
  static constexpr size_t kMaxTaskBytes = 256 << 10;  // frames travel together up to this size
  static constexpr size_t kMostHanded = 64 << 10;     // plaintext of one connection that is being encrypted
  static constexpr size_t kMostCipher =
      2 * kMostHanded;                            // encrypted beyond `outBuffer.max`: what was handed, and what it grew by
  static constexpr uint32_t kAcceptDelayMs = 20;  // when more are accepted than may be
  static constexpr uint64_t kFarMs = 4096, kFarStepMs = 1024;  // deadlines further away are met to the second
  static constexpr size_t kBeside = 64 << 10;  // what may wait beside a message that has passed the maximum: its head and end
  static constexpr size_t kPage = 4 << 10;
  static constexpr uint32_t kRetireQuietMs = 1000;      // a peer may have its handshake under way
  static constexpr uint32_t kFrameRetryMs = 20;         // a frame that is late and has just been added to
  static constexpr uint32_t kStallCheckMs = 2;          // how often to look for frames claimed and not started
  static constexpr uint32_t kFirstRequestMs = 2000;     // its thread leaves: how long a connection may take for its first frame
  static constexpr uint32_t kLingerMs = 2000;           // how long a peer may take to answer our FIN
  static constexpr uint64_t kInlineTurnNs = 1'000'000;  // of `run: 'auto'`, by prediction; further frames go to the pool
  static constexpr uint64_t kMeasuredBatchNs = 250'000;
  static constexpr uint32_t kAnySibling = UINT16_MAX;  // of a move: the reactor that takes it
  static constexpr uint32_t kMeasuredTogether = 64;
  static constexpr uint8_t kInlinePart = 128;  // beside Reply::Flags: a hook's write that waits in the order

  class Moved;  // a connection or a listening socket on its way to a sibling
  // The bytes a connection received this turn, until the hooks are through with it.
  struct Span {
    Span(uint32_t of, const Connection& connection, std::span<const uint8_t> bytes, bool isOfInBuffer)
        : slot(of),
          generation(connection.generation),
          base(bytes.data()),
          length(bytes.size()),
          fromInBuffer(isOfInBuffer),
          framing(connection.framing),
          state(connection.framerState()),
          stateBehind(state) {}
    uint32_t slot, generation;
    const uint8_t* base;
    size_t length;
    size_t consumed = 0;
    size_t needed = 0, hint = 0;  // of what is left behind the last whole frame
    bool fromInBuffer;
    bool ends = false;  // the connection ends behind these bytes, as `reason`
    CloseReason reason = CloseReason::kMalformed;
    uint16_t framing;
    uint64_t state;        // of the framer, at the first byte
    uint64_t stateBehind;  // and behind the first `cut` bytes
    size_t cut = 0;
    std::string_view prompt = {};  // the text that the peer waits for
    size_t held = 0;               // as in InBuffer
    uint32_t frames = 0;           // in the first `cut` bytes
    uint32_t counted = 0;          // of them, those that had been counted before
  };
  // The bytes before the place where a hook has stopped.
  struct Seen {
    uint32_t frames;
    uint64_t state;  // of the framer
  };

  // reactor.cc
  using ReactorCore::idOf;
  // The connection that other threads call so, if it is here.
  Connection* locate(ConnectionId id, uint32_t* slot);
  void dispatch(const epoll_event& event);
  void dispatchConnection(uint32_t slot, uint32_t generation, uint32_t events);
  bool deliver();
  bool drainMailbox();
  void dispatchSome();
  // Whether the turn may take in more: it has bytes and time left, and hooks do not get too many rows at once.
  bool takesMore() { return batch_.size() < pace_.mostRows() ? budget_.left() : (leftWork_ = true, false); }
  void expireTimers();
  void settleTurn();
  void updateInterest(uint32_t slot);
  uint32_t interestOf(Connection& connection) const;
  void watch(uint32_t slot);
  void tellLater(uint32_t slot);
  void tellInterest(uint32_t slot);
  void tellInterests();
  uint64_t nextDeadline(const Connection& connection, CloseReason* reason) const;
  TimerWheel::Link& timerOf(uint32_t slot) { return table_.at(slot).timer; }
  void startTimer(uint32_t slot, uint64_t deadlineMs) {
    wheel_.start(slot, nowMs_, deadlineMs, [this](uint32_t other) -> TimerWheel::Link& { return timerOf(other); });
  }
  void stopTimer(uint32_t slot) {
    wheel_.stop(slot, [this](uint32_t other) -> TimerWheel::Link& { return timerOf(other); });
  }
  void armDeadline(uint32_t slot);     // the first of both
  void hastenDeadline(uint32_t slot);  // only if that is sooner than what is armed
  void shedMemory();
  uint64_t messagesInHand() const;
  size_t closeLargest(size_t atMost, MemoryGuard::Claim claim);
  uint64_t heldBytes() const;
  uint64_t ownBytes() const;

  // reactor_accept.cc
  uint16_t addFraming(const FramingConfig& framing);
  void acceptSome(uint32_t index);
  void adopt(Handover& fresh);
  void refuse(CloseReason reason);
  void turnAway(const Handover& fresh, CloseReason reason);
  void announce(uint32_t slot);
  void receiveProxyHeader(uint32_t slot);
  bool enterAddress(uint32_t slot);
  void acceptFailed(uint32_t index, int error);
  void serviceAcceptors();
  void finishDrainIfEmpty();
  void drainConnection(uint32_t slot);
  bool awaitsRequest(const Connection& connection) const;
  void drainFresh();

  // reactor_balance.cc
  uint32_t enterReactor(const Acceptor& acceptor, const Peer& peer);
  void handOver(Handover fresh, uint32_t target);
  void place(uint32_t slot);
  void stay(uint32_t slot);
  void handOverPlaced(uint32_t slot, uint32_t target);
  uint32_t enterSibling(const Connection& connection);
  // reactor_connect.cc
  void onConnectEnded(Connector::Ended ended);
  void expireConnects() {
    clients_.expire(nowMs_, [this](Connector::Ended ended) { onConnectEnded(std::move(ended)); });
  }
  void cancelConnects() {
    clients_.cancelAll([this](Connector::Ended ended) { onConnectEnded(std::move(ended)); });
  }
  void forgetSlot(uint32_t slot);
  bool servesAccepted() const;
  void finishClients();
  void leaveClients();

  // reactor_broken.cc
  void onBroken(uint32_t slot, int error, bool lost);
  void listBroken(uint32_t slot);
  void askForTurn();
  void closeBroken(uint32_t slot);
  void loseOutput(uint32_t slot);
  void writeInVain(uint32_t slot);
  void dropOutput(uint32_t slot, bool lost);
  bool waitsInSocket(uint32_t slot);
  static bool isReadInVain(const Connection& connection);
  bool waitsInVain(const Connection& connection) const;
  bool settleBroken(uint32_t slot);
  void readBroken();

  // reactor_pipe.cc
  void receiveForPipe(uint32_t slot);
  void receiveLastForPipe(uint32_t slot);
  void forwardKept(uint32_t slot);
  void forwardBytes(uint32_t slot, std::span<const uint8_t> bytes);
  void stopPipeWhenFull(uint32_t slot);
  void settlePipe(uint32_t slot);
  uint32_t unlinkPipe(uint32_t slot);
  void closePipe(uint32_t slot, CloseReason reason);

  // reactor_input.cc
  void onReadable(uint32_t slot, Connection& connection);
  Result<size_t> failedToReceive(uint32_t slot, Result<size_t> received);
  Result<size_t> receiveInto(uint32_t slot, Connection& connection, std::span<uint8_t> room);
  void receiveForPool(uint32_t slot, Connection& connection);
  void receiveForHooks(uint32_t slot, Connection& connection);
  size_t cutForPool(uint32_t slot, const uint8_t* data, size_t size, bool inSlab);
  void cutKeptForPool(uint32_t slot);
  bool submitTask(uint32_t slot, Task* task);
  bool wakesAtOnce(const Task& task);
  void wakeForTurn();
  bool refuseTask(uint32_t slot, Task* task);
  struct Load {
    uint32_t frames;
    size_t bytes;
  };
  void countSubmitted(uint32_t slot, const Load& load);
  void cutForHooks(uint32_t slot, Connection& connection, const uint8_t* data, size_t size, bool fromInBuffer);
  void finishEnded();
  void keepRest(uint32_t slot, const uint8_t* data, size_t size);
  static bool leavesNothing(const Span& span, const Connection& connection);
  void finishSpans();
  void cutPending();
  void addPending(uint32_t slot);
  void untouchedFirst();
  void markLastChances();
  uint32_t rowsOfOne() const;
  void endBehindFrames(uint32_t slot, CloseReason reason);
  void emitBadFrame(uint32_t slot, CloseReason reason, uint16_t code, size_t rawEnd);
  void refuseForPool(uint32_t slot, CloseReason reason, uint16_t code);
  void frameTimedOut(uint32_t slot);
  void promptPeer(uint32_t slot, std::string_view prompt);
  Seen seenOf(const Span& span) const;
  void maskAgain(const Span& span);
  void onReadEnd(uint32_t slot);
  void stopAtCurrent(Connection& connection, uint32_t rawEnd);
  void pauseFor(uint32_t slot, uint32_t reason);
  void resumeFrom(uint32_t slot, uint32_t reason);
  void resumeStopped();
  void checkOrderLimit(uint32_t slot);
  // Behind a reply: fewer are in flight, so that reading may go on, and never has to stop.
  void leaveOrderLimit(uint32_t slot, const Connection& connection) {
    if (connection.has(Connection::kPausedByOrder)) checkOrderLimit(slot);
  }
  static bool reachesLimit(const ListenerConfig& cfg, uint32_t frames, size_t bytes);

  // reactor_inline.cc
  bool runsHere(const ListenerConfig& cfg, CostTable::Key key);
  bool emitParse(uint32_t slot, std::span<const uint8_t> frame, CostTable::Key key, bool inSlab);
  uint64_t fullSequence(const Connection& connection, uint32_t low) const;
  void takeSamples();
  void planMeasuring();
  void measureBatch(uint64_t startedNs);
  void keepUnseen(const EventRow& row, const uint8_t* bytes);
  bool keepUnseenParses(const EventSink::Delivered& delivered);
  bool answered(const EventRow& row) const;
  void runKept();
  void onCredit(const Credit& credit);

  // reactor_output.cc
  bool onReplies(ReplyBatch& batch, uint32_t* most);
  void onReply(const Reply& reply, std::span<const uint8_t> bytes);
  void onReplyAt(uint32_t slot, Connection& connection, const Reply& reply, std::span<const uint8_t> bytes);
  void onOrdered(uint32_t slot, Connection& connection, const Reply& reply, std::span<const uint8_t> bytes);
  void onUnordered(uint32_t slot, const Reply& reply, std::span<const uint8_t> bytes);
  void onRunResult(uint32_t slot, const Reply& reply, std::span<const uint8_t> bytes);
  void emitPart(uint32_t slot, Connection& connection, std::span<const uint8_t> bytes, uint16_t flags, uint16_t worker,
                uint32_t credit, uint32_t token);
  void endAsSaid(uint32_t slot, Connection& connection, uint16_t flags);
  void headSettled(uint32_t slot, Connection& connection);
  void releaseHeld(uint32_t slot);
  bool defersHeld(uint32_t slot);
  void goOnReleasing();
  void advanceOrder(uint32_t slot, Connection& connection);
  void advanceWindow(uint32_t slot);
  void flushUnordered(uint32_t slot);
  void releaseUnordered(uint32_t slot);
  void onSend(std::unique_ptr<Message> message);
  void append(uint32_t slot, Connection& connection, std::span<const uint8_t> bytes);
  void markPausedByOutput(uint32_t slot);
  void pauseByOutput(uint32_t slot);
  void flushConnection(uint32_t slot);
  void afterFlush(uint32_t slot);
  // A frame of it has its last reply; JS names the frames that run here, and none is counted twice.
  static void settledOne(Connection& connection) {
    if (connection.inFlight != 0) --connection.inFlight;
  }
  // reactor_room.cc
  enum class Admits : uint8_t { kOne, kOneOfEach, kShared };
  bool admits(uint32_t slot, size_t more, Admits how);
  bool admitsMuch(uint32_t slot, size_t more, Admits how);
  bool isBelowCeiling(uint32_t slot, size_t more);
  bool findsMemory(uint32_t slot, size_t more);
  WriteResult roomLeft(uint32_t slot);
  bool isDrained(const Connection& connection) const;
  void takeWriteBox(bool behindHooks);
  void closeCorrupt(uint32_t slot, uint32_t generation);
  void writeNow(uint32_t slot, uint32_t generation, std::span<const uint8_t> bytes);
  // Between two replies, with nothing before it; and behind TLS nothing goes into the socket that has not been encrypted.
  static bool passesOutBuffer(const Connection& connection) {
    return connection.out.empty() && !connection.secure() && !connection.has(Connection::kHeadStarted);
  }
  size_t sendNow(uint32_t slot, Connection& connection, std::span<const uint8_t> bytes);
  void failedToSend(uint32_t slot, int error);
  static bool losesOutput(const Connection& connection) { return connection.extras && connection.extras->broken.outputLost; }
  void awaitRoom(uint32_t slot);
  OrderWindow& windowOf(Connection& connection);

  // reactor_secure.cc
  void receiveCipher(uint32_t slot);
  void takeCipher(uint32_t slot, std::span<const uint8_t> bytes);
  void endPlain(uint32_t slot);
  void emitEarlyCipher(uint32_t slot);
  void handPlain(uint32_t slot);
  bool mayHandPlain(const Connection& connection) const;
  void handPlainOfDirty();
  bool finishSecure(uint32_t slot);

  // reactor_stream.cc
  void finishHalf(uint32_t slot);

  // reactor_handover.cc
  void abandonTurn(const EventSink::Delivered& delivered);
  void closeHeld();
  bool framerIsLost(const Connection& connection) const;
  void retain(Connection& connection) {
    ++connection.held, ++heldTotal_;
    // It was cut before its connection stopped.
    if (connection.has(Connection::kPausedByOutput) && connection.extras) ++connection.extras->passes;
  }
  void retainItself(Connection& connection) { retain(connection), ++heldByThemselves_; }
  void release(uint32_t slot);
  void onMoved(Message& message);
  void onReleased(ConnectionId id);
  void forgetName(uint32_t slot);
  bool movesNow(const Connection& connection) const;
  void beginMove(uint32_t slot, uint32_t reactor);
  void askAgain();
  void moveQuiet();
  void moveOut(uint32_t slot, std::vector<uint8_t> state, bool hasState);
  void adoptMoved(Moved& moved);
  void dropMoved(const Moved& moved, CloseReason reason);
  void adoptAcceptor(Acceptor acceptor);
  void moveAcceptors(bool all);
  void forward(ConnectionId id, std::unique_ptr<Message> message);
  void retryEarly();
  uint32_t nextSibling();
  void emitRestore(uint32_t slot, std::vector<uint8_t> state, uint32_t flags);
  void keepUnseenStates();

  // reactor_aside.cc
  static size_t roomOf(const ListenerConfig& cfg);
  bool isFull() const;
  Aside& asideOf(uint32_t slot);
  bool comesBackHere(const ListenerConfig& cfg) const;
  void listAside(uint32_t slot);
  void lookAside();
  void setAside(uint32_t slot, FrameRef frame, bool runsHere);
  void onSetAside(SetAside& message);
  void endPermit(uint32_t slot, const Reply& reply);
  void dropAside(uint32_t slot);
  bool isPermitOld() const;
  bool mayLetGo(uint32_t slot, uint64_t key, bool isFull) const;
  void letGo(uint32_t slot);
  void letGoSome();

  // reactor_calls.cc
  void onCall(std::unique_ptr<Message> message);
  void onWaitingCalls();

  // reactor_publish.cc
  bool admitsPublication(uint32_t slot, size_t more) override { return admits(slot, more, Admits::kShared); }
  void sendShared(uint32_t slot, const SharedBytesRef& bytes, bool alone) override;
  void appendShared(uint32_t slot, const SharedBytesRef& bytes) override;

  // reactor_failure.cc
  void stopForFailure(uint32_t slot, CloseReason reason);
  void endFailed(uint32_t slot);
  void retractName(uint32_t slot);
  void endAsFailed(uint32_t slot, CloseReason reason);
  void endLost(uint32_t slot, uint64_t place, CloseReason reason);
  void failAt(uint32_t slot, uint64_t place, CloseReason reason);
  void sendLast(uint32_t slot);
  void sendLastOfAll();

  // reactor_close.cc
  void tellGone(uint32_t slot);
  void receiveToDiscard(uint32_t slot);
  void countDiscarded(uint32_t slot, size_t bytes);
  void closeNow(uint32_t slot, CloseReason reason, int error = 0);
  void maybeFinish(uint32_t slot) {
    if (table_.at(slot).has(Connection::kMayFinish)) finishWhenDone(slot);
  }
  void finishWhenDone(uint32_t slot);
  bool nothingInFlight(const Connection& connection) const;

  const EventSink* attachedSink_ = nullptr;  // never followed
  Epoll epoll_;
  Recycler& recycler_;
  TimerWheel wheel_;
  Acceptors acceptors_{epoll_};
  Clients clients_;
  uint32_t pipedAccepted_ = 0;  // of the table
  std::vector<Span> spans_;
  std::vector<uint32_t> pending_, closed_, expired_, ended_, moving_, untold_;
  std::vector<std::span<const uint8_t>> group_;
  TurnBudget outBudget_;  // of a turn, for output
  IncomingCalls calls_{*exchange_, batch_};
  HookPace pace_;                          // as many events as hooks have time for; who is read last may add kMaxFramesPerTurn
  uint64_t turnNs_ = 0;                    // when the turn began
  uint32_t rowsEach_ = kMaxFramesPerTurn;  // of one connection, in this turn
  uint64_t rowsBegun_ = 0;                 // of the batch at hand, when the first connection was handed back
  bool handedBack_ = false;                // something of it was
  bool pendingFirst_ = false;              // in this turn, what waits is cut before anything is received
  std::vector<uint32_t> untouched_;        // handed back before a hook had seen anything of it in this batch
  std::span<const epoll_event> events_;    // told by epoll and not looked at yet
  std::deque<std::pair<uint32_t, uint32_t>> due_;         // whose timers have expired: slot, generation
  std::vector<std::pair<uint32_t, uint32_t>> broken_;     // whose sockets have failed, and that are read: slot, generation
  std::vector<std::pair<uint32_t, uint32_t>> releasing_;  // whose order window has replies that may leave: slot, generation
  // Connections with frames that were set aside. How many of them are to be looked at, and what has been let go.
  struct Listed {
    uint32_t slot, generation;
    uint64_t ticket;
  };
  std::deque<Listed> asides_;
  uint64_t asideTicket_ = 0;
  size_t asideScan_ = 0;
  uint32_t permits_ = 0;
  uint64_t lastPermitMs_ = 0, permitLookAtMs_ = 0;  // when the last one was let go; when to look at the others, 0: not by time
  bool wasFull_ = false;
  uint64_t batchBytes_ = 0;                   // answered in this turn by frames that run here, and in nobody's sum yet
  size_t neededOfRest_ = 0, hintOfRest_ = 0;  // the framer's answer for the bytes behind the last whole frame
  uint64_t nextRun_ = 1;
  std::unique_ptr<Message> unfinished_;                // a batch of replies longer than one turn
  std::deque<std::pair<uint32_t, uint32_t>> stopped_;  // connections that wait for room in the queue: slot, generation
  std::deque<TaskRef> overflow_;                       // tasks of hooks that found the queue full
  std::vector<uint8_t> scratch_;                       // the buffer for pool-bound bytes
  const std::shared_ptr<WriteBox> writeBox_ = std::make_shared<WriteBox>();  // JS may hold it for longer
  uint64_t stallCheckAtMs_ = 0;
  uint32_t spreadNext_ = 0;
  bool waitsForQueue_ = false;
  uint32_t unwoken_ = 0;                                       // tasks queued in this turn that nobody has been woken for
  std::unordered_map<uint64_t, uint32_t> immigrants_;          // slots of connections born elsewhere, by id
  std::unordered_map<uint64_t, std::vector<uint8_t>> states_;  // state for the next thread, by id
  struct Resuming {
    uint32_t flags;
    std::vector<uint8_t> state;
  };
  std::unordered_map<uint64_t, Resuming> restoring_;  // data of rows that no hook has seen yet, by generation and slot
  std::vector<std::pair<ConnectionId, std::unique_ptr<Message>>> early_;  // for connections that are on their way here
  MemoryGuard memory_{*exchange_};
  uint64_t heldTotal_ = 0;
  uint64_t heldByThemselves_ = 0;  // of them: Connection::heldByItself
  uint32_t away_ = 0;              // slots that only keep a name
  uint32_t siblingNext_ = 0;
  bool relieving_ = false, holdsFresh_ = false, quiescing_ = false, retiring_ = false, abandoned_ = false;
  bool draining_ = false, drained_ = false;
  uint32_t lingerMs_ = kLingerMs;
  uint64_t requestsUntilMs_ = 0;                      // so long, who was accepted here may still send its request
  std::vector<std::pair<uint32_t, uint32_t>> fresh_;  // connections of which one is awaited: slot, generation
  // Frames that run here.
  std::unique_ptr<InlineBox> box_;
  struct Kept {
    uint32_t slot, generation;
    TaskRef task;
  };
  std::vector<Kept> kept_;  // frames whose thread died before it had begun them
  CostSampler sampler_;
  uint64_t inlineLeftNs_ = 0;  // of this turn
  uint32_t measuredKey_ = 0, measuredRuns_ = 0;
  bool watchesGone_ = false;
  std::atomic<bool> endedForTime_{false};
  uint32_t seenRunning_ = 0;      // what the supervisor last saw of the box,
  uint64_t seenRunningAtNs_ = 0;  // and when that was new
  bool handingOver_ = false;      // from quiesce() to the next thread
  Subscribers subscribers_{*this, *this};
};

}  // namespace mr
