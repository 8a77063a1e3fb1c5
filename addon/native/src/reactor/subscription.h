// Who has subscribed to what: the two sides of it, topics with their subscribers and connections with their subscriptions.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/shared_bytes.h"

namespace mr {

// What becomes of a publication for a connection that does not take what it has got already.
enum class SlowPolicy : uint8_t {
  kClose,   // it is kept, up to outBuffer.max, where the connection closes as slow-consumer
  kDrop,    // it is not sent
  kLatest,  // the newest one of the topic is sent when there is room
};

struct Subscription;

struct Topic {
  const std::string* name = nullptr;  // the key of the table it lies in
  std::vector<Subscription*> subscribers;
};

// Of one connection to one topic. Belongs to the connection, and never moves in memory.
struct Subscription {
  Topic* topic = nullptr;
  uint32_t slot = 0;
  uint32_t place = 0;  // among the topic's subscribers
  uint64_t seen = 0;   // number of the last publication that was or need not be delivered
  SlowPolicy policy = SlowPolicy::kClose;
  SharedBytesRef latest;  // waits for room
};

struct Subscriptions {
  std::unordered_map<const Topic*, Subscription> all;
  size_t latestBytes = 0;
};

// A subscription on its way to a sibling.
struct MovedSubscription {
  std::string topic;
  uint64_t seen;
  SlowPolicy policy;
  SharedBytesRef latest;
};

}  // namespace mr
