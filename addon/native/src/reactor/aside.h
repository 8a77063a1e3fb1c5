// Frames of one connection that wait until there is room for their replies. It is there from the moment at which the connection
// holds too much, or its reactor does, until none of them waits and there is room again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <vector>

#include "exchange/task.h"

namespace mr {

struct Aside {
  struct Frame {
    FrameRef ref;
    bool runsHere = false;  // its reactor's thread was about to run it
  };
  // By sequence; calls first, which have numbers of their own and no place in the order.
  std::map<uint64_t, Frame> frames;
  // Those that were let go and have not begun to answer.
  std::vector<uint64_t> permits;
  // Of its entry in its reactor's list: an older one is from before it has gone to a sibling and come back.
  uint64_t ticket = 0;

  static constexpr uint64_t kOrdered = uint64_t{1} << 63;
  static uint64_t keyOf(uint64_t sequence, bool isRun) { return isRun ? sequence : sequence | kOrdered; }
  bool isEmpty() const { return frames.empty() && permits.empty(); }
  bool endPermit(uint64_t key) { return std::erase(permits, key) != 0; }
};

}  // namespace mr
