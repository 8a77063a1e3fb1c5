// Replies of one worker on their way: one batch for each reactor that has some of them. A worker's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "exchange/exchange.h"
#include "exchange/message.h"

namespace mr {

class ReplyBatches {
 public:
  // The largest batch whose block is kept; further replies go into another one.
  static constexpr size_t kMostBytes = Recycler::kLargest - sizeof(ReplyBatch);

  ReplyBatches(Exchange& exchange, uint16_t ownMailbox) : exchange_(exchange), home_(exchange.recycler(ownMailbox)) {}

  // So many bytes of records come before the next send(), see ReplyBatch::sizeOf(): batches are made for them.
  void expect(size_t recordBytes) { expected_ = recordBytes; }
  void add(uint16_t mailbox, const Reply& reply, std::span<const uint8_t> bytes) {
    batchFor(mailbox, bytes.size()).append(reply, bytes);
  }
  void send() {
    for (auto& [mailbox, batch] : batches_) exchange_.mailbox(mailbox).send(std::move(batch));
    batches_.clear();
    expected_ = 0;
  }

 private:
  ReplyBatch& batchFor(uint16_t mailbox, size_t replyBytes) {
    // From the end: an earlier one of the same mailbox is full.
    for (auto at = batches_.rbegin(); at != batches_.rend(); ++at) {
      if (at->first != mailbox) continue;
      if (at->second->fits(replyBytes)) return *at->second;
      break;
    }
    const size_t room = std::max(ReplyBatch::sizeOf(replyBytes), std::min(expected_, kMostBytes));
    batches_.emplace_back(mailbox, ReplyBatch::create(room, &home_));
    return *batches_.back().second;
  }

  Exchange& exchange_;
  Recycler& home_;
  size_t expected_ = 0;
  std::vector<std::pair<uint16_t, std::unique_ptr<ReplyBatch>>> batches_;
};

}  // namespace mr
