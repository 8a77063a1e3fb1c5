// RESP and MQTT once more, slow and plain, beside codec_reference.h: a state for each byte, everything seen is kept. Shares no
// code with src/codec, and decides at the first possible byte.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "codec/framer.h"

namespace mr::test {

class ProtocolReference {
 public:
  explicit ProtocolReference(const FramingConfig& config) : config_(config) {}
  virtual ~ProtocolReference() = default;

  void feed(uint8_t byte) {
    if (error_ != FrameError::kNone) return;
    seen_.push_back(static_cast<char>(byte));
    step(byte);
    if (error_ != FrameError::kNone) return;
    if (whole_) {
      if (seen_.size() > config_.maxBytes) return fail(FrameError::kTooLarge);
      frames_.push_back(seen_);
      seen_.clear();
      whole_ = false;
      restart();
    } else if (seen_.size() >= config_.maxBytes || least() > config_.maxBytes) {
      fail(FrameError::kTooLarge);
    }
  }

  const std::vector<std::string>& frames() const { return frames_; }
  FrameError error() const { return error_; }

 protected:
  virtual void step(uint8_t byte) = 0;
  virtual void restart() = 0;
  // Of the whole frame, by all that was read.
  virtual uint64_t least() const { return 0; }
  void fail(FrameError error) { error_ = error; }
  void done() { whole_ = true; }

  const FramingConfig config_;
  std::string seen_;

 private:
  std::vector<std::string> frames_;
  FrameError error_ = FrameError::kNone;
  bool whole_ = false;
};

// Values and commands alike: a tree of expected nodes, each with the type that it waits for.
class RespReference final : public ProtocolReference {
 public:
  explicit RespReference(const FramingConfig& config) : ProtocolReference(config) {}

 private:
  enum class State { kType, kNumber, kSimple, kSimpleEnd, kNumberEnd, kBody, kBodyCr, kBodyLf, kInline };
  bool isCommand() const { return config_.kind == FramingKind::kRespCommand; }
  uint64_t leastElement() const { return isCommand() ? 6 : 3; }

  void restart() override {
    state_ = State::kType;
    open_ = {1};
    line_.clear();
    settledBytes_ = 0;
  }

  uint64_t missing() const {
    uint64_t sum = 0;
    for (uint64_t values : open_) sum += values;
    return sum;
  }

  uint64_t least() const override {
    if (state_ == State::kInline || (isCommand() && open_.size() == 1)) return 0;
    const bool inBody = state_ == State::kBody || state_ == State::kBodyCr || state_ == State::kBodyLf;
    if (inBody) return bodyEnd_ + (missing() - 1) * leastElement();
    return settledBytes_ + missing() * leastElement();
  }

  // One value is there.
  void settle() {
    settledBytes_ = seen_.size();
    state_ = State::kType;
    --open_.back();
    while (!open_.empty() && open_.back() == 0) open_.pop_back();
    if (open_.empty()) done();
  }

  void step(uint8_t byte) override {
    switch (state_) {
      case State::kType:
        return onType(static_cast<char>(byte));
      case State::kInline:
        return onInline(static_cast<char>(byte));
      case State::kSimple:
        if (byte == '\r') {
          state_ = State::kSimpleEnd;
        } else if (byte == '\n') {
          fail(FrameError::kMalformed);
        } else {
          line_.push_back(static_cast<char>(byte));
          if (line_.size() > config_.resp.maxLineBytes) fail(FrameError::kTooLarge);
        }
        return;
      case State::kSimpleEnd:
        return byte == '\n' ? settle() : fail(FrameError::kMalformed);
      case State::kNumber:
        return onNumber(static_cast<char>(byte));
      case State::kNumberEnd:
        return byte == '\n' ? onNumberRead() : fail(FrameError::kMalformed);
      case State::kBody:
        if (seen_.size() == bodyEnd_ - 2) state_ = State::kBodyCr;
        return;
      case State::kBodyCr:
        state_ = State::kBodyLf;
        return byte == '\r' ? void() : fail(FrameError::kMalformed);
      case State::kBodyLf:
        return byte == '\n' ? settle() : fail(FrameError::kMalformed);
    }
  }

  void onType(char type) {
    type_ = type;
    line_.clear();
    state_ = State::kNumber;
    if (isCommand()) {
      if (open_.size() == 1 && type != '*') return beginInline(type);
      if (open_.size() > 1 && type != '$') fail(FrameError::kMalformed);
      return;
    }
    if (std::string("+-:,#_(").find(type) != std::string::npos && type != '\0') {
      state_ = State::kSimple;
    } else if (std::string("$!=*~>%|").find(type) == std::string::npos || type == '\0') {
      fail(FrameError::kMalformed);
    }
  }

  void beginInline(char byte) {
    if (config_.resp.maxLineBytes == 0) return fail(FrameError::kMalformed);
    state_ = State::kInline;
    onInline(byte);
  }

  void onInline(char byte) {
    if (byte == '\n') return balanced() ? done() : fail(FrameError::kMalformed);
    line_.push_back(byte);
    const uint64_t most = std::min(config_.resp.maxLineBytes, config_.maxBytes - 1);
    const uint64_t body = line_.back() == '\r' ? line_.size() - 1 : line_.size();
    if (body > most) fail(FrameError::kTooLarge);
  }

  // Word by word: each part of a word is plain, or quoted to its end.
  bool balanced() const {
    const std::string spaces = " \t\n\v\f\r";
    std::string rest = line_;
    while (!rest.empty() && (rest.back() == '\0' || spaces.find(rest.back()) != std::string::npos)) rest.pop_back();
    while (!rest.empty()) {
      const char quote = rest[0];
      rest.erase(0, 1);
      if (quote != '"' && quote != '\'') continue;
      for (;; rest.erase(0, 1)) {
        if (rest.empty()) return false;
        if (rest[0] == quote) break;
        const bool escapes = rest[0] == '\\' && rest.size() > 1 && (quote == '"' || rest[1] == quote);
        if (escapes) rest.erase(0, 1);
      }
      rest.erase(0, 1);
      if (!rest.empty() && spaces.find(rest[0]) == std::string::npos) return false;
    }
    return true;
  }

  void onNumber(char byte) {
    const bool isBulk = type_ == '$' || type_ == '!' || type_ == '=';
    const uint64_t most = isBulk ? config_.resp.maxBulkBytes : config_.resp.maxElements;
    const bool mayBeNull = type_ == '*' || (!isCommand() && type_ == '$');
    if (byte == '\r') {
      if (line_.empty() || line_ == "-") return fail(FrameError::kMalformed);
      state_ = State::kNumberEnd;
      return;
    }
    line_.push_back(byte);
    if (line_[0] == '-') {
      if (!mayBeNull) return fail(FrameError::kMalformed);
      if (isCommand()) return onNegative(byte);
      if (line_ != "-" && line_ != "-1") fail(FrameError::kMalformed);
      return;
    }
    if (byte < '0' || byte > '9' || (line_.size() > 1 && line_[0] == '0')) return fail(FrameError::kMalformed);
    unsigned __int128 value = 0;
    for (char digit : line_) value = value * 10 + static_cast<unsigned>(digit - '0');
    if (value > most) fail(FrameError::kTooLarge);
  }

  // Of a command: as many digits as a number of 64 bits has in any case.
  void onNegative(char byte) {
    if (line_.size() == 1) return;
    if (byte < '0' || byte > '9' || line_[1] == '0') return fail(FrameError::kMalformed);
    if (line_.size() > 19) fail(FrameError::kTooLarge);
  }

  void onNumberRead() {
    const bool isNull = line_[0] == '-';
    const uint64_t value = isNull ? 0 : std::stoull(line_);
    if (type_ == '$' || type_ == '!' || type_ == '=') {
      if (isNull) return settle();
      bodyEnd_ = seen_.size() + value + 2;
      state_ = value == 0 ? State::kBodyCr : State::kBody;
      return;
    }
    settledBytes_ = seen_.size();
    state_ = State::kType;
    const uint64_t inside = type_ == '%' || type_ == '|' ? value * 2 : value;
    if (type_ == '|') ++open_.back();  // it is not the value that is missing
    if (inside == 0) return settle();
    if (!isCommand() && levels() >= config_.resp.maxDepth) return fail(FrameError::kTooLarge);
    --open_.back();
    // A level of which nothing is left stays, as the depth that it is.
    open_.push_back(inside);
  }

  uint64_t levels() const { return open_.size() - 1; }

  State state_ = State::kType;
  std::vector<uint64_t> open_ = {1};  // values missing on each level
  std::string line_;
  char type_ = 0;
  uint64_t bodyEnd_ = 0;
  uint64_t settledBytes_ = 0;
};

class MqttReference final : public ProtocolReference {
 public:
  explicit MqttReference(const FramingConfig& config) : ProtocolReference(config) {}

 private:
  void restart() override { total_ = 0; }
  uint64_t least() const override { return total_; }

  void step(uint8_t) override {
    const auto at = [&](size_t i) { return static_cast<uint8_t>(seen_[i]); };
    if (seen_.size() == 1) {
      if (!firstByteIsLegal(at(0))) fail(FrameError::kMalformed);
      return;
    }
    if (total_ == 0) {
      const size_t length = seen_.size() - 1;
      if (at(length) >= 128) {
        if (length == 4) fail(FrameError::kMalformed);
        return;
      }
      if (length > 1 && at(length) == 0) return fail(FrameError::kMalformed);
      uint64_t rest = 0, weight = 1;
      for (size_t i = 1; i <= length; ++i, weight *= 128) rest += at(i) % 128 * weight;
      if (at(0) / 16 >= 12 && at(0) / 16 <= 13 && rest != 0) return fail(FrameError::kMalformed);
      total_ = seen_.size() + rest;
    }
    if (seen_.size() == total_) done();
  }

  bool firstByteIsLegal(uint8_t byte) const {
    const unsigned type = byte / 16, flags = byte % 16;
    if (type == 0 || (config_.mqttTypes & (1u << type)) == 0) return false;
    static const std::vector<unsigned> kPublishFlags = {0, 1, 2, 3, 4, 5, 10, 11, 12, 13};
    if (type == 3) return std::find(kPublishFlags.begin(), kPublishFlags.end(), flags) != kPublishFlags.end();
    return flags == (type == 6 || type == 8 || type == 10 ? 2u : 0u);
  }

  uint64_t total_ = 0;
};

}  // namespace mr::test
