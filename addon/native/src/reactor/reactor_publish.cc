// Publications: from the list of all to the out buffers of those who have subscribed here.
#include <algorithm>

#include "reactor/moved.h"
#include "reactor/reactor.h"
#include "reactor/topics.h"

namespace mr {

// ---------------------------------------------------------------- subscribing

Topics& Reactor::joinedTopics() {
  if (!topics_) topics_ = std::make_unique<Topics>(exchange_->publications().join(index_));
  return *topics_;
}

Reactor::Subscribed Reactor::subscribe(uint32_t slot, uint32_t generation, std::string_view topic, SlowPolicy policy) {
  Connection* connection = find(slot, generation);
  if (!connection || connection->has(Connection::kEndSaid)) return Subscribed::kGone;
  Topic* known = topics_ ? topics_->find(topic) : nullptr;
  if (known && connection->subscriptions()) {
    const auto found = connection->subscriptions()->all.find(known);
    if (found != connection->subscriptions()->all.end()) {
      found->second.policy = policy;
      return Subscribed::kAlready;
    }
  }
  if (connection->subscriptions() && connection->subscriptions()->all.size() >= config(*connection).maxSubscriptions) {
    return Subscribed::kTooMany;
  }
  // What was published before this is not for it.
  const uint64_t last = exchange_->publications().last();
  enterTopic(slot, topic, policy).seen = last;
  return Subscribed::kDone;
}

Subscription& Reactor::enterTopic(uint32_t slot, std::string_view topic, SlowPolicy policy) {
  Connection& connection = table_.at(slot);
  if (!connection.subscriptions()) connection.needExtras().subscriptions = std::make_unique<Subscriptions>();
  Topics& topics = joinedTopics();
  Topic& opened = topics.open(topic);
  Subscription& subscription = connection.subscriptions()->all[&opened];
  subscription.slot = slot;
  subscription.policy = policy;
  topics.enter(opened, subscription);
  counters_.subscriptions.add(1);
  return subscription;
}

bool Reactor::unsubscribe(uint32_t slot, uint32_t generation, std::string_view topic) {
  Connection* connection = find(slot, generation);
  Topic* known = connection && connection->subscriptions() && topics_ ? topics_->find(topic) : nullptr;
  if (!known) return false;
  Subscriptions& subscriptions = *connection->subscriptions();
  const auto found = subscriptions.all.find(known);
  if (found == subscriptions.all.end()) return false;
  subscriptions.latestBytes -= found->second.latest.size();
  topics_->leave(found->second);
  subscriptions.all.erase(found);
  counters_.subscriptions.sub(1);
  if (subscriptions.all.empty()) connection->extras->subscriptions.reset();
  return true;
}

std::vector<std::string> Reactor::subscriptions(uint32_t slot, uint32_t generation) {
  std::vector<std::string> names;
  const Connection* connection = find(slot, generation);
  if (!connection || !connection->subscriptions()) return names;
  for (const auto& [topic, subscription] : connection->subscriptions()->all) names.push_back(*topic->name);
  return names;
}

void Reactor::dropSubscriptions(Connection& connection) {
  if (!connection.subscriptions()) return;
  for (const auto& [topic, subscription] : connection.subscriptions()->all) topics_->leave(subscription);
  counters_.subscriptions.sub(connection.subscriptions()->all.size());
  connection.extras->subscriptions.reset();
}

// ---------------------------------------------------------------- publishing

std::optional<uint64_t> Reactor::publishHere(std::string_view topic, std::span<const uint8_t> bytes) {
  owner_.assertCurrent(__func__);
  auto publication = std::make_shared<Publication>();
  publication->topic = topic;
  publication->bytes = SharedBytesRef::copyOf(bytes);
  if (exchange_->publish(publication) == Exchange::Publishing::kFull) return std::nullopt;
  const Topic* known = topics_ ? topics_->find(topic) : nullptr;
  return known ? known->subscribers.size() : 0;
}

bool Reactor::hasPublications() const {
  return topics_ && (!topics_->waiting.empty() || topics_->taken != exchange_->publications().last());
}

// True when there is more to do.
bool Reactor::deliverPublications() {
  if (!topics_) return false;
  PublicationList& list = exchange_->publications();
  Topics& topics = *topics_;
  uint32_t budget = kMaxDeliveriesPerTurn;
  uint64_t handled = 0;
  while (budget != 0) {
    if (topics.waiting.empty()) {
      list.take(topics.taken, kPublicationsAtOnce, &topics.waiting);
      if (topics.waiting.empty()) break;
      topics.taken = topics.waiting.back()->number;
    }
    const PublicationRef publication = topics.waiting.front();
    if (!deliverSome(*publication, &budget)) break;
    handled = publication->number;
    topics.waiting.pop_front();
    topics.begun = false;
    exchange_->finishPublication(*publication);
  }
  if (handled != 0) list.handled(index_, handled);
  if (!topics.waiting.empty()) return true;
  if (topics.empty() && list.leave(index_)) topics_.reset();
  return hasPublications();
}

// True when every subscriber has it.
bool Reactor::deliverSome(Publication& publication, uint32_t* budget) {
  Topics& topics = *topics_;
  if (!topics.begun) {
    topics.begun = true;
    topics.current = topics.find(publication.topic);
    topics.left = topics.current ? topics.current->subscribers.size() : 0;
    if (*budget != 0) --*budget;
  }
  // Several in one turn leave together; most come alone, and need not lie anywhere in between.
  const bool alone = topics.waiting.size() == 1 && topics.taken == exchange_->publications().last();
  uint64_t reached = 0;
  while (topics.current && topics.left != 0 && *budget != 0) {
    // Some of them may have gone since the last turn.
    topics.left = std::min(topics.left, topics.current->subscribers.size());
    Subscription& subscription = *topics.current->subscribers[--topics.left];
    if (subscription.seen >= publication.number) continue;
    --*budget;
    subscription.seen = publication.number;
    if (deliverTo(subscription, publication.bytes, alone)) ++reached;
  }
  if (reached != 0) publication.reached.fetch_add(reached, std::memory_order_relaxed);
  return !topics.current || topics.left == 0;
}

// Whether it reached the subscriber, or is kept for it.
bool Reactor::deliverTo(Subscription& subscription, const SharedBytesRef& bytes, bool alone) {
  constexpr uint32_t kGoes = Connection::kEnding | Connection::kEndSaid | Connection::kDraining | Connection::kFinSent;
  const uint32_t slot = subscription.slot;
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid() || connection.has(kGoes)) return false;
  const size_t waiting = connection.waitingBytes();
  // One that waits for room must not be overtaken.
  const bool isSlow = subscription.latest || (waiting != 0 && waiting + bytes.size() > config(connection).outHighBytes);
  if (isSlow && subscription.policy == SlowPolicy::kDrop) {
    counters_.publicationsDropped.add(1);
    return false;
  }
  const size_t replaced = isSlow && subscription.policy == SlowPolicy::kLatest ? subscription.latest.size() : 0;
  if (waiting - replaced + bytes.size() > config(connection).outMaxBytes) {
    closeNow(slot, CloseReason::kSlowConsumer);
    return false;
  }
  if (isSlow && subscription.policy == SlowPolicy::kLatest) {
    if (subscription.latest) counters_.publicationsDropped.add(1);
    connection.subscriptions()->latestBytes += bytes.size() - replaced;
    subscription.latest = bytes;
    return true;
  }
  // Its policy was 'latest' a moment ago.
  if (subscription.latest) releaseLatest(slot);
  if (alone && passesOutBuffer(connection)) {
    sendShared(slot, bytes);
  } else {
    appendShared(slot, bytes);
  }
  return true;
}

void Reactor::sendShared(uint32_t slot, const SharedBytesRef& bytes) {
  Connection& connection = table_.at(slot);
  counters_.publications.add(1);
  const size_t left = sendNow(slot, bytes.span());
  if (!connection.fd.valid() || left == bytes.size()) return;
  connection.out.append(bytes, left);
  account(slot);
  if (connection.waitingBytes() > config(connection).outHighBytes) markPausedByOutput(slot);
  awaitRoom(slot);
}

// Between two replies, never inside one.
void Reactor::appendShared(uint32_t slot, const SharedBytesRef& bytes) {
  Connection& connection = table_.at(slot);
  counters_.publications.add(1);
  if (connection.has(Connection::kHeadStarted)) {
    auto& between = windowOf(connection).between;
    const auto all = bytes.span();
    between.insert(between.end(), all.begin(), all.end());
    return account(slot);
  }
  connection.out.append(bytes);
  markDirty(slot);
  if (connection.waitingBytes() > config(connection).outHighBytes) markPausedByOutput(slot);
}

// There is room for what has waited.
void Reactor::releaseLatest(uint32_t slot) {
  Subscriptions& subscriptions = *table_.at(slot).subscriptions();
  for (auto& [topic, subscription] : subscriptions.all) {
    if (!subscription.latest) continue;
    const SharedBytesRef bytes = std::move(subscription.latest);
    subscription.latest = {};
    appendShared(slot, bytes);
  }
  subscriptions.latestBytes = 0;
}

// ---------------------------------------------------------------- from one reactor to another

void Reactor::packSubscriptions(uint32_t slot, Moved* moved) {
  Connection& connection = table_.at(slot);
  if (!connection.subscriptions()) return;
  const uint64_t served = topics_->served();
  uint64_t least = UINT64_MAX;
  for (auto& [topic, subscription] : connection.subscriptions()->all) {
    const uint64_t seen = std::max(subscription.seen, served);
    least = std::min(least, seen);
    moved->subscriptions.push_back({*topic->name, seen, subscription.policy, std::move(subscription.latest)});
  }
  moved->pin = PublicationList::Pin(exchange_->publications(), least);
  dropSubscriptions(connection);
}

// What this reactor has handled and the one before has not is delivered now; of what it has not handled yet, that which the one
// before has is passed over.
void Reactor::unpackSubscriptions(uint32_t slot, Moved& moved) {
  for (MovedSubscription& one : moved.subscriptions) {
    Subscription& subscription = enterTopic(slot, one.topic, one.policy);
    Connection& connection = table_.at(slot);
    subscription.latest = std::move(one.latest);
    connection.subscriptions()->latestBytes += subscription.latest.size();
    const uint64_t upTo = topics_->served() + (topics_->begun ? 1 : 0);
    subscription.seen = std::max(one.seen, upTo);
    if (upTo <= one.seen) continue;
    for (const PublicationRef& missed : exchange_->publications().between(one.topic, one.seen, upTo)) {
      if (deliverTo(subscription, missed->bytes, false)) missed->reached.fetch_add(1, std::memory_order_relaxed);
      if (!table_.at(slot).fd.valid()) return;
    }
  }
  moved.pin = {};
  // It was waiting for room, and nothing else may be under way that makes it look.
  if (table_.at(slot).subscriptions() && table_.at(slot).subscriptions()->latestBytes != 0) markDirty(slot);
}

}  // namespace mr
