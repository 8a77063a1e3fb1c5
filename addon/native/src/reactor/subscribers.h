// The subscribers of one reactor, and the way of each publication from the list of all to them. What it decides to deliver, the
// loop puts out.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fifo.h"
#include "base/shared_bytes.h"
#include "reactor/reactor_core.h"
#include "reactor/subscription.h"

namespace mr {

class Topics;

// The way out, of the loop.
class PublicationOutput {
 public:
  virtual ~PublicationOutput() = default;
  // False: the connection has closed, since it would hold too much.
  virtual bool admitsPublication(uint32_t slot, size_t more) = 0;
  // `alone`: no other one follows in this turn, so that it need not lie anywhere in between.
  virtual void sendShared(uint32_t slot, const SharedBytesRef& bytes, bool alone) = 0;
  // Between two replies, never inside one.
  virtual void appendShared(uint32_t slot, const SharedBytesRef& bytes) = 0;
};

class Subscribers {
 public:
  Subscribers(ReactorCore& core, PublicationOutput& output);
  ~Subscribers();

  enum class Subscribed : uint8_t { kGone, kDone, kAlready, kTooMany, kTooLong };
  Subscribed subscribe(uint32_t slot, uint32_t generation, std::string_view topic, SlowPolicy policy);
  bool unsubscribe(uint32_t slot, uint32_t generation, std::string_view topic);
  std::vector<std::string> names(uint32_t slot, uint32_t generation);
  void drop(Connection& connection);  // all of its subscriptions

  // As Reactor::publishHere().
  std::optional<uint64_t> publish(std::string_view topic, SharedBytesRef bytes, SharedBytesRef deflated, uint8_t windowBits);
  bool hasWork() const;
  // One turn's share. True when there is more to do.
  bool deliver();
  // Nobody subscribes any more, and deliver() has still to say so of what it has taken.
  bool hasOnlyRests() const;
  // There is room for the waiting publications of a connection.
  void releaseLatest(uint32_t slot);

  // --- on the way to a sibling ---
  struct Packed {
    std::vector<MovedSubscription> subscriptions;
    std::unique_ptr<Fifo<PublicationRef>> missed;  // publications missed on its last way and not delivered yet
  };
  void pack(uint32_t slot, Packed* packed);
  void unpack(uint32_t slot, Packed& packed);

 private:
  static constexpr uint32_t kMaxDeliveriesPerTurn = 256;  // of publications to subscribers
  static constexpr uint32_t kMaxSpreadPerTurn = 2048;     // publications looked at, subscribers that fall behind
  static constexpr uint32_t kMostBehindAtOnce = 8;        // publications to one connection before it is another's turn
  static constexpr size_t kPublicationsAtOnce = 256;      // taken from the list that all reactors share

  Subscription& enterTopic(uint32_t slot, std::string_view name, SlowPolicy policy);
  void leaveTopic(const Subscription& subscription);
  void spread(uint32_t* budget);
  void fallBehind(Subscription& subscription, uint64_t number);
  void queueBehind(uint32_t slot);
  void serveBehind(uint32_t* budget);
  void deliverNext(uint32_t slot);
  void finish();
  const SharedBytesRef& formFor(const Connection& connection, const Publication& publication) const;
  bool deliverTo(Subscription& subscription, const Publication& publication, bool alone);

  ReactorCore& core_;
  PublicationOutput& output_;
  std::unique_ptr<Topics> topics_;  // null while nobody has subscribed to anything
};

}  // namespace mr
