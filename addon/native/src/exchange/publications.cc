#include "exchange/publications.h"

#include <algorithm>

namespace mr {

std::optional<std::vector<uint32_t>> PublicationList::add(const PublicationRef& publication) {
  std::lock_guard lock(mutex_);
  if (joined_.empty() && pins_.empty()) return std::vector<uint32_t>{};
  const size_t size = sizeOf(*publication);
  // One passes an empty list, whatever its size.
  if (!kept_.empty() && bytes() + size > maxBytes_) return std::nullopt;
  publication->unfinished.store(static_cast<uint32_t>(joined_.size()), std::memory_order_relaxed);
  publication->number = last_.load(std::memory_order_relaxed) + 1;
  kept_.push_back(publication);
  bytes_.fetch_add(size, std::memory_order_relaxed);
  last_.store(publication->number, std::memory_order_seq_cst);
  return joined_;
}

uint64_t PublicationList::join(uint32_t reactor) {
  std::lock_guard lock(mutex_);
  const uint64_t last = last_.load(std::memory_order_relaxed);
  if (handled_[reactor] == kAway) joined_.push_back(reactor);
  handled_[reactor] = last;
  return last;
}

bool PublicationList::leave(uint32_t reactor) {
  std::lock_guard lock(mutex_);
  if (handled_[reactor] == kAway) return true;
  if (handled_[reactor] != last_.load(std::memory_order_relaxed)) return false;
  handled_[reactor] = kAway;
  std::erase(joined_, reactor);
  trim();
  return true;
}

void PublicationList::take(uint64_t after, size_t most, std::deque<PublicationRef>* out) {
  std::lock_guard lock(mutex_);
  if (kept_.empty()) return;
  const uint64_t first = kept_.front()->number;
  for (size_t i = after + 1 > first ? after + 1 - first : 0; i < kept_.size() && most != 0; ++i, --most) out->push_back(kept_[i]);
}

void PublicationList::handled(uint32_t reactor, uint64_t number) {
  std::lock_guard lock(mutex_);
  handled_[reactor] = number;
  trim();
}

std::vector<PublicationRef> PublicationList::between(std::string_view topic, uint64_t after, uint64_t upTo) {
  std::vector<PublicationRef> found;
  std::lock_guard lock(mutex_);
  for (const PublicationRef& publication : kept_) {
    if (publication->number > upTo) break;
    if (publication->number > after && publication->topic == topic) found.push_back(publication);
  }
  return found;
}

void PublicationList::trim() {
  uint64_t least = last_.load(std::memory_order_relaxed);
  for (const uint32_t reactor : joined_) least = std::min(least, handled_[reactor]);
  if (!pins_.empty()) least = std::min(least, *pins_.begin());
  while (!kept_.empty() && kept_.front()->number <= least) {
    bytes_.fetch_sub(sizeOf(*kept_.front()), std::memory_order_relaxed);
    kept_.pop_front();
  }
}

PublicationList::Pin::Pin(PublicationList& list, uint64_t number) : list_(&list), number_(number) {
  std::lock_guard lock(list.mutex_);
  list.pins_.insert(number);
}

PublicationList::Pin::~Pin() {
  if (!list_) return;
  std::lock_guard lock(list_->mutex_);
  list_->pins_.erase(list_->pins_.find(number_));
  list_->trim();
}

}  // namespace mr
