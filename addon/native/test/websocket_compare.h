// Gives a stream of frames to the framer in parts and compares the results with the slow reference after every part.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "codec/websocket.h"
#include "websocket_reference.h"

namespace mr::test {

class WebSocketComparison {
 public:
  WebSocketComparison(const FramingConfig& config, std::span<const uint8_t> stream)
      : config_(config), stream_(stream), reference_(config.maxBytes, config.windowBits != 0) {}

  // The next bytes, up to the stream's `end`, have come. Returns the fault, or nothing.
  std::optional<std::string> arrive(size_t end) {
    for (; fed_ < end; ++fed_) reference_.feed(stream_[fed_]);
    while (code_ == 0 && end - start_ >= needed_) {
      const size_t size = end - start_;
      // A block of exactly this size, so that the address sanitizer sees a read behind it.
      const std::unique_ptr<uint8_t[]> bytes(new uint8_t[size]);
      if (size != 0) std::memcpy(bytes.get(), stream_.data() + start_, size);
      const FrameCut cut = nextFrame(config_, bytes.get(), size, 0, state_);
      if (cut.kind == FrameCut::Kind::kPartial) {
        if (cut.needed <= size) return at(end, "needed is no more than there is");
        needed_ = cut.needed;
        break;
      }
      needed_ = 0;
      if (cut.kind == FrameCut::Kind::kError) {
        const FrameError wanted = cut.code == 1009 ? FrameError::kTooLarge : FrameError::kMalformed;
        if (cut.error != wanted) return at(end, "an error that does not fit its code");
        code_ = cut.code;
        break;
      }
      if (auto wrong = take(cut, bytes.get(), size)) return at(end, *wrong);
    }
    if (frames_ != reference_.frames().size()) {
      return at(end, std::to_string(frames_) + " frames, not " + std::to_string(reference_.frames().size()));
    }
    if (code_ != reference_.code()) return at(end, std::to_string(code_) + ", not " + std::to_string(reference_.code()));
    return std::nullopt;
  }

 private:
  std::optional<std::string> take(const FrameCut& cut, const uint8_t* bytes, size_t size) {
    if (cut.consumed == 0 || cut.consumed > size) return "consumed is 0 or more than there is";
    if (cut.offset > cut.consumed || cut.length != cut.consumed - cut.offset) return "the payload lies outside its frame";
    if ((cut.info & kWebSocketFrame) == 0) return "a frame that does not say that it is one";
    const std::unique_ptr<uint8_t[]> payload(new uint8_t[cut.length]);
    const bool ascii = unmaskInto(payload.get(), bytes + cut.offset, cut.length, cut.mask);
    const WebSocketReference::Frame frame{cut.info & kWebSocketOpcode, (cut.info & kWebSocketFin) != 0,
                                          (cut.info & kWebSocketCompressed) != 0,
                                          std::string(payload.get(), payload.get() + cut.length)};
    if (frames_ >= reference_.frames().size()) return "a frame that should not be there";
    if (frame != reference_.frames()[frames_]) return "frame " + std::to_string(frames_) + " differs";
    bool plain = true;
    for (char byte : frame.payload) plain = plain && (byte & 0x80) == 0;
    if (ascii != plain) return "frame " + std::to_string(frames_) + " is ASCII, or is not";
    ++frames_;
    start_ += cut.consumed;
    state_ = cut.state;
    return std::nullopt;
  }

  static std::string at(size_t end, const std::string& what) { return "after " + std::to_string(end) + " bytes: " + what; }

  const FramingConfig& config_;
  const std::span<const uint8_t> stream_;
  WebSocketReference reference_;
  size_t fed_ = 0, start_ = 0, needed_ = 0, frames_ = 0;
  uint64_t state_ = 0;
  int code_ = 0;
};

// `ends`: where each part ends, rising, the last one the stream's end.
inline std::optional<std::string> compareWebSocket(const FramingConfig& config, std::span<const uint8_t> stream,
                                                   std::span<const size_t> ends) {
  WebSocketComparison comparison(config, stream);
  for (size_t end : ends) {
    if (auto wrong = comparison.arrive(end)) return wrong;
  }
  return std::nullopt;
}

// In two parts, split everywhere, and byte by byte.
inline std::optional<std::string> compareWebSocketAtEverySplit(const FramingConfig& config, std::span<const uint8_t> stream) {
  std::vector<size_t> all;
  for (size_t split = 0; split <= stream.size(); ++split) {
    const size_t ends[] = {split, stream.size()};
    if (auto wrong = compareWebSocket(config, stream, ends)) return "split at " + std::to_string(split) + ", " + *wrong;
    all.push_back(split);
  }
  if (auto wrong = compareWebSocket(config, stream, all)) return "byte by byte, " + *wrong;
  return std::nullopt;
}

}  // namespace mr::test
