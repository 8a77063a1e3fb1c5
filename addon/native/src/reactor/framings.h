// The framings of a reactor by number, which is all that a connection keeps of its own. Those of listeners stay for ever and may
// change. All others are one where they are equal. Apps make them from peers' input, so unused ones are forgotten when
// they have become many, and their numbers are given out again.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/keyed_hash.h"
#include "codec/framer.h"

namespace mr {

class Framings {
 public:
  static constexpr uint16_t kNone = UINT16_MAX;
  static constexpr size_t kOwn = 256;

  class Used {
   public:
    explicit Used(size_t size) : marks_(size) {}
    void mark(uint16_t number) {
      if (number < marks_.size()) marks_[number] = true;
    }
    bool has(uint16_t number) const { return marks_[number]; }

   private:
    std::vector<bool> marks_;
  };

  // None of them moves while it is in use.
  const FramingConfig& operator[](uint16_t number) const { return *framings_[number]; }

  // Of a listener, of which there are fewer than kOwn: equal to no other, and it may be changed.
  uint16_t addOwn(const FramingConfig& framing) {
    const uint16_t number = freeNumber();
    framings_[number] = &(own_[number] = framing);
    return number;
  }
  void change(uint16_t number, const FramingConfig& framing) { own_.at(number) = framing; }

  // The number of this framing, which is the caller's to use before the next call; kNone when all are in use. `markUsed(Used&)`
  // looks at `looks` users, and is asked only when that is little beside the additions since.
  template <typename MarkUsed>
  uint16_t add(const FramingConfig& framing, size_t looks, MarkUsed&& markUsed) {
    if (const auto known = shared_.find(framing); known != shared_.end()) return known->second;
    if (shared_.size() >= forgetAt_) {
      Used used(framings_.size());
      markUsed(used);
      forget(used);
      if (shared_.size() == kMostShared) return kNone;
      forgetAt_ = std::min(shared_.size() + std::max({shared_.size(), looks / 16, kForgetStep}), kMostShared);
    }
    const uint16_t number = freeNumber();
    framings_[number] = &shared_.emplace(framing, number).first->first;
    return number;
  }

 private:
  static constexpr size_t kForgetStep = 1024, kMostShared = kNone - kOwn;

  struct Hash {
    size_t operator()(const FramingConfig& framing) const {
      KeyedHasher hasher;
      hasher.add(static_cast<uint64_t>(framing.kind));
      hasher.add(framing.maxBytes);
      hasher.add(framing.fixedBytes);
      hasher.add(uint64_t{framing.lengthOffset} << 32 | static_cast<uint32_t>(framing.lengthAdjustment));
      hasher.add(uint64_t{framing.strip} << 32 | static_cast<uint32_t>(framing.lengthType));
      hasher.add(framing.wholeBytes);
      hasher.add(uint64_t{framing.maxHeadBytes} << 32 | framing.maxHeaders);
      hasher.add(framing.resp.maxElements);
      hasher.add(framing.resp.maxBulkBytes);
      hasher.add(framing.resp.maxLineBytes);
      hasher.add(uint64_t{framing.frameMs} << 32 | framing.mqttTypes);
      return hasher.sumBehind(framing.delimiter);
    }
  };

  uint16_t freeNumber() {
    if (!free_.empty()) {
      const uint16_t number = free_.back();
      free_.pop_back();
      return number;
    }
    framings_.push_back(nullptr);
    return static_cast<uint16_t>(framings_.size() - 1);
  }

  void forget(const Used& used) {
    for (auto entry = shared_.begin(); entry != shared_.end();) {
      if (used.has(entry->second)) {
        ++entry;
        continue;
      }
      framings_[entry->second] = nullptr;
      free_.push_back(entry->second);
      entry = shared_.erase(entry);
    }
  }

  std::vector<const FramingConfig*> framings_;
  std::vector<uint16_t> free_;
  std::unordered_map<uint16_t, FramingConfig> own_;
  std::unordered_map<FramingConfig, uint16_t, Hash> shared_;
  size_t forgetAt_ = kForgetStep;
};

}  // namespace mr
