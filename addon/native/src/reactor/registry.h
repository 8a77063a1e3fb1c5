// Where native state is found by number from any thread of the process: it belongs to no thread, so none takes it along.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/allocator.h"
#include "base/leftover.h"
#include "reactor/reactor.h"

namespace mr {

// One server, or one standalone reactor or pool: an exchange and its reactors.
struct Runtime {
  std::shared_ptr<Exchange> exchange;
  std::vector<std::shared_ptr<Reactor>> reactors;  // as many places as there may ever be, filled from the front
  TrimPace trims;                                  // the supervisor's
  Leftover leftover;                               // the supervisor's

  // The supervisor. Those below `count` exist then.
  void makeReactors(uint32_t count);
  uint64_t bytesRead() const;

  // Listening sockets on their way from the thread that opened them to the reactors. Any thread.
  uint32_t addGroup(std::shared_ptr<ListenerGroup> group);
  std::shared_ptr<ListenerGroup> group(uint32_t index);
  void dropGroup(uint32_t index);  // no reactor will take it: it closes here
  void dropGroups();               // groups that no reactor has taken close here

  // The supervisor's description of the server, for threads that reach it by its number. Any thread.
  void describe(std::string text);
  std::string description();

 private:
  std::mutex mutex_;
  std::string description_;
  std::vector<std::shared_ptr<ListenerGroup>> groups_;
};

class Registry {
 public:
  static Registry& instance();
  // Any thread.
  uint32_t add(const ExchangeOptions& options);
  std::shared_ptr<Runtime> find(uint32_t id);  // null when it was removed
  void remove(uint32_t id);                    // it ends with its last holder

 private:
  std::mutex mutex_;
  uint32_t nextId_ = 1;
  std::unordered_map<uint32_t, std::shared_ptr<Runtime>> runtimes_;
};

}  // namespace mr
