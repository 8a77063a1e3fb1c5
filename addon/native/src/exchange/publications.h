// What has been published and not every reactor has come to yet: one list for all, in one order, so that every subscriber of
// every reactor sees a topic's publications in the same order, and a connection that goes to a sibling misses none and gets none
// twice.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/shared_bytes.h"
#include "exchange/message.h"

namespace mr {

struct Publication {
  std::string topic;
  SharedBytesRef bytes;
  uint64_t number = 0;                  // its place in the list
  uint16_t replyTo = 0;                 // the publisher's mailbox
  uint32_t request = 0;                 // 0: nobody wants to know how many it reached
  std::atomic<uint32_t> unfinished{0};  // reactors that have not come to its end
  std::atomic<uint64_t> reached{0};     // subscribers it was sent to, or is kept for
};
using PublicationRef = std::shared_ptr<Publication>;

// To the publisher: every reactor has come to the end of it.
struct Published final : Message {
  Published() : Message(Kind::kPublished) {}
  uint32_t request = 0;
  uint64_t reached = 0;
};

class PublicationList {
 public:
  PublicationList(uint32_t reactors, size_t maxBytes) : handled_(reactors, kAway), maxBytes_(maxBytes) {}

  // --- any thread ---
  // The reactors that have to come to it, for the caller to wake; nothing when too much waits for them already.
  std::optional<std::vector<uint32_t>> add(const PublicationRef& publication);
  uint64_t last() const { return last_.load(std::memory_order_seq_cst); }  // number of the newest
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // --- a reactor's thread ---
  // From now on it gets what is published. Returns the number of the last that it does not get.
  uint64_t join(uint32_t reactor);
  // It has no subscribers any more. False when there is something that it has not handled.
  bool leave(uint32_t reactor);
  // Those behind `after`, at most so many.
  void take(uint64_t after, size_t most, std::deque<PublicationRef>* out);
  // It has come to the end of all up to this one.
  void handled(uint32_t reactor, uint64_t number);
  // Those of one topic in (after, upTo], which must have been pinned or not handled by somebody.
  std::vector<PublicationRef> between(std::string_view topic, uint64_t after, uint64_t upTo);

  // Keeps what comes behind `number`, as long as it lives: for a connection that is on its way from one reactor to another.
  class Pin {
   public:
    Pin() = default;
    Pin(PublicationList& list, uint64_t number);
    Pin(Pin&& other) noexcept : list_(std::exchange(other.list_, nullptr)), number_(other.number_) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(list_, other.list_);
      std::swap(number_, other.number_);
      return *this;
    }
    ~Pin();

   private:
    PublicationList* list_ = nullptr;
    uint64_t number_ = 0;
  };

 private:
  static constexpr uint64_t kAway = UINT64_MAX;
  static constexpr size_t kOverhead = 128;  // of one publication, beside its topic and bytes

  static size_t sizeOf(const Publication& publication) { return kOverhead + publication.topic.size() + publication.bytes.size(); }
  void trim();  // with mutex_ held

  std::mutex mutex_;
  std::deque<PublicationRef> kept_;  // rising by one
  std::vector<uint64_t> handled_;    // by reactor; kAway: it has no subscribers
  std::vector<uint32_t> joined_;     // those that have some
  std::multiset<uint64_t> pins_;
  std::atomic<uint64_t> last_{0};
  std::atomic<size_t> bytes_{0};
  const size_t maxBytes_;
};

}  // namespace mr
