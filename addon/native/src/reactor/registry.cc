#include "reactor/registry.h"

namespace mr {

void Runtime::makeReactors(uint32_t count) {
  exchange->makeReactors(count);
  for (uint32_t i = 0; i < count; ++i) {
    if (!reactors[i]) reactors[i] = std::make_shared<Reactor>(exchange, i);
  }
}

uint64_t Runtime::bytesRead() const {
  uint64_t bytes = 0;
  for (const auto& reactor : reactors) {
    if (reactor) bytes += reactor->counters().bytesRead.get();
  }
  return bytes;
}

uint32_t Runtime::addGroup(std::shared_ptr<ListenerGroup> group) {
  std::lock_guard lock(mutex_);
  groups_.push_back(std::move(group));
  return static_cast<uint32_t>(groups_.size() - 1);
}

std::shared_ptr<ListenerGroup> Runtime::group(uint32_t index) {
  std::lock_guard lock(mutex_);
  return index < groups_.size() ? groups_[index] : nullptr;
}

void Runtime::dropGroup(uint32_t index) {
  std::shared_ptr<ListenerGroup> dropped;  // it closes outside of the lock
  std::lock_guard lock(mutex_);
  if (index < groups_.size()) dropped = std::exchange(groups_[index], nullptr);
}

void Runtime::dropGroups() {
  std::vector<std::shared_ptr<ListenerGroup>> dropped;  // they close outside of the lock
  std::lock_guard lock(mutex_);
  for (auto& group : groups_) dropped.push_back(std::exchange(group, nullptr));
}

void Runtime::describe(std::string text) {
  std::lock_guard lock(mutex_);
  description_ = std::move(text);
}

std::string Runtime::description() {
  std::lock_guard lock(mutex_);
  return description_;
}

Registry& Registry::instance() {
  // Never destroyed: threads may still end while the process runs its destructors.
  static auto* registry = new Registry();
  return *registry;
}

uint32_t Registry::add(const ExchangeOptions& options) {
  auto runtime = std::make_shared<Runtime>();
  runtime->exchange = std::make_shared<Exchange>(options);
  runtime->reactors.resize(runtime->exchange->options().maxReactors);
  runtime->makeReactors(options.reactors);
  std::lock_guard lock(mutex_);
  runtimes_.emplace(nextId_, std::move(runtime));
  return nextId_++;
}

std::shared_ptr<Runtime> Registry::find(uint32_t id) {
  std::lock_guard lock(mutex_);
  const auto found = runtimes_.find(id);
  return found == runtimes_.end() ? nullptr : found->second;
}

void Registry::remove(uint32_t id) {
  std::shared_ptr<Runtime> last;  // ends outside of the lock
  std::lock_guard lock(mutex_);
  const auto found = runtimes_.find(id);
  if (found == runtimes_.end()) return;
  last = std::move(found->second);
  runtimes_.erase(found);
}

}  // namespace mr
