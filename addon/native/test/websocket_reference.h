// WebSocket frames once more, slow and plain: one byte at a time, everything seen is kept, and the mask is taken off byte by
// byte. Shares no code with src/codec, and decides at the first possible byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mr::test {

class WebSocketReference {
 public:
  struct Frame {
    unsigned opcode = 0;
    bool fin = false;
    bool compressed = false;
    std::string payload;
    bool operator==(const Frame&) const = default;
  };

  // A peer that deflates may set RSV1 on the first frame of a message, which may then be longer by an eighth and 64 bytes.
  explicit WebSocketReference(uint64_t maxBytes, bool deflates = false) : maxBytes_(maxBytes), deflates_(deflates) {}

  void feed(uint8_t byte) {
    if (code_ != 0) return;
    seen_.push_back(byte);
    switch (where_) {
      case Where::kFirst:
        return onFirst(byte);
      case Where::kLength:
        return onLength(byte);
      case Where::kLonger:
        if (--left_ == 0) onLonger();
        return;
      case Where::kMask:
        if (--left_ == 0) onMask();
        return;
      case Where::kPayload:
        frame_.payload.push_back(static_cast<char>(byte ^ mask_[frame_.payload.size() % 4]));
        if (--left_ == 0) finish();
        return;
    }
  }

  const std::vector<Frame>& frames() const { return frames_; }
  int code() const { return code_; }

 private:
  enum class Where { kFirst, kLength, kLonger, kMask, kPayload };
  bool isControl() const { return frame_.opcode == 8 || frame_.opcode == 9 || frame_.opcode == 10; }

  void onFirst(uint8_t byte) {
    frame_ = {byte % 16u, byte >= 128, byte / 16 % 8 == 4, {}};
    const bool data = frame_.opcode == 1 || frame_.opcode == 2, more = frame_.opcode == 0;
    if (byte / 16 % 8 != 0 && !(deflates_ && frame_.compressed && data)) code_ = 1002;
    if (data) compressed_ = frame_.compressed;
    if ((!data && !more && !isControl())) code_ = 1002;
    if (isControl() && !frame_.fin) code_ = 1002;
    if ((data && open_) || (more && !open_)) code_ = 1002;
    where_ = Where::kLength;
  }

  void onLength(uint8_t byte) {
    if (byte < 128) code_ = 1002;
    const unsigned form = byte % 128u;
    if (isControl() && form > 125) code_ = 1002;
    if (code_ != 0) return;
    left_ = form == 126 ? 2 : form == 127 ? 8 : 0;
    length_ = form;
    where_ = Where::kLonger;
    if (left_ == 0) lengthIs(form);
  }

  void onLonger() {
    const size_t bytes = seen_.size() - 2;
    __int128 length = 0;
    for (size_t i = 2; i < seen_.size(); ++i) length = length * 256 + seen_[i];
    if (bytes == 2 && length < 126) code_ = 1002;
    if (bytes == 8 && length < 65536) code_ = 1002;
    if (bytes == 8 && length >= static_cast<__int128>(1) << 63) code_ = 1002;
    if (code_ == 0) lengthIs(length);
  }

  void lengthIs(__int128 length) {
    __int128 most = maxBytes_;
    if (compressed_) most = most + most / 8 + 64;
    if (!isControl() && message_ + length > most) {
      code_ = 1009;
      return;
    }
    length_ = static_cast<uint64_t>(length);
    left_ = 4;
    where_ = Where::kMask;
  }

  void onMask() {
    mask_.assign(seen_.end() - 4, seen_.end());
    left_ = length_;
    where_ = Where::kPayload;
    if (left_ == 0) finish();
  }

  void finish() {
    if (!isControl()) {
      message_ = frame_.fin ? 0 : message_ + length_;
      open_ = !frame_.fin;
    }
    frames_.push_back(frame_);
    seen_.clear();
    where_ = Where::kFirst;
  }

  const uint64_t maxBytes_;
  const bool deflates_;
  std::vector<uint8_t> seen_, mask_;
  std::vector<Frame> frames_;
  Frame frame_;
  Where where_ = Where::kFirst;
  uint64_t left_ = 0, length_ = 0;
  __int128 message_ = 0;
  bool open_ = false, compressed_ = false;
  int code_ = 0;
};

}  // namespace mr::test
