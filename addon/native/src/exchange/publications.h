// Publications that some reactor with subscribers of their topic has not finished yet. All publications
// have one order, their number; each reactor gets those of its topics in that order, so that every subscriber of every reactor
// sees them so. A topic keeps its own, so that a connection that goes to a sibling misses none and gets none twice, and messages
// that one topic or one reactor leaves lying keeps nothing of another topic.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/fifo.h"
#include "base/keyed_hash.h"
#include "base/shared_bytes.h"
#include "exchange/message.h"

namespace mr {

struct Publication {
  std::string topic;
  SharedBytesRef bytes;
  SharedBytesRef deflated;              // the same for peers that inflate; nothing: there is no such form
  uint8_t windowBits = 0;               // of the window that this needs
  uint64_t number = 0;                  // its place in the order
  uint16_t replyTo = 0;                 // the publisher's mailbox
  uint32_t request = 0;                 // 0: the number of subscribers is not needed
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
  struct Topic;

 public:
  PublicationList(uint32_t reactors, size_t maxBytes) : inboxes_(reactors), maxBytes_(maxBytes) {}

  // --- any thread ---
  // The reactors that get it, for the caller to wake; nothing when too much waits already. A topic may hold as much as it leaves
  // free, so that however much waits of one, there is room for the others.
  std::optional<std::vector<uint32_t>> add(const PublicationRef& publication);
  uint64_t last() const { return last_.load(std::memory_order_seq_cst); }  // number of the newest
  size_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

  // --- a reactor's thread ---
  // From now on it gets the publications of this topic.
  void join(std::string_view topic, uint32_t reactor);
  void leave(std::string_view topic, uint32_t reactor);  // it has no subscribers of it any more
  bool hasFor(uint32_t reactor) const { return inboxes_[reactor].waiting.load(std::memory_order_seq_cst) != 0; }
  // Those that it has not taken yet, at most so many.
  void take(uint32_t reactor, size_t most, std::deque<PublicationRef>* out);
  // Every reactor has come to the end of these.
  void drop(std::span<const PublicationRef> finished);
  // Those of one topic behind `after`, which must have been pinned or not finished. Returns the number of the newest of all.
  uint64_t since(std::string_view topic, uint64_t after, std::vector<PublicationRef>* out);

  // Keeps the publications behind `number` in a topic, as long as it lives: for a connection that is on its way from one reactor
  // to another.
  class Pin {
   public:
    Pin() = default;
    Pin(PublicationList& list, std::string_view topic, uint64_t number);
    Pin(Pin&& other) noexcept : list_(std::exchange(other.list_, nullptr)), topic_(other.topic_), at_(other.at_) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(list_, other.list_);
      std::swap(topic_, other.topic_);
      std::swap(at_, other.at_);
      return *this;
    }
    ~Pin();

   private:
    PublicationList* list_ = nullptr;
    std::pair<const std::string, Topic>* topic_ = nullptr;
    std::multiset<uint64_t>::iterator at_;
  };

  // The memory of a topic here, beside its name.
  static size_t topicBytes();

 private:
  static constexpr size_t kOverhead = 128;  // of one publication, beside its topic and bytes

  struct Topic {
    std::vector<uint16_t> reactors;  // that have subscribers of it
    Fifo<PublicationRef> kept;       // their numbers rise
    size_t bytes = 0;                // of those kept
    std::multiset<uint64_t> pins;
  };
  using Table = std::unordered_map<std::string, Topic, KeyedHash, std::equal_to<>>;
  struct alignas(64) Inbox {
    std::deque<PublicationRef> publications;
    std::atomic<size_t> waiting{0};
  };

  static size_t sizeOf(const Publication& publication) {
    return kOverhead + publication.topic.size() + publication.bytes.size() + publication.deflated.size();
  }
  Topic& open(std::string_view topic);               // with mutex_ held
  void trim(const std::string& name, Topic& topic);  // with mutex_ held

  std::mutex mutex_;
  Table topics_;
  std::vector<Inbox> inboxes_;
  std::atomic<uint64_t> last_{0};
  std::atomic<size_t> bytes_{0};
  const size_t maxBytes_;
};

}  // namespace mr
