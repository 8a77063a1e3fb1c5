// Subscriptions from both sides: topics with their subscribers and connections with their subscriptions.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/fifo.h"
#include "base/shared_bytes.h"
#include "exchange/publications.h"

namespace mr {

// The fate of a publication for a connection that does not read.
enum class SlowPolicy : uint8_t {
  kClose,   // it is kept, up to outBuffer.max, where the connection closes as slow-consumer
  kDrop,    // it is not sent
  kLatest,  // the newest one of the topic is sent when there is room
};

struct Subscription;

struct Topic {
  struct Waiting {
    PublicationRef publication;
    uint32_t subscribers = 0;  // whose next one it is, and one more while it is being spread
  };
  const std::string* name = nullptr;       // the key of the table it lies in
  uint64_t opened = 0;                     // number of the last publication without a subscriber here
  std::vector<Subscription*> subscribers;  // first those that lack some of the backlog, then those that have all that was spread
  uint32_t behind = 0;                     // how many lack some
  Fifo<Waiting> backlog;                   // publications that a subscriber lacks
  uint64_t first = 0;                      // how many have left the backlog
  Subscription* payer = nullptr;           // the connection whose memory the topic counts as
};

// Of one connection to one topic. Belongs to the connection, and never moves in memory.
struct Subscription {
  Topic* topic = nullptr;
  uint32_t slot = 0;
  uint32_t place = 0;  // among the topic's subscribers
  uint64_t seen = 0;   // number of the last publication that was or need not be delivered
  uint64_t next = 0;   // of the topic's backlog: `first` + place of the one it lacks, when it is behind
  SlowPolicy policy = SlowPolicy::kClose;
  SharedBytesRef latest;  // waits for room
  bool isBehind() const { return place < topic->behind; }
};

struct Subscriptions {
  std::unordered_map<const Topic*, Subscription> all;
  size_t latestBytes = 0;
  size_t nameBytes = 0;  // of all topics
  size_t heldBytes = 0;  // memory: the subscriptions, and the topics that it pays for
  // Publications it has not got yet, oldest first: those missed on its way here, then the next of each topic that it is behind
  // in, by number. While there is any, nothing else goes to it.
  std::unique_ptr<Fifo<PublicationRef>> missed;
  std::map<uint64_t, Subscription*> behind;
  bool queued = false;  // among those that a turn serves
  bool isBehind() const { return missed || !behind.empty(); }
};

// A subscription on its way to a sibling.
struct MovedSubscription {
  std::string topic;
  uint64_t seen;
  SlowPolicy policy;
  SharedBytesRef latest;
  PublicationList::Pin pin;  // keeps the publications meanwhile
};

}  // namespace mr
