// The topics of one reactor that have subscribers, and how far it has got with what was published. Knows no sockets.
#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/keyed_hash.h"
#include "exchange/publications.h"
#include "reactor/subscription.h"

namespace mr {

class Topics {
 public:
  explicit Topics(uint64_t last) : taken(last) {}

  Topic* find(std::string_view name) {
    const auto found = byName_.find(name);
    return found == byName_.end() ? nullptr : &found->second;
  }
  Topic& open(std::string_view name) {
    const auto [at, isNew] = byName_.try_emplace(std::string(name));
    if (isNew) at->second.name = &at->first;
    return at->second;
  }
  void enter(Topic& topic, Subscription& subscription) {
    subscription.topic = &topic;
    subscription.place = static_cast<uint32_t>(topic.subscribers.size());
    topic.subscribers.push_back(&subscription);
  }
  // The last one takes the place. Whoever walks through the subscribers goes from the end to the front, so that it has seen that
  // one already.
  void leave(const Subscription& subscription) {
    Topic& topic = *subscription.topic;
    Subscription* last = topic.subscribers.back();
    topic.subscribers[subscription.place] = last;
    last->place = subscription.place;
    topic.subscribers.pop_back();
    if (!topic.subscribers.empty()) return;
    if (&topic == current) current = nullptr;
    byName_.erase(byName_.find(*topic.name));
  }
  bool empty() const { return byName_.empty(); }

  // The number up to which a subscriber that comes or goes now has been served, but for those it has `seen` itself.
  uint64_t served() const { return waiting.empty() ? taken : waiting.front()->number - 1; }

  std::deque<PublicationRef> waiting;  // taken from the list; the front one may have been begun
  uint64_t taken;                      // number of the last taken one
  bool begun = false;
  Topic* current = nullptr;  // of the begun one; null when all of its subscribers have gone
  size_t left = 0;           // subscribers of it that it has not come to

 private:
  std::unordered_map<std::string, Topic, KeyedHash, std::equal_to<>> byName_;
};

}  // namespace mr
