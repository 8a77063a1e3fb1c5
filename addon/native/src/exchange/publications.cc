#include "exchange/publications.h"

#include <algorithm>

namespace mr {

size_t PublicationList::topicBytes() { return sizeof(Table::value_type) + 2 * sizeof(void*); }

std::optional<std::vector<uint32_t>> PublicationList::add(const PublicationRef& publication) {
  std::lock_guard lock(mutex_);
  const auto found = topics_.find(std::string_view(publication->topic));
  if (found == topics_.end()) return std::vector<uint32_t>{};
  Topic& topic = found->second;
  const size_t size = sizeOf(*publication), before = bytes();
  // One of any size passes an empty list.
  if (before != 0 && (before + size > maxBytes_ || topic.bytes + size > maxBytes_ - before)) return std::nullopt;
  publication->unfinished.store(static_cast<uint32_t>(topic.reactors.size()), std::memory_order_relaxed);
  publication->number = last_.load(std::memory_order_relaxed) + 1;
  topic.kept.push_back(publication);
  topic.bytes += size;
  bytes_.fetch_add(size, std::memory_order_relaxed);
  last_.store(publication->number, std::memory_order_seq_cst);
  for (const uint16_t reactor : topic.reactors) {
    Inbox& inbox = inboxes_[reactor];
    inbox.publications.push_back(publication);
    inbox.waiting.store(inbox.publications.size(), std::memory_order_seq_cst);
  }
  return std::vector<uint32_t>(topic.reactors.begin(), topic.reactors.end());
}

PublicationList::Topic& PublicationList::open(std::string_view topic) {
  const auto found = topics_.find(topic);
  return found == topics_.end() ? topics_[std::string(topic)] : found->second;
}

void PublicationList::join(std::string_view topic, uint32_t reactor) {
  std::lock_guard lock(mutex_);
  open(topic).reactors.push_back(static_cast<uint16_t>(reactor));
}

void PublicationList::leave(std::string_view topic, uint32_t reactor) {
  std::lock_guard lock(mutex_);
  const auto found = topics_.find(topic);
  if (found == topics_.end()) return;
  std::erase(found->second.reactors, static_cast<uint16_t>(reactor));
  trim(found->first, found->second);
}

void PublicationList::take(uint32_t reactor, size_t most, std::deque<PublicationRef>* out) {
  Inbox& inbox = inboxes_[reactor];
  std::lock_guard lock(mutex_);
  for (; most != 0 && !inbox.publications.empty(); --most) {
    out->push_back(std::move(inbox.publications.front()));
    inbox.publications.pop_front();
  }
  inbox.waiting.store(inbox.publications.size(), std::memory_order_seq_cst);
}

void PublicationList::drop(std::span<const PublicationRef> finished) {
  std::lock_guard lock(mutex_);
  for (const PublicationRef& publication : finished) {
    const auto found = topics_.find(std::string_view(publication->topic));
    if (found != topics_.end()) trim(found->first, found->second);
  }
}

uint64_t PublicationList::since(std::string_view topic, uint64_t after, std::vector<PublicationRef>* out) {
  std::lock_guard lock(mutex_);
  const auto found = topics_.find(topic);
  if (found != topics_.end()) {
    const Fifo<PublicationRef>& kept = found->second.kept;
    size_t from = 0, end = kept.size();
    while (from < end) {
      const size_t middle = (from + end) / 2;
      if (kept[middle]->number > after) {
        end = middle;
      } else {
        from = middle + 1;
      }
    }
    for (; from < kept.size(); ++from) out->push_back(kept[from]);
  }
  return last_.load(std::memory_order_relaxed);
}

void PublicationList::trim(const std::string& name, Topic& topic) {
  const uint64_t upTo = topic.pins.empty() ? UINT64_MAX : *topic.pins.begin();
  while (!topic.kept.empty() && topic.kept.front()->number <= upTo &&
         topic.kept.front()->unfinished.load(std::memory_order_acquire) == 0) {
    const size_t size = sizeOf(*topic.kept.front());
    topic.bytes -= size;
    bytes_.fetch_sub(size, std::memory_order_relaxed);
    topic.kept.pop_front();
  }
  if (topic.kept.empty() && topic.reactors.empty() && topic.pins.empty()) topics_.erase(topics_.find(name));
}

PublicationList::Pin::Pin(PublicationList& list, std::string_view topic, uint64_t number) : list_(&list) {
  std::lock_guard lock(list.mutex_);
  list.open(topic);
  topic_ = &*list.topics_.find(topic);
  at_ = topic_->second.pins.insert(number);
}

PublicationList::Pin::~Pin() {
  if (!list_) return;
  std::lock_guard lock(list_->mutex_);
  topic_->second.pins.erase(at_);
  list_->trim(topic_->first, topic_->second);
}

}  // namespace mr
