// Work for the pool: one or more whole frames of one connection, as bytes. There is no descriptor and no pointer to a
// connection in it, so handing one to the pool cannot even be written.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/fatal.h"
#include "base/recycler.h"
#include "exchange/connection_id.h"
#include "exchange/memory_shares.h"
#include "exchange/peer.h"

namespace mr {

// The purpose of a frame in the pool: a reply to its connection, or a result for the caller, of `parse` or of `task`.
enum class SubmitHow : uint8_t { kReply, kRun, kValue };

class Task {
 public:
  // kRun: the result is for the handler, not for the connection. kPermitted: its reactor has let it go, and no worker sets it
  // aside. kValue: its bytes are a serialized value for the app's task hook, and its result will be another.
  enum Flags : uint8_t { kNone = 0, kRun = 1, kRefused = 2, kPermitted = 4, kValue = 8 };

  struct Header {
    ConnectionId connection;
    uint64_t firstSequence = 0;  // frame i has sequence firstSequence + i
    uint16_t listener = 0;
    uint8_t flags = kNone;
    Peer peer;
  };

  // One block for header, frame ends and bytes. The caller then appends exactly `frames` frames of `bytes` in all. `home`: of the
  // calling thread, where the block goes back to; without one it comes from the allocator.
  static Task* create(const Header& header, uint32_t frames, size_t bytes, Recycler* home = nullptr);
  void append(std::span<const uint8_t> frame) {
    const uint64_t start = appended_ == 0 ? 0 : ends()[appended_ - 1];
    MR_CHECK(appended_ < frames_ && start + frame.size() <= bytes_, "more frames than the task was made for");
    if (!frame.empty()) std::memcpy(data() + start, frame.data(), frame.size());
    ends()[appended_++] = start + frame.size();
  }

  const Header& header() const { return header_; }
  uint32_t frames() const { return frames_; }
  size_t bytes() const { return bytes_; }
  std::span<const uint8_t> frame(uint32_t index) const {
    const uint64_t start = index == 0 ? 0 : ends()[index - 1];
    return {data() + start, static_cast<size_t>(ends()[index] - start)};
  }
  uint64_t sequence(uint32_t index) const { return header_.firstSequence + index; }

  void retain() { references_.fetch_add(1, std::memory_order_relaxed); }
  void release();
  // All that it takes, until the last reference goes. Once; the counter must outlive it.
  void countIn(MemoryShares* memory);

  uint64_t queuedAtNs = 0;
  uint64_t costNs = 0;  // the expected cost of its frames together; 0: the cost of one is unknown
  // How much may be on its way to its connection when one of its frames begins; without it, any.
  uint32_t roomKib() const { return roomKib_; }
  void setRoom(size_t bytes) { roomKib_ = static_cast<uint32_t>(std::min<size_t>(bytes >> 10, kAnyRoom)); }
  uint8_t attempt() const { return static_cast<uint8_t>(attempt_); }
  void setAttempt(uint8_t attempt) { attempt_ = attempt; }
  // The queue was full: the app only says so, in the protocol's words.
  void refuse() { header_.flags |= kRefused; }

 private:
  size_t footprint() const { return Recycler::sizeOf(this); }
  Task(const Header& header, uint32_t frames, size_t bytes) : header_(header), frames_(frames), bytes_(bytes) {}
  uint64_t* ends() { return reinterpret_cast<uint64_t*>(this + 1); }
  const uint64_t* ends() const { return reinterpret_cast<const uint64_t*>(this + 1); }
  uint8_t* data() { return reinterpret_cast<uint8_t*>(ends() + frames_); }
  const uint8_t* data() const { return reinterpret_cast<const uint8_t*>(ends() + frames_); }

  Header header_;
  std::atomic<uint32_t> references_{1};
  uint32_t frames_;
  uint32_t appended_ = 0;
  static constexpr uint32_t kAnyRoom = (1u << 24) - 1;
  uint32_t roomKib_ : 24 = kAnyRoom;
  uint32_t attempt_ : 8 = 0;
  size_t bytes_;
  MemoryShares* counted_ = nullptr;
};

// A share in a task. Workers that split the frames of one task each hold one.
class TaskRef {
 public:
  TaskRef() = default;
  explicit TaskRef(Task* adopted) : task_(adopted) {}
  TaskRef(const TaskRef& other) : task_(other.task_) {
    if (task_) task_->retain();
  }
  TaskRef(TaskRef&& other) noexcept : task_(other.task_) { other.task_ = nullptr; }
  TaskRef& operator=(TaskRef other) noexcept {
    std::swap(task_, other.task_);
    return *this;
  }
  ~TaskRef() {
    if (task_) task_->release();
  }
  Task* operator->() const { return task_; }
  Task* get() const { return task_; }
  explicit operator bool() const { return task_ != nullptr; }

 private:
  Task* task_ = nullptr;
};

// One frame of a task, on its way to being parsed.
struct FrameRef {
  TaskRef task;
  uint32_t index = 0;
  uint8_t attempt = 0;  // how often a worker has died on it
};

}  // namespace mr
