// Publications: from the list of all to the out buffers of the subscribers here.
#include <algorithm>

#include "reactor/moved.h"
#include "reactor/reactor.h"
#include "reactor/topics.h"

namespace mr {

// ---------------------------------------------------------------- subscribing

Reactor::Subscribed Reactor::subscribe(uint32_t slot, uint32_t generation, std::string_view topic, SlowPolicy policy) {
  Connection* connection = find(slot, generation);
  if (!connection || !isOwnedByHooks(*connection)) return Subscribed::kGone;
  Topic* known = topics_ ? topics_->find(topic) : nullptr;
  const Subscriptions* subscriptions = connection->subscriptions();
  if (known && subscriptions) {
    const auto found = connection->subscriptions()->all.find(known);
    if (found != subscriptions->all.end()) {
      found->second.policy = policy;
      return Subscribed::kAlready;
    }
  }
  const ListenerConfig& cfg = config(*connection);
  if ((subscriptions ? subscriptions->all.size() : 0) >= cfg.maxSubscriptions) return Subscribed::kTooMany;
  if ((subscriptions ? subscriptions->nameBytes : 0) + topic.size() > cfg.maxSubscriptionBytes) return Subscribed::kTooLong;
  Subscription& fresh = enterTopic(slot, topic, policy);
  // Earlier publications are not for it.
  fresh.seen = exchange_->publications().last();
  return Subscribed::kDone;
}

Subscription& Reactor::enterTopic(uint32_t slot, std::string_view name, SlowPolicy policy) {
  Connection& connection = table_.at(slot);
  if (!connection.subscriptions()) connection.needExtras().subscriptions = std::make_unique<Subscriptions>();
  if (!topics_) topics_ = std::make_unique<Topics>();
  Subscriptions& subscriptions = *connection.subscriptions();
  Topic& topic = topics_->open(name);
  Subscription& subscription = subscriptions.all[&topic];
  subscription.slot = slot;
  subscription.policy = policy;
  topics_->enter(topic, subscription);
  subscriptions.nameBytes += name.size();
  subscriptions.heldBytes += Topics::subscriptionBytes();
  if (!topic.payer) {
    PublicationList& list = exchange_->publications();
    list.join(name, index_);
    topic.opened = list.last();
    topic.payer = &subscription;
    subscriptions.heldBytes += Topics::topicBytes(name);
  }
  account(slot);
  counters_.subscriptions.add(1);
  return subscription;
}

// The memory of a topic counts as that of one of its subscribers, so that the sum is right and the client that invents names pays
// for them.
void Reactor::leaveTopic(const Subscription& subscription) {
  Topic& topic = *subscription.topic;
  const bool paid = topic.payer == &subscription;
  const auto name = topics_->leave(subscription);
  if (name) return exchange_->publications().leave(*name, index_);
  if (!paid) return;
  topic.payer = topic.subscribers.front();
  table_.at(topic.payer->slot).subscriptions()->heldBytes += Topics::topicBytes(*topic.name);
  account(topic.payer->slot);
}

bool Reactor::unsubscribe(uint32_t slot, uint32_t generation, std::string_view topic) {
  Connection* connection = find(slot, generation);
  Topic* known = connection && connection->subscriptions() && topics_ ? topics_->find(topic) : nullptr;
  if (!known) return false;
  Subscriptions& subscriptions = *connection->subscriptions();
  const auto found = subscriptions.all.find(known);
  if (found == subscriptions.all.end()) return false;
  const Subscription& subscription = found->second;
  subscriptions.latestBytes -= subscription.latest.size();
  subscriptions.nameBytes -= topic.size();
  subscriptions.heldBytes -= Topics::subscriptionBytes() + (known->payer == &subscription ? Topics::topicBytes(topic) : 0);
  if (subscription.isBehind()) subscriptions.behind.erase(topics_->lacks(subscription)->number);
  leaveTopic(subscription);
  subscriptions.all.erase(found);
  counters_.subscriptions.sub(1);
  if (subscriptions.all.empty()) connection->extras->subscriptions.reset();
  account(slot);
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
  for (const auto& [topic, subscription] : connection.subscriptions()->all) leaveTopic(subscription);
  counters_.subscriptions.sub(connection.subscriptions()->all.size());
  connection.extras->subscriptions.reset();
}

// ---------------------------------------------------------------- publishing

std::optional<uint64_t> Reactor::publishHere(std::string_view topic, SharedBytesRef bytes, SharedBytesRef deflated,
                                             uint8_t windowBits) {
  owner_.assertCurrent(__func__);
  auto publication = std::make_shared<Publication>();
  publication->topic = topic;
  publication->bytes = std::move(bytes);
  publication->deflated = std::move(deflated);
  publication->windowBits = windowBits;
  if (exchange_->publish(publication) == Exchange::Publishing::kFull) return std::nullopt;
  const Topic* known = topics_ ? topics_->find(topic) : nullptr;
  return known ? known->subscribers.size() : 0;
}

bool Reactor::hasPublications() const {
  if (!topics_) return false;
  const Topics& topics = *topics_;
  return topics.spreads() || !topics.incoming.empty() || !topics.fresh.empty() || !topics.late.empty() ||
         exchange_->publications().hasFor(index_);
}

// True when there is more to do. Half of a turn is for those that are behind, half for new publications; the unused part of one
// of the two goes to the other.
bool Reactor::deliverPublications() {
  if (!topics_) return false;
  uint32_t budget = kMaxDeliveriesPerTurn / 2;
  serveBehind(&budget);
  budget += kMaxDeliveriesPerTurn / 2;
  spreadPublications(&budget);
  serveBehind(&budget);
  finishPublications();
  if (topics_->empty() && !hasPublications()) topics_.reset();
  return hasPublications();
}

// Each subscriber gets it now, or falls behind.
void Reactor::spreadPublications(uint32_t* budget) {
  PublicationList& list = exchange_->publications();
  Topics& topics = *topics_;
  uint32_t steps = kMaxSpreadPerTurn;
  while (steps != 0) {
    if (!topics.spreads()) {
      if (topics.incoming.empty()) list.take(index_, kPublicationsAtOnce, &topics.incoming);
      if (topics.incoming.empty()) return;
      topics.begin();
      --steps;
    }
    const Publication& publication = *topics.current();
    const uint64_t number = publication.number;
    // Several in one turn leave together; most come alone, and need not lie anywhere in between.
    const bool alone = topics.incoming.empty() && !list.hasFor(index_);
    uint64_t reached = 0;
    Subscription* next;
    while ((next = topics.next()) != nullptr) {
      if (next->seen >= number) {
        topics.pass();
        if (steps != 0) --steps;
      } else if (*budget != 0 && budget_.left() && !table_.at(next->slot).subscriptions()->isBehind()) {
        --*budget;
        next->seen = number;
        topics.pass();
        if (deliverTo(*next, publication, alone)) ++reached;
      } else {
        if (steps == 0) break;
        --steps;
        fallBehind(*next, number);
      }
    }
    if (reached != 0) topics.current()->reached.fetch_add(reached, std::memory_order_relaxed);
    if (next) return;
    topics.end();
  }
}

void Reactor::fallBehind(Subscription& subscription, uint64_t number) {
  topics_->fallBehind(subscription);
  table_.at(subscription.slot).subscriptions()->behind.emplace(number, &subscription);
  queueBehind(subscription.slot);
}

void Reactor::queueBehind(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (std::exchange(connection.subscriptions()->queued, true)) return;
  topics_->fresh.push_back(uint64_t{connection.generation} << 32 | slot);
}

// Connections take turns, so that each waits for the others' next few publications and not for all that they lack. One that has
// just fallen behind need not wait for all those that have long been so.
void Reactor::serveBehind(uint32_t* budget) {
  Topics& topics = *topics_;
  while (*budget != 0 && budget_.left() && !(topics.fresh.empty() && topics.late.empty())) {
    auto& queue = topics.late.empty() || (!topics.lateNext && !topics.fresh.empty()) ? topics.fresh : topics.late;
    topics.lateNext = &queue == &topics.fresh;
    const uint64_t token = queue.front();
    queue.pop_front();
    const auto slot = static_cast<uint32_t>(token);
    const Connection* connection = table_.find(slot, static_cast<uint32_t>(token >> 32));
    if (!connection || !connection->fd.valid() || !connection->subscriptions()) continue;
    for (uint32_t i = 0; i < kMostBehindAtOnce && *budget != 0 && budget_.left(); ++i) {
      if (!connection->subscriptions() || !connection->subscriptions()->isBehind()) break;
      --*budget;
      deliverNext(slot);
    }
    Subscriptions* subscriptions = connection->subscriptions();
    if (!subscriptions) continue;
    if (subscriptions->isBehind()) {
      topics.late.push_back(token);
    } else {
      subscriptions->queued = false;
    }
  }
}

// Delivers the oldest publication that it lacks.
void Reactor::deliverNext(uint32_t slot) {
  Subscriptions& subscriptions = *table_.at(slot).subscriptions();
  if (subscriptions.missed) {
    const PublicationRef publication = std::move(subscriptions.missed->front());
    subscriptions.missed->pop_front();
    if (subscriptions.missed->empty()) subscriptions.missed.reset();
    Topic* topic = topics_->find(publication->topic);
    const auto found = topic ? subscriptions.all.find(topic) : subscriptions.all.end();
    if (found == subscriptions.all.end()) return;
    if (deliverTo(found->second, *publication, false)) publication->reached.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  auto node = subscriptions.behind.extract(subscriptions.behind.begin());
  Subscription& subscription = *node.mapped();
  const PublicationRef publication = topics_->lacks(subscription);
  subscription.seen = publication->number;
  if (deliverTo(subscription, *publication, false)) publication->reached.fetch_add(1, std::memory_order_relaxed);
  if (!table_.at(slot).subscriptions()) return;  // it has closed
  if (!topics_->advance(subscription)) return;
  node.key() = topics_->lacks(subscription)->number;
  subscriptions.behind.insert(std::move(node));
}

void Reactor::finishPublications() {
  std::vector<PublicationRef> finished;
  for (PublicationRef& publication : topics_->done) {
    if (exchange_->finishPublication(*publication)) finished.push_back(std::move(publication));
  }
  topics_->done.clear();
  if (!finished.empty()) exchange_->publications().drop(finished);
}

// A peer whose window is too small for the compressed form gets the other one, which it may get at any time.
const SharedBytesRef& Reactor::formFor(const Connection& connection, const Publication& publication) const {
  if (!publication.deflated) return publication.bytes;
  const uint8_t windowBits = framings_[connection.framing].windowBits;
  return windowBits != 0 && windowBits >= publication.windowBits ? publication.deflated : publication.bytes;
}

// Whether it reached the subscriber, or is kept for it.
bool Reactor::deliverTo(Subscription& subscription, const Publication& publication, bool alone) {
  budget_.spend();
  const uint32_t slot = subscription.slot;
  Connection& connection = table_.at(slot);
  if (!mayWrite(connection, Writer::kPublication)) return false;
  const SharedBytesRef& bytes = formFor(connection, publication);
  const size_t waiting = connection.waitingBytes();
  // One that waits for room must not be overtaken.
  const bool isSlow = subscription.latest || (waiting != 0 && waiting + bytes.size() > config(connection).outHighBytes);
  if (isSlow && subscription.policy == SlowPolicy::kDrop) {
    counters_.publicationsDropped.add(1);
    return false;
  }
  const size_t replaced = isSlow && subscription.policy == SlowPolicy::kLatest ? subscription.latest.size() : 0;
  if (!admits(slot, bytes.size() - std::min(replaced, bytes.size()), Admits::kShared)) return false;
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
  const size_t left = sendNow(slot, connection, bytes.span());
  if (!connection.fd.valid() || left == bytes.size() || connection.isBroken()) return;
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
  if (connection.isBroken()) return writeInVain(slot);
  connection.out.append(bytes);
  markDirty(slot);
  if (connection.waitingBytes() > config(connection).outHighBytes) markPausedByOutput(slot);
}

// There is room for the waiting publications.
void Reactor::releaseLatest(uint32_t slot) {
  Subscriptions& subscriptions = *table_.at(slot).subscriptions();
  for (auto& [topic, subscription] : subscriptions.all) {
    if (!subscription.latest) continue;
    const SharedBytesRef bytes = std::move(subscription.latest);
    subscription.latest = {};
    // It may have ended since.
    if (mayWrite(table_.at(slot), Writer::kPublication))
      appendShared(slot, bytes);
    else
      counters_.publicationsDropped.add(1);
  }
  subscriptions.latestBytes = 0;
}

// ---------------------------------------------------------------- from one reactor to another

// Its missing publications are found again by the number up to which it has been served, topic by topic.
void Reactor::packSubscriptions(uint32_t slot, Moved* moved) {
  Connection& connection = table_.at(slot);
  if (!connection.subscriptions()) return;
  PublicationList& list = exchange_->publications();
  for (auto& [topic, subscription] : connection.subscriptions()->all) {
    const uint64_t seen = subscription.isBehind() ? topics_->lacks(subscription)->number - 1 : topics_->served(subscription);
    moved->subscriptions.push_back({*topic->name, seen, subscription.policy, std::move(subscription.latest),
                                    PublicationList::Pin(list, *topic->name, seen)});
  }
  moved->missed = std::move(connection.subscriptions()->missed);
  dropSubscriptions(connection);
}

void Reactor::unpackSubscriptions(uint32_t slot, Moved& moved) {
  if (moved.subscriptions.empty()) return;
  Connection& connection = table_.at(slot);
  PublicationList& list = exchange_->publications();
  std::vector<PublicationRef> missed;
  for (MovedSubscription& one : moved.subscriptions) {
    Subscription& subscription = enterTopic(slot, one.topic, one.policy);
    subscription.latest = std::move(one.latest);
    connection.subscriptions()->latestBytes += subscription.latest.size();
    subscription.seen = std::max(one.seen, list.since(one.topic, one.seen, &missed));
    one.pin = {};
  }
  Subscriptions& subscriptions = *connection.subscriptions();
  if (!missed.empty() || moved.missed) {
    // Publications missed before are older than all of these.
    subscriptions.missed = moved.missed ? std::move(moved.missed) : std::make_unique<Fifo<PublicationRef>>();
    std::sort(missed.begin(), missed.end(), [](const auto& a, const auto& b) { return a->number < b->number; });
    for (PublicationRef& publication : missed) subscriptions.missed->push_back(std::move(publication));
    queueBehind(slot);
    requestTurn();
  }
  // It was waiting for room, and nothing else may be under way that makes it look.
  if (subscriptions.latestBytes != 0) markDirty(slot);
}

}  // namespace mr
