// Replies of one connection that are ready before their turn. The head of the order streams through and is never in here;
// everything behind it waits. Owns bytes, knows no socket.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "exchange/message.h"

namespace mr {

// A part of a reply with the events that its sender waits for.
struct ReplyPart {
  std::vector<uint8_t> bytes;
  uint16_t flags = 0;  // Reply::Flags
  uint16_t worker = 0;
  uint32_t credit = 0;
  uint32_t creditToken = 0;
};

class OrderWindow {
 public:
  // `distance`: how far behind the head the reply's place is. 0 is the head itself.
  void hold(uint64_t distance, const Reply& reply, std::span<const uint8_t> bytes);
  // Bytes of an inline write, at the end of the order. True when they joined an inline write already there.
  bool joinInline(uint64_t distance, std::span<const uint8_t> bytes);
  void holdInline(uint64_t distance, std::span<const uint8_t> bytes, uint16_t flags);

  // The parts that wait for the head's place, in order; emptied by the call.
  bool headHasParts() const { return !places_.empty() && !places_.front().parts.empty(); }
  std::vector<ReplyPart> takeHeadParts();
  // The order has moved on by one place.
  void advance() {
    if (!places_.empty()) places_.pop_front();
  }

  // Bytes that belong between two replies while one is on its way out in parts.
  std::vector<uint8_t> between;

  // Something in it waits for a turn, and not for a reply.
  bool mayRelease() const { return headHasParts() || (streaming == kNobody && !unordered.empty()); }

  size_t heldBytes() const { return heldBytes_ + between.size(); }
  bool empty() const { return places_.empty() && between.empty(); }

  // order: 'none': the reply that streams now; the others wait whole, in order of arrival.
  static constexpr uint64_t kNobody = UINT64_MAX;
  uint64_t streaming = kNobody;
  struct Unordered {
    uint64_t sequence;
    std::vector<ReplyPart> parts;
  };
  std::deque<Unordered> unordered;
  void holdUnordered(const Reply& reply, std::span<const uint8_t> bytes);
  std::vector<ReplyPart> takeUnordered();

  // Every part that never left, for telling its sender.
  template <typename Tell>
  void abandon(Tell&& tell) {
    for (auto& place : places_)
      for (auto& part : place.parts) tell(part);
    for (auto& reply : unordered)
      for (auto& part : reply.parts) tell(part);
  }

 private:
  struct Place {
    std::vector<ReplyPart> parts;
    bool isInline = false;
  };
  Place& place(uint64_t distance);

  std::deque<Place> places_;  // [0] is the head's place
  size_t heldBytes_ = 0;
};

}  // namespace mr
