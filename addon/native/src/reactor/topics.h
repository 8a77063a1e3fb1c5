// The topics of one reactor that have subscribers, and the progress of each with its publications. Knows no sockets.
//
// Publications are spread one after the other, in the order of their numbers: each subscriber gets it at once, or falls behind.
// Publications for a subscriber that is behind stay in the backlog of its topic, and it takes one after the other from there when
// it is its turn; to spread one more publication over those that are behind already costs nothing. So a topic in flood costs
// others the time to spread it, and not the time to deliver it.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "base/keyed_hash.h"
#include "exchange/publications.h"
#include "reactor/subscription.h"

namespace mr {

class Topics {
 public:
  Topic* find(std::string_view name) {
    const auto found = byName_.find(name);
    return found == byName_.end() ? nullptr : &found->second;
  }
  // A topic without a name is new.
  Topic& open(std::string_view name) {
    if (Topic* known = find(name)) return *known;
    const auto at = byName_.try_emplace(std::string(name)).first;
    at->second.name = &at->first;
    return at->second;
  }
  void enter(Topic& topic, Subscription& subscription) {
    subscription.topic = &topic;
    subscription.place = static_cast<uint32_t>(topic.subscribers.size());
    topic.subscribers.push_back(&subscription);
  }
  // The name of the topic, when that was its last subscriber.
  std::optional<std::string> leave(const Subscription& subscription) {
    Topic& topic = *subscription.topic;
    if (subscription.isBehind()) {
      --waitingFor(subscription).subscribers;
      swapPlaces(topic, subscription.place, --topic.behind);
    }
    // A served subscriber goes from the end to the front: the last one has had it, or comes to stand before those to come.
    swapPlaces(topic, subscription.place, static_cast<uint32_t>(topic.subscribers.size() - 1));
    topic.subscribers.pop_back();
    trim(topic);
    if (!topic.subscribers.empty()) {
      if (&topic == topic_) left_ = std::min(left_, topic.subscribers.size());
      return std::nullopt;
    }
    for (; !topic.backlog.empty(); topic.backlog.pop_front()) done.push_back(std::move(topic.backlog.front().publication));
    if (&topic == topic_) topic_ = nullptr;
    return std::move(byName_.extract(byName_.find(*topic.name)).key());
  }
  bool empty() const { return byName_.empty(); }

  // --- spreading ---
  bool spreads() const { return current_ != nullptr; }
  const PublicationRef& current() const { return current_; }
  void begin() {
    current_ = std::move(incoming.front());
    incoming.pop_front();
    topic_ = find(current_->topic);
    if (topic_ && current_->number <= topic_->opened) topic_ = nullptr;
    left_ = topic_ ? topic_->subscribers.size() : 0;
    inBacklog_ = false;
    if (topic_ && topic_->behind != 0) intoBacklog();
  }
  // The next one that does not lack anything, or null: all have it or are behind.
  Subscription* next() { return topic_ && left_ > topic_->behind ? topic_->subscribers[left_ - 1] : nullptr; }
  void pass() { --left_; }  // it gets it, or need not
  // It will get it later: it comes to stand among those that are behind.
  void fallBehind(Subscription& subscription) {
    if (!inBacklog_) intoBacklog();
    subscription.next = topic_->first + topic_->backlog.size() - 1;
    ++topic_->backlog.back().subscribers;
    swapPlaces(*topic_, subscription.place, topic_->behind++);
  }
  void end() {
    spreadUpTo_ = current_->number;
    if (!inBacklog_) {
      done.push_back(std::move(current_));
    } else if (topic_) {
      --topic_->backlog.back().subscribers;
      trim(*topic_);
    }
    current_ = nullptr;
    topic_ = nullptr;
  }

  // --- those that are behind ---
  const PublicationRef& lacks(const Subscription& subscription) { return waitingFor(subscription).publication; }
  // It has got that. Whether it is still behind.
  bool advance(Subscription& subscription) {
    Topic& topic = *subscription.topic;
    --waitingFor(subscription).subscribers;
    ++subscription.next;
    const bool still = subscription.next - topic.first < topic.backlog.size();
    if (still) {
      ++waitingFor(subscription).subscribers;
    } else {
      swapPlaces(topic, subscription.place, --topic.behind);
    }
    trim(topic);
    return still;
  }

  // The number up to which a subscriber that is not behind has been served.
  uint64_t served(const Subscription& subscription) const {
    return std::max(subscription.seen, current_ ? current_->number - 1 : spreadUpTo_);
  }

  std::deque<PublicationRef> incoming;  // taken from the list
  std::vector<PublicationRef> done;     // this reactor has come to their end, and has not said so
  std::deque<uint64_t> fresh, late;     // connections that are behind: generation and slot. Fresh ones have not had a turn yet
  bool lateNext = false;                // the two take turns

 private:
  Topic::Waiting& waitingFor(const Subscription& subscription) {
    return subscription.topic->backlog[subscription.next - subscription.topic->first];
  }
  void intoBacklog() {
    topic_->backlog.push_back({current_, 1});
    inBacklog_ = true;
  }
  void trim(Topic& topic) {
    for (; !topic.backlog.empty() && topic.backlog.front().subscribers == 0; ++topic.first) {
      done.push_back(std::move(topic.backlog.front().publication));
      topic.backlog.pop_front();
    }
  }
  static void swapPlaces(Topic& topic, uint32_t a, uint32_t b) {
    std::swap(topic.subscribers[a], topic.subscribers[b]);
    topic.subscribers[a]->place = a;
    topic.subscribers[b]->place = b;
  }

  std::unordered_map<std::string, Topic, KeyedHash, std::equal_to<>> byName_;
  // The publication that is being spread:
  PublicationRef current_;
  Topic* topic_ = nullptr;  // null when all of its subscribers have gone
  size_t left_ = 0;         // places that it has not come to
  bool inBacklog_ = false;
  uint64_t spreadUpTo_ = 0;

 public:
  // The memory of a topic and of a subscription, as the allocator hands it out.
  static size_t topicBytes(std::string_view name) {
    constexpr size_t kNodes = sizeof(decltype(byName_)::value_type) + 2 * sizeof(void*);  // and the hash
    constexpr size_t kInString = 15;
    const size_t text = name.size() > kInString ? 2 * (name.size() + kAllocator) : 0;
    return kNodes + PublicationList::topicBytes() + 4 * kAllocator + 4 * sizeof(void*) + text;
  }
  static size_t subscriptionBytes() {
    return sizeof(std::pair<const Topic* const, Subscription>) + kAllocator + 4 * sizeof(void*);
  }

 private:
  static constexpr size_t kAllocator = 16;  // around each piece of memory, on average
};

}  // namespace mr
