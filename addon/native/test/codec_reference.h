// The framers once more, slow and plain: one byte at a time, everything seen is kept, sums in 128 bits. Shares no code with
// src/codec. It decides at the first possible byte, so it also tells how early a frame or an error has to be found.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "codec/framer.h"
#include "protocol_reference.h"

namespace mr::test {

class Reference {
 public:
  explicit Reference(const FramingConfig& config) : config_(config) {}

  // Nothing comes out after an error.
  void feed(uint8_t byte) {
    if (error_ != FrameError::kNone) return;
    seen_.push_back(static_cast<char>(byte));
    if (config_.kind == FramingKind::kDelimiter) return feedDelimited();
    if (config_.kind == FramingKind::kFixed) return feedFixed();
    feedLengthPrefixed();
  }

  const std::vector<std::string>& frames() const { return frames_; }
  FrameError error() const { return error_; }

 private:
  using Wide = __int128;

  void finish(size_t strip, size_t length) {
    frames_.push_back(seen_.substr(strip, length));
    seen_.clear();
  }

  // ---- a terminator

  bool endsWithBegun(size_t length) const {
    if (length > seen_.size()) return false;
    for (size_t i = 0; i < length; ++i) {
      if (seen_[seen_.size() - length + i] != config_.delimiter[i]) return false;
    }
    return true;
  }

  size_t deliveredOf(size_t body) const {
    if (config_.trimCarriageReturn && body > 0 && seen_[body - 1] == '\r') return body - 1;
    return body;
  }

  // Every way to go on that could still end in a legal frame: the terminator may have begun at any of the last bytes.
  bool mayBecomeLegal() const {
    for (size_t begun = 0; begun < config_.delimiter.size(); ++begun) {
      if (endsWithBegun(begun) && deliveredOf(seen_.size() - begun) <= config_.maxBytes) return true;
    }
    return false;
  }

  void feedDelimited() {
    if (endsWithBegun(config_.delimiter.size())) {
      const size_t length = deliveredOf(seen_.size() - config_.delimiter.size());
      if (length > config_.maxBytes) {
        error_ = FrameError::kTooLarge;
      } else {
        finish(0, length);
      }
    } else if (!mayBecomeLegal()) {
      error_ = FrameError::kTooLarge;
    }
  }

  // ---- a fixed size

  void feedFixed() {
    if (seen_.size() == config_.fixedBytes) finish(0, seen_.size());
  }

  // ---- a length

  uint8_t fieldByte(size_t i) const { return static_cast<uint8_t>(seen_[config_.lengthOffset + i]); }

  // True when the byte just seen was the last of the header.
  bool headerEnds() const {
    if (seen_.size() <= config_.lengthOffset) return false;
    const size_t field = seen_.size() - config_.lengthOffset;
    switch (config_.lengthType) {
      case LengthType::kU8:
        return field == 1;
      case LengthType::kU16Be:
      case LengthType::kU16Le:
        return field == 2;
      case LengthType::kU32Be:
      case LengthType::kU32Le:
        return field == 4;
      case LengthType::kU64Be:
        return field == 8;
      case LengthType::kVarint:
        return fieldByte(field - 1) < 128;
    }
    return false;
  }

  bool isLittleEndian() const { return config_.lengthType == LengthType::kU16Le || config_.lengthType == LengthType::kU32Le; }

  Wide valueOf(size_t field) const {
    Wide value = 0, weight = 1;
    const bool varint = config_.lengthType == LengthType::kVarint;
    for (size_t i = 0; i < field; ++i) {
      const bool leastFirst = varint || isLittleEndian();
      const uint8_t byte = fieldByte(leastFirst ? i : field - 1 - i);
      value += weight * (varint ? byte % 128 : byte);
      weight *= varint ? 128 : 256;
    }
    return value;
  }

  // A tenth byte may only add the 64th bit, and no byte may follow it.
  bool varintIsBroken() const {
    if (config_.lengthType != LengthType::kVarint || seen_.size() < config_.lengthOffset + size_t{10}) return false;
    return fieldByte(9) > 1;
  }

  void readHeader() {
    const Wide header = seen_.size();
    total_ = valueOf(seen_.size() - config_.lengthOffset) + config_.lengthAdjustment;
    if (!config_.lengthIncludesHeader) total_ += header;
    strip_ = config_.strip == FramingConfig::kStripHeader ? header : Wide{config_.strip};
    if (total_ < header || total_ < strip_) {
      error_ = FrameError::kMalformed;
    } else if (total_ - strip_ > Wide{config_.maxBytes} || total_ > Wide{UINT64_MAX}) {
      error_ = FrameError::kTooLarge;
    }
    inBody_ = true;
  }

  void feedLengthPrefixed() {
    if (!inBody_) {
      if (varintIsBroken()) {
        error_ = FrameError::kMalformed;
        return;
      }
      if (!headerEnds()) return;
      readHeader();
    }
    if (error_ != FrameError::kNone || Wide{seen_.size()} < total_) return;
    inBody_ = false;
    finish(static_cast<size_t>(strip_), static_cast<size_t>(total_ - strip_));
  }

  const FramingConfig config_;
  std::string seen_;  // of the frame that is not whole yet
  std::vector<std::string> frames_;
  FrameError error_ = FrameError::kNone;
  bool inBody_ = false;
  Wide total_ = 0, strip_ = 0;
};

// The state of the reference after each byte of a stream.
struct Expected {
  std::vector<std::string> frames;
  std::vector<size_t> framesAfter;     // [n]: after n bytes
  std::vector<FrameError> errorAfter;  // [n]: after n bytes
};

template <typename AReference>
Expected expectBy(AReference&& reference, std::span<const uint8_t> stream) {
  Expected expected{{}, {0}, {FrameError::kNone}};
  for (uint8_t byte : stream) {
    reference.feed(byte);
    expected.framesAfter.push_back(reference.frames().size());
    expected.errorAfter.push_back(reference.error());
  }
  expected.frames = reference.frames();
  return expected;
}

inline Expected expect(const FramingConfig& config, std::span<const uint8_t> stream) {
  switch (config.kind) {
    case FramingKind::kRespCommand:
    case FramingKind::kRespValue:
      return expectBy(RespReference(config), stream);
    case FramingKind::kMqtt:
      return expectBy(MqttReference(config), stream);
    default:
      return expectBy(Reference(config), stream);
  }
}

}  // namespace mr::test
