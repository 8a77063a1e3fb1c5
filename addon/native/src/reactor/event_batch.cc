#include "reactor/event_batch.h"

#include <cstring>

#include "base/slab_pool.h"
#include "codec/websocket.h"

namespace mr {

uint32_t oldestSlab(std::span<const EventRow> rows) {
  uint32_t oldest = UINT32_MAX;
  for (const EventRow& row : rows) {
    if (carriesSlab(row.event)) oldest = std::min(oldest, row.a);
  }
  return oldest;
}

bool EventBatch::ensureRoom(size_t atLeast) {
  if (slab_.data && slab_.size - used_ >= atLeast) return true;
  if (!sink_) return false;
  budget_.leave();  // V8 may collect there, as long as it likes
  slab_ = sink_->newSlab(std::max(atLeast, SlabPool::kSlabBytes));
  budget_.comeBack();
  used_ = 0;
  return slab_.data != nullptr;
}

// Bytes of an in buffer move when it is compacted, so they are copied into a slab; those received into one stay there.
bool EventBatch::addBytes(EventRow row, std::span<const uint8_t> bytes, bool inSlab, const uint32_t* mask) {
  const auto copy = [&](uint8_t* to) {
    if (mask) {
      wasAscii_ = unmaskInto(to, bytes.data(), bytes.size(), *mask);
    } else if (!bytes.empty()) {
      std::memcpy(to, bytes.data(), bytes.size());
    }
  };
  row.a = slab_.id;
  const uint8_t* data = bytes.data();
  size_t offset;
  if (inSlab) {
    offset = static_cast<size_t>(bytes.data() - slab_.data);
    if (mask) wasAscii_ = unmaskInto(slab_.data + offset, bytes.data(), bytes.size(), *mask);
  } else if (bytes.size() > SlabPool::kSlabBytes / 2) {
    budget_.leave();
    const Slab own = sink_ ? sink_->newSlab(bytes.size()) : Slab{};
    budget_.comeBack();
    if (!own.data) return false;
    copy(own.data);
    row.a = own.id;
    data = own.data;
    offset = 0;
  } else {
    if (!ensureRoom(bytes.size())) return false;
    offset = used_;
    row.a = slab_.id;
    data = slab_.data + offset;
    copy(slab_.data + offset);
    use(bytes.size());
  }
  addedAt_ = data;
  row.b = static_cast<uint32_t>(offset);
  row.c = static_cast<uint32_t>(bytes.size());
  rows_.push_back(row);
  return true;
}

}  // namespace mr
