// Gives a stream to a framer in parts, as a connection does, and compares the result with the reference after every part.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "codec_reference.h"

namespace mr::test {

inline std::string describe(const FramingConfig& config) {
  std::string text =
      "framing { kind " + std::to_string(static_cast<int>(config.kind)) + ", maxBytes " + std::to_string(config.maxBytes);
  if (config.kind == FramingKind::kFixed) text += ", fixedBytes " + std::to_string(config.fixedBytes);
  if (config.kind == FramingKind::kDelimiter) {
    text += ", delimiter";
    for (char c : config.delimiter) text += " " + std::to_string(static_cast<uint8_t>(c));
    if (config.trimCarriageReturn) text += ", trimCarriageReturn";
  }
  if (config.kind == FramingKind::kLengthPrefixed) {
    text += ", type " + std::to_string(static_cast<int>(config.lengthType)) + ", offset " + std::to_string(config.lengthOffset) +
            ", adjustment " + std::to_string(config.lengthAdjustment) + ", strip " + std::to_string(config.strip);
    if (config.lengthIncludesHeader) text += ", includesHeader";
  }
  if (config.kind == FramingKind::kRespCommand || config.kind == FramingKind::kRespValue) {
    text += ", maxElements " + std::to_string(config.resp.maxElements) + ", maxBulkBytes " +
            std::to_string(config.resp.maxBulkBytes) + ", maxLineBytes " + std::to_string(config.resp.maxLineBytes) +
            ", maxDepth " + std::to_string(config.resp.maxDepth);
    if (config.resp.batch) text += ", batch";
  }
  if (config.kind == FramingKind::kMqtt) text += ", mqttTypes " + std::to_string(config.mqttTypes);
  return text + " }";
}

inline std::string describe(std::span<const uint8_t> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = std::to_string(bytes.size()) + " bytes ";
  for (uint8_t byte : bytes) text.append({kDigits[byte >> 4], kDigits[byte & 15]});
  return text;
}

inline bool sameCut(const FrameCut& a, const FrameCut& b) {
  return a.kind == b.kind && a.error == b.error && a.offset == b.offset && a.length == b.length && a.consumed == b.consumed &&
         a.needed == b.needed && a.scanned == b.scanned;
}

// The violated rule of framer.h's contract, which holds for every framing. Nullopt when it holds.
inline std::optional<std::string> brokenContract(const FrameCut& cut, size_t size) {
  switch (cut.kind) {
    case FrameCut::Kind::kFrame:
      if (cut.consumed == 0 || cut.consumed > size) return "consumed is 0 or more than there is";
      if (cut.offset > cut.consumed || cut.length > cut.consumed - cut.offset) return "the body lies outside its frame";
      return std::nullopt;
    case FrameCut::Kind::kPartial:
      if (cut.needed <= size) return "needed is no more than there is";
      if (cut.scanned > size) return "scanned is more than there is";
      return std::nullopt;
    case FrameCut::Kind::kError:
      if (cut.error == FrameError::kNone) return "an error without a kind";
      return std::nullopt;
  }
  return "an unknown answer";
}

class Comparison {
 public:
  Comparison(const FramingConfig& config, std::span<const uint8_t> stream, const Expected& expected)
      : config_(config), stream_(stream), expected_(expected) {}

  // The next bytes, up to the stream's `end`, have come. Returns the fault, or nothing.
  std::optional<std::string> arrive(size_t end) {
    while (error_ == FrameError::kNone && end - start_ >= needed_) {
      if (auto wrong = cutOnce(end - start_)) return at(end, *wrong);
      if (partial_) break;
    }
    if (frames_ != expected_.framesAfter[end]) {
      return at(end, std::to_string(frames_) + " frames, not " + std::to_string(expected_.framesAfter[end]));
    }
    if (end - start_ < needed_ && mayErrLater()) return std::nullopt;
    if (error_ != expected_.errorAfter[end]) {
      return at(end, "error " + std::to_string(static_cast<int>(error_)) + ", not " +
                         std::to_string(static_cast<int>(expected_.errorAfter[end])));
    }
    return std::nullopt;
  }

 private:
  // RESP asks again when a frame may be whole and not for every byte that might be wrong: a slow sender must not make it read
  // through a long command again and again.
  bool mayErrLater() const { return config_.kind == FramingKind::kRespCommand || config_.kind == FramingKind::kRespValue; }

  std::optional<std::string> cutOnce(size_t size) {
    // A block of exactly this size, so that the address sanitizer sees a read behind it.
    const std::unique_ptr<uint8_t[]> bytes(new uint8_t[size]);
    if (size != 0) std::memcpy(bytes.get(), stream_.data() + start_, size);
    const FrameCut cut = nextFrame(config_, bytes.get(), size, hint_);
    if (auto broken = brokenContract(cut, size)) return broken;
    if (!sameCut(cut, nextFrame(config_, bytes.get(), size, 0))) return "the hint changes the answer";
    partial_ = cut.kind == FrameCut::Kind::kPartial;
    needed_ = partial_ ? cut.needed : 0;
    hint_ = partial_ ? cut.scanned : 0;
    if (cut.kind == FrameCut::Kind::kError) error_ = cut.error;
    if (cut.kind == FrameCut::Kind::kFrame) return takeFrame(cut, bytes.get());
    return std::nullopt;
  }

  std::optional<std::string> takeFrame(const FrameCut& cut, const uint8_t* bytes) {
    std::string frame(reinterpret_cast<const char*>(bytes) + cut.offset, cut.length);
    do {
      if (frames_ >= expected_.frames.size()) return "a frame that should not be there";
      const std::string& wanted = expected_.frames[frames_];
      // A batch is as many of them as there were; every other frame is one.
      const bool isOne = config_.resp.batch ? !wanted.empty() && frame.starts_with(wanted) : frame == wanted;
      if (!isOne) return "frame " + std::to_string(frames_) + " differs";
      frame.erase(0, wanted.size());
      ++frames_;
    } while (!frame.empty());
    start_ += cut.consumed;
    return std::nullopt;
  }

  static std::string at(size_t end, const std::string& what) { return "after " + std::to_string(end) + " bytes: " + what; }

  const FramingConfig& config_;
  const std::span<const uint8_t> stream_;
  const Expected& expected_;
  size_t start_ = 0, needed_ = 0, hint_ = 0, frames_ = 0;
  FrameError error_ = FrameError::kNone;
  bool partial_ = false;
};

// `ends`: where each part ends, rising, the last one the stream's end.
inline std::optional<std::string> compareInParts(const FramingConfig& config, std::span<const uint8_t> stream,
                                                 const Expected& expected, std::span<const size_t> ends) {
  Comparison comparison(config, stream, expected);
  for (size_t end : ends) {
    if (auto wrong = comparison.arrive(end)) return wrong;
  }
  return std::nullopt;
}

// In two parts, split everywhere, and byte by byte.
inline std::optional<std::string> compareAtEverySplit(const FramingConfig& config, std::span<const uint8_t> stream) {
  const Expected expected = expect(config, stream);
  std::vector<size_t> all;
  for (size_t split = 0; split <= stream.size(); ++split) {
    const size_t ends[] = {split, stream.size()};
    if (auto wrong = compareInParts(config, stream, expected, ends)) return "split at " + std::to_string(split) + ", " + *wrong;
    all.push_back(split);
  }
  if (auto wrong = compareInParts(config, stream, expected, all)) return "byte by byte, " + *wrong;
  return std::nullopt;
}

}  // namespace mr::test
