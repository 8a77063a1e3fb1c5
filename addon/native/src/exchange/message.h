// The messages of a mailbox. Every message is a value: bytes and names, and in a Handover a descriptor that moves between
// reactors only.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "base/fatal.h"
#include "base/fd.h"
#include "base/recycler.h"
#include "exchange/connection_id.h"
#include "exchange/peer.h"
#include "exchange/task.h"

namespace mr {

struct Message {
  enum class Kind : uint8_t {
    kReplies,
    kSend,
    kSendResult,
    kCredit,
    kGone,
    kHandover,
    kMoved,
    kReleased,
    kPublished,
    kCall,
    kCallResult,
    kSetAside
  };
  explicit Message(Kind k) : kind(k) {}
  virtual ~Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

  Message* next = nullptr;
  const Kind kind;
  virtual size_t bytes() const { return 0; }
};

// One part of a reply. A frame settles with exactly one part that has kLast.
struct Reply {
  enum Flags : uint16_t {
    kLast = 1,          // the frame is settled
    kEnd = 2,           // then close the connection in an orderly way
    kDestroy = 4,       // then close it now
    kError = 8,         // the frame failed; bytes are the answer of the app's error hook, or the message for a run
    kRun = 16,          // for the handler that asked, not for the connection
    kLost = 32,         // its worker died
    kTimedOut = 64,     // it ran longer than it may
    kOverloaded = 256,  // it was refused: it would have waited too long
    // The flags that a thread may set for a frame that it has run. Whether it was a run is the frame's own business, and whether
    // the thread is lost is the supervisor's.
    kOfParse = kLast | kEnd | kDestroy | kError | kTimedOut | kOverloaded,
    // The flags that a hook may set for a place that it holds open.
    kOfHook = kLast | kEnd | kDestroy | kError,
  };
  ConnectionId connection;
  uint64_t sequence = 0;
  uint32_t length = 0;
  uint32_t credit = 0;  // bytes to acknowledge to `worker` when they have left; 0: none
  uint32_t creditToken = 0;
  uint32_t frameBytes = 0;  // of the frame, with kLast: so many less are in flight
  uint16_t worker = 0;      // index of the worker's mailbox
  uint16_t flags = 0;
};

// A frame that a worker has not begun, because there is no room for its reply: it waits with the owner of its connection.
struct SetAside final : Message {
  explicit SetAside(FrameRef of) : Message(Kind::kSetAside), frame(std::move(of)) {}
  FrameRef frame;
};

// Many replies for one reactor, in one block: records of a Reply and its bytes, back to back.
class ReplyBatch final : public Message {
 public:
  // With room for records of so many bytes, see sizeOf(). `home`: of the calling thread, where the block goes back to.
  static std::unique_ptr<ReplyBatch> create(size_t recordBytes, Recycler* home = nullptr) {
    const Recycler::Block block = Recycler::take(home, sizeof(ReplyBatch) + recordBytes);
    return std::unique_ptr<ReplyBatch>(new (block.memory) ReplyBatch(block.size - sizeof(ReplyBatch)));
  }
  void operator delete(ReplyBatch* batch, std::destroying_delete_t) {
    batch->~ReplyBatch();
    Recycler::give(batch);
  }
  // The size of a reply's record.
  static constexpr size_t sizeOf(size_t replyBytes) { return sizeof(Reply) + padded(replyBytes); }

  bool fits(size_t replyBytes) const { return sizeOf(replyBytes) <= capacity_ - size_; }
  void append(const Reply& reply, std::span<const uint8_t> bytes) {
    MR_CHECK(fits(bytes.size()), "more replies than the batch was made for");
    std::memcpy(records() + size_, &reply, sizeof(Reply));
    if (!bytes.empty()) std::memcpy(records() + size_ + sizeof(Reply), bytes.data(), bytes.size());
    size_ += sizeOf(bytes.size());
  }
  // Walks the records once. False at the end.
  bool take(Reply* reply, std::span<const uint8_t>* bytes) {
    if (cursor_ == size_) return false;
    std::memcpy(reply, records() + cursor_, sizeof(Reply));
    *bytes = {records() + cursor_ + sizeof(Reply), reply->length};
    cursor_ += sizeOf(reply->length);
    return true;
  }
  bool ended() const { return cursor_ == size_; }
  size_t bytes() const override { return capacity_; }

 private:
  explicit ReplyBatch(size_t capacity) : Message(Kind::kReplies), capacity_(capacity) {}
  static constexpr size_t padded(size_t size) { return (size + 7) & ~size_t{7}; }
  uint8_t* records() { return reinterpret_cast<uint8_t*>(this + 1); }

  const size_t capacity_;
  size_t size_ = 0;
  size_t cursor_ = 0;
};

enum class SendOutcome : uint8_t { kSent = 0, kBuffered = 1, kGone = 2, kFull = 3 };

// Bytes from any thread for one connection, or its end; the outcome goes back to the sender's mailbox.
struct Send final : Message {
  Send() : Message(Kind::kSend) {}
  ConnectionId connection;
  bool destroys = false;
  std::vector<uint8_t> data;
  uint16_t replyTo = 0;
  uint32_t request = 0;
  size_t bytes() const override { return data.size(); }
};

struct SendResult final : Message {
  SendResult() : Message(Kind::kSendResult) {}
  uint32_t request = 0;
  SendOutcome outcome = SendOutcome::kGone;
};

// To a pool worker: bytes of a streamed reply have left, or never will because the connection is gone.
struct Credit final : Message {
  Credit() : Message(Kind::kCredit) {}
  uint32_t token = 0;
  uint32_t amount = 0;
  bool gone = false;
};

// To the pool workers: a connection closed with frames in flight.
struct Gone final : Message {
  Gone() : Message(Kind::kGone) {}
  ConnectionId connection;
};

// To a connection's home: it has closed elsewhere, its slot may be used again.
struct Released final : Message {
  explicit Released(ConnectionId of) : Message(Kind::kReleased), connection(of) {}
  ConnectionId connection;
};

// A fresh connection for a sibling reactor. Only a reactor makes one; the pool has no way to.
struct Handover final : Message {
  enum class State : uint8_t {
    kNew,
    kProxied,  // a PROXY header comes first
    kPlaced    // its peer is known, it is admitted, and this is where it goes
  };
  Handover(Fd socket, Peer from, uint16_t of, State is)
      : Message(Kind::kHandover), fd(std::move(socket)), peer(from), listener(of), state(is) {}
  Handover(Handover&& other) noexcept
      : Message(Kind::kHandover),
        fd(std::move(other.fd)),
        peer(other.peer),
        listener(other.listener),
        state(other.state),
        received(std::move(other.received)),
        bytesRead(other.bytesRead) {}
  Fd fd;
  Peer peer;
  uint16_t listener;
  State state;
  std::vector<uint8_t> received;  // kPlaced: behind its PROXY header
  uint64_t bytesRead = 0;         // that header included
};

}  // namespace mr
