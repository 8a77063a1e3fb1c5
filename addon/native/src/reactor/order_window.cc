#include "reactor/order_window.h"

namespace mr {

namespace {

ReplyPart partOf(const Reply& reply, std::span<const uint8_t> bytes) {
  return {{bytes.begin(), bytes.end()}, reply.flags, reply.worker, reply.credit, reply.creditToken};
}

}  // namespace

OrderWindow::Place& OrderWindow::place(uint64_t distance) {
  while (places_.size() <= distance) places_.emplace_back();
  return places_[distance];
}

void OrderWindow::hold(uint64_t distance, const Reply& reply, std::span<const uint8_t> bytes) {
  place(distance).parts.push_back(partOf(reply, bytes));
  heldBytes_ += bytes.size();
}

bool OrderWindow::joinInline(uint64_t distance, std::span<const uint8_t> bytes) {
  if (places_.size() <= distance || !places_[distance].isInline) return false;
  ReplyPart& part = places_[distance].parts.back();
  if (part.flags & (Reply::kEnd | Reply::kDestroy)) return false;
  part.bytes.insert(part.bytes.end(), bytes.begin(), bytes.end());
  heldBytes_ += bytes.size();
  return true;
}

void OrderWindow::holdInline(uint64_t distance, std::span<const uint8_t> bytes, uint16_t flags) {
  Place& at = place(distance);
  at.isInline = true;
  at.parts.push_back({{bytes.begin(), bytes.end()}, flags, 0, 0, 0});
  heldBytes_ += bytes.size();
}

std::vector<ReplyPart> OrderWindow::takeHeadParts() {
  std::vector<ReplyPart> parts = std::move(places_.front().parts);
  places_.front().parts.clear();
  for (const ReplyPart& part : parts) heldBytes_ -= part.bytes.size();
  return parts;
}

void OrderWindow::holdUnordered(const Reply& reply, std::span<const uint8_t> bytes) {
  heldBytes_ += bytes.size();
  for (Unordered& waiting : unordered) {
    if (waiting.sequence != reply.sequence) continue;
    waiting.parts.push_back(partOf(reply, bytes));
    return;
  }
  unordered.push_back({reply.sequence, {}});
  unordered.back().parts.push_back(partOf(reply, bytes));
}

std::vector<ReplyPart> OrderWindow::takeUnordered() {
  std::vector<ReplyPart> parts = std::move(unordered.front().parts);
  unordered.pop_front();
  for (const ReplyPart& part : parts) heldBytes_ -= part.bytes.size();
  return parts;
}

}  // namespace mr
