#include "reactor/subscribers.h"

#include <algorithm>

#include "reactor/may_write.h"
#include "reactor/topics.h"

namespace mr {

Subscribers::Subscribers(ReactorCore& core, PublicationOutput& output) : core_(core), output_(output) {}
Subscribers::~Subscribers() = default;

// ---------------------------------------------------------------- subscribing

Subscribers::Subscribed Subscribers::subscribe(uint32_t slot, uint32_t generation, std::string_view topic, SlowPolicy policy) {
  Connection* connection = core_.find(slot, generation);
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
  const ListenerConfig& cfg = core_.config(*connection);
  if ((subscriptions ? subscriptions->all.size() : 0) >= cfg.maxSubscriptions) return Subscribed::kTooMany;
  if ((subscriptions ? subscriptions->nameBytes : 0) + topic.size() > cfg.maxSubscriptionBytes) return Subscribed::kTooLong;
  Subscription& fresh = enterTopic(slot, topic, policy);
  // Earlier publications are not for it.
  fresh.seen = core_.exchange().publications().last();
  return Subscribed::kDone;
}

Subscription& Subscribers::enterTopic(uint32_t slot, std::string_view name, SlowPolicy policy) {
  Connection& connection = core_.table().at(slot);
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
    PublicationList& list = core_.exchange().publications();
    list.join(name, core_.index());
    topic.opened = list.last();
    topic.payer = &subscription;
    subscriptions.heldBytes += Topics::topicBytes(name);
  }
  core_.account(slot);
  core_.counters().subscriptions.add(1);
  return subscription;
}

// The memory of a topic counts as that of one of its subscribers, so that the sum is right and the client that invents names pays
// for them.
void Subscribers::leaveTopic(const Subscription& subscription) {
  Topic& topic = *subscription.topic;
  const bool paid = topic.payer == &subscription;
  const auto name = topics_->leave(subscription);
  if (name) return core_.exchange().publications().leave(*name, core_.index());
  if (!paid) return;
  topic.payer = topic.subscribers.front();
  core_.table().at(topic.payer->slot).subscriptions()->heldBytes += Topics::topicBytes(*topic.name);
  core_.account(topic.payer->slot);
}

bool Subscribers::unsubscribe(uint32_t slot, uint32_t generation, std::string_view topic) {
  Connection* connection = core_.find(slot, generation);
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
  core_.counters().subscriptions.sub(1);
  if (subscriptions.all.empty()) connection->extras->subscriptions.reset();
  core_.account(slot);
  return true;
}

std::vector<std::string> Subscribers::names(uint32_t slot, uint32_t generation) {
  std::vector<std::string> names;
  const Connection* connection = core_.find(slot, generation);
  if (!connection || !connection->subscriptions()) return names;
  for (const auto& [topic, subscription] : connection->subscriptions()->all) names.push_back(*topic->name);
  return names;
}

void Subscribers::drop(Connection& connection) {
  if (!connection.subscriptions()) return;
  for (const auto& [topic, subscription] : connection.subscriptions()->all) leaveTopic(subscription);
  core_.counters().subscriptions.sub(connection.subscriptions()->all.size());
  connection.extras->subscriptions.reset();
}

// ---------------------------------------------------------------- publishing

std::optional<uint64_t> Subscribers::publish(std::string_view topic, SharedBytesRef bytes, SharedBytesRef deflated,
                                             uint8_t windowBits) {
  auto publication = std::make_shared<Publication>();
  publication->topic = topic;
  publication->bytes = std::move(bytes);
  publication->deflated = std::move(deflated);
  publication->windowBits = windowBits;
  if (core_.exchange().publish(publication) == Exchange::Publishing::kFull) return std::nullopt;
  const Topic* known = topics_ ? topics_->find(topic) : nullptr;
  return known ? known->subscribers.size() : 0;
}

bool Subscribers::hasWork() const {
  if (!topics_) return false;
  const Topics& topics = *topics_;
  return topics.spreads() || !topics.incoming.empty() || !topics.fresh.empty() || !topics.late.empty() ||
         core_.exchange().publications().hasFor(core_.index());
}

bool Subscribers::hasOnlyRests() const { return topics_ && topics_->empty(); }

// Half of a turn is for those that are behind, half for new publications; the unused part of one of the two goes to the other.
bool Subscribers::deliver() {
  if (!topics_) return false;
  uint32_t budget = kMaxDeliveriesPerTurn / 2;
  serveBehind(&budget);
  budget += kMaxDeliveriesPerTurn / 2;
  spread(&budget);
  serveBehind(&budget);
  finish();
  if (topics_->empty() && !hasWork()) topics_.reset();
  return hasWork();
}

// Each subscriber gets it now, or falls behind.
void Subscribers::spread(uint32_t* budget) {
  PublicationList& list = core_.exchange().publications();
  Topics& topics = *topics_;
  uint32_t steps = kMaxSpreadPerTurn;
  while (steps != 0) {
    if (!topics.spreads()) {
      if (topics.incoming.empty()) list.take(core_.index(), kPublicationsAtOnce, &topics.incoming);
      if (topics.incoming.empty()) return;
      topics.begin();
      --steps;
    }
    const Publication& publication = *topics.current();
    const uint64_t number = publication.number;
    // Several in one turn leave together; most come alone, and need not lie anywhere in between.
    const bool alone = topics.incoming.empty() && !list.hasFor(core_.index());
    uint64_t reached = 0;
    Subscription* next;
    while ((next = topics.next()) != nullptr) {
      if (next->seen >= number) {
        topics.pass();
        if (steps != 0) --steps;
      } else if (*budget != 0 && core_.budget().left() && !core_.table().at(next->slot).subscriptions()->isBehind()) {
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

void Subscribers::fallBehind(Subscription& subscription, uint64_t number) {
  topics_->fallBehind(subscription);
  core_.table().at(subscription.slot).subscriptions()->behind.emplace(number, &subscription);
  queueBehind(subscription.slot);
}

void Subscribers::queueBehind(uint32_t slot) {
  Connection& connection = core_.table().at(slot);
  if (std::exchange(connection.subscriptions()->queued, true)) return;
  topics_->fresh.push_back(uint64_t{connection.generation} << 32 | slot);
}

// Connections take turns, so that each waits for the others' next few publications and not for all that they lack. One that has
// just fallen behind need not wait for all those that have long been so.
void Subscribers::serveBehind(uint32_t* budget) {
  Topics& topics = *topics_;
  while (*budget != 0 && core_.budget().left() && !(topics.fresh.empty() && topics.late.empty())) {
    auto& queue = topics.late.empty() || (!topics.lateNext && !topics.fresh.empty()) ? topics.fresh : topics.late;
    topics.lateNext = &queue == &topics.fresh;
    const uint64_t token = queue.front();
    queue.pop_front();
    const auto slot = static_cast<uint32_t>(token);
    const Connection* connection = core_.table().find(slot, static_cast<uint32_t>(token >> 32));
    if (!connection || !connection->fd.valid() || !connection->subscriptions()) continue;
    for (uint32_t i = 0; i < kMostBehindAtOnce && *budget != 0 && core_.budget().left(); ++i) {
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
void Subscribers::deliverNext(uint32_t slot) {
  Subscriptions& subscriptions = *core_.table().at(slot).subscriptions();
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
  if (!core_.table().at(slot).subscriptions()) return;  // it has closed
  if (!topics_->advance(subscription)) return;
  node.key() = topics_->lacks(subscription)->number;
  subscriptions.behind.insert(std::move(node));
}

void Subscribers::finish() {
  std::vector<PublicationRef> finished;
  for (PublicationRef& publication : topics_->done) {
    if (core_.exchange().finishPublication(*publication)) finished.push_back(std::move(publication));
  }
  topics_->done.clear();
  if (!finished.empty()) core_.exchange().publications().drop(finished);
}

// A peer whose window is too small for the compressed form gets the other one, which it may get at any time.
const SharedBytesRef& Subscribers::formFor(const Connection& connection, const Publication& publication) const {
  if (!publication.deflated) return publication.bytes;
  const uint8_t windowBits = core_.framing(connection).windowBits;
  return windowBits != 0 && windowBits >= publication.windowBits ? publication.deflated : publication.bytes;
}

// Whether it reached the subscriber, or is kept for it.
bool Subscribers::deliverTo(Subscription& subscription, const Publication& publication, bool alone) {
  core_.budget().spend();
  const uint32_t slot = subscription.slot;
  Connection& connection = core_.table().at(slot);
  if (!mayWrite(connection, Writer::kPublication)) return false;
  const SharedBytesRef& bytes = formFor(connection, publication);
  const size_t waiting = connection.waitingBytes();
  // One that waits for room must not be overtaken.
  const bool isSlow = subscription.latest || (waiting != 0 && waiting + bytes.size() > core_.config(connection).outHighBytes);
  if (isSlow && subscription.policy == SlowPolicy::kDrop) {
    core_.counters().publicationsDropped.add(1);
    return false;
  }
  const size_t replaced = isSlow && subscription.policy == SlowPolicy::kLatest ? subscription.latest.size() : 0;
  if (!output_.admitsPublication(slot, bytes.size() - std::min(replaced, bytes.size()))) return false;
  if (isSlow && subscription.policy == SlowPolicy::kLatest) {
    if (subscription.latest) core_.counters().publicationsDropped.add(1);
    connection.subscriptions()->latestBytes += bytes.size() - replaced;
    subscription.latest = bytes;
    return true;
  }
  // Its policy was 'latest' a moment ago.
  if (subscription.latest) releaseLatest(slot);
  output_.sendShared(slot, bytes, alone);
  return true;
}

void Subscribers::releaseLatest(uint32_t slot) {
  Subscriptions& subscriptions = *core_.table().at(slot).subscriptions();
  for (auto& [topic, subscription] : subscriptions.all) {
    if (!subscription.latest) continue;
    const SharedBytesRef bytes = std::move(subscription.latest);
    subscription.latest = {};
    // It may have ended since.
    if (mayWrite(core_.table().at(slot), Writer::kPublication))
      output_.appendShared(slot, bytes);
    else
      core_.counters().publicationsDropped.add(1);
  }
  subscriptions.latestBytes = 0;
}

// ---------------------------------------------------------------- from one reactor to another

// Its missing publications are found again by the number up to which it has been served, topic by topic.
void Subscribers::pack(uint32_t slot, Packed* packed) {
  Connection& connection = core_.table().at(slot);
  if (!connection.subscriptions()) return;
  PublicationList& list = core_.exchange().publications();
  for (auto& [topic, subscription] : connection.subscriptions()->all) {
    const uint64_t seen = subscription.isBehind() ? topics_->lacks(subscription)->number - 1 : topics_->served(subscription);
    packed->subscriptions.push_back({*topic->name, seen, subscription.policy, std::move(subscription.latest),
                                     PublicationList::Pin(list, *topic->name, seen)});
  }
  packed->missed = std::move(connection.subscriptions()->missed);
  drop(connection);
}

void Subscribers::unpack(uint32_t slot, Packed& packed) {
  if (packed.subscriptions.empty()) return;
  Connection& connection = core_.table().at(slot);
  PublicationList& list = core_.exchange().publications();
  std::vector<PublicationRef> missed;
  for (MovedSubscription& one : packed.subscriptions) {
    Subscription& subscription = enterTopic(slot, one.topic, one.policy);
    subscription.latest = std::move(one.latest);
    connection.subscriptions()->latestBytes += subscription.latest.size();
    subscription.seen = std::max(one.seen, list.since(one.topic, one.seen, &missed));
    one.pin = {};
  }
  Subscriptions& subscriptions = *connection.subscriptions();
  if (!missed.empty() || packed.missed) {
    // Publications missed before are older than all of these.
    subscriptions.missed = packed.missed ? std::move(packed.missed) : std::make_unique<Fifo<PublicationRef>>();
    std::sort(missed.begin(), missed.end(), [](const auto& a, const auto& b) { return a->number < b->number; });
    for (PublicationRef& publication : missed) subscriptions.missed->push_back(std::move(publication));
    queueBehind(slot);
    core_.requestTurn();
  }
  // It was waiting for room, and nothing else may be under way that makes it look.
  if (subscriptions.latestBytes != 0) core_.markDirty(slot);
}

}  // namespace mr
