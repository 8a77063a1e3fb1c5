#include "codec/http1_head.h"

#include <algorithm>
#include <utility>

#include "codec/http1.h"
#include "codec/http1_grammar.h"

namespace mr {

namespace {

constexpr uint16_t kTooLong = 414, kExpectation = 417, kFieldsTooLarge = 431, kNotImplemented = 501, kVersion = 505;
constexpr size_t kMostMethod = 24;  // the longest registered one has 17
constexpr uint64_t kMostLength = uint64_t{1} << 60;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && isBlank(static_cast<uint8_t>(text.front()))) text.remove_prefix(1);
  while (!text.empty() && isBlank(static_cast<uint8_t>(text.back()))) text.remove_suffix(1);
  return text;
}

// The next element of a list, and the rest behind its comma.
std::string_view takeElement(std::string_view* list) {
  const size_t comma = list->find(',');
  const std::string_view element = trimmed(list->substr(0, comma));
  *list = comma == std::string_view::npos ? std::string_view() : list->substr(comma + 1);
  return element;
}

// How far a head that is not whole has been checked, in one number. Before `line` stand whole lines; from there to `end` all
// bytes are of one kind, so that more of them tell nothing new. maxHeadBytes is below 2^20, and the highest bit stays 0.
struct Checked {
  enum class Run : uint8_t { kNone, kTarget, kName, kValue };
  static constexpr int kBits = 20;
  static constexpr size_t kMask = (size_t{1} << kBits) - 1;

  size_t start = 0;  // of the request line
  size_t line = 0;
  size_t end = 0;
  Run run = Run::kNone;

  static Checked of(size_t hint) {
    return {hint & kMask, hint >> kBits & kMask, hint >> 2 * kBits & kMask, static_cast<Run>(hint >> 3 * kBits & 3)};
  }
  size_t hint() const { return start | line << kBits | end << 2 * kBits | static_cast<size_t>(run) << 3 * kBits; }
};

// Reads lines one by one. Faults that only the whole head shows (a second length, a missing host) are kept until its end, so that
// it does not matter how much of the head was there at a time.
class HeadReader {
 public:
  HeadReader(const FramingConfig& framing, const uint8_t* data, size_t size)
      : framing_(framing), data_(data), size_(size), window_(std::min<size_t>(size, framing.maxHeadBytes)) {}

  Http1Head readRequest(Checked before) {
    size_t at = before.start;
    if (!skipEmptyLines(&at)) return stopped(at, true);
    head_.start = at;
    const bool inFields = before.line > at;
    if (goesOn(before)) return stopped(before.line, !inFields);
    if (inFields) {
      at = before.line;  // checked before, but not remembered: read again when the head is whole
    } else if (!readLine(&at)) {
      return stopped(at, true);
    }
    if (!readFields(&at)) return stopped(at);
    if (inFields) return HeadReader(framing_, data_, size_).readRequest({});
    head_.end = at;
    return judged();
  }

  Http1Head readTrailer(Checked before) {
    if (goesOn(before)) return stopped(before.line);
    size_t at = before.line;
    if (!readFields(&at)) return stopped(at);
    if (before.line != 0) return HeadReader(framing_, data_, size_).readTrailer({});
    head_.end = at;
    const bool frames = hosts_ != 0 || hasLength_ || codings_ != 0;
    if (!frames && fields_ <= framing_.maxHeaders) {
      head_.kind = Http1Head::Kind::kHead;
      return head_;
    }
    head_.kind = Http1Head::Kind::kError;
    head_.error = frames ? FrameError::kMalformed : FrameError::kTooLarge;
    head_.code = frames ? kBadRequest : kFieldsTooLarge;
    return head_;
  }

 private:
  // `line`: where the line that could not be read begins.
  Http1Head stopped(size_t line, bool inRequestLine = false) {
    head_.error = now_ == 0 ? FrameError::kNone : FrameError::kMalformed;
    if (now_ == 0 && size_ >= framing_.maxHeadBytes) {
      now_ = inRequestLine ? kTooLong : kFieldsTooLarge;
      head_.error = FrameError::kTooLarge;
    }
    head_.kind = now_ == 0 ? Http1Head::Kind::kPartial : Http1Head::Kind::kError;
    head_.code = now_;
    // Where the line has not begun, the empty ones before it have been checked.
    head_.scanned = Checked{inRequestLine ? line : head_.start, line, window_, run_}.hint();
    return head_;
  }

  // There are only more bytes of the kind that it ended with.
  bool goesOn(const Checked& before) {
    if (before.run == Checked::Run::kNone) return false;
    size_t at = before.end;
    const auto all = [&](auto isOne) {
      while (at < window_ && isOne(data_[at])) ++at;
      return at == window_;
    };
    run_ = before.run;
    if (run_ == Checked::Run::kTarget ? all(isTargetByte) : run_ == Checked::Run::kName ? all(isTokenByte) : all(isFieldByte)) {
      return true;
    }
    run_ = Checked::Run::kNone;
    return false;
  }

  bool endsIn(Checked::Run run) {
    run_ = run;
    return false;
  }

  bool broken(uint16_t code) {
    now_ = code;
    return false;
  }

  // Something that the end of the head will answer for. The first counts.
  void fail(uint16_t code, FrameError error = FrameError::kMalformed) {
    if (failure_ != 0) return;
    failure_ = code;
    head_.code = code;
    head_.error = error;
  }

  // False: partial, or broken when `now_` says so.
  bool lineEnd(size_t* at) {
    if (*at == window_) return false;
    if (data_[*at] != '\r') return broken(kBadRequest);
    if (*at + 1 == window_) return false;
    if (data_[*at + 1] != '\n') return broken(kBadRequest);
    *at += 2;
    return true;
  }

  // Some clients end a body with a line end that is not part of it (RFC 9112, section 2.2).
  bool skipEmptyLines(size_t* at) {
    while (*at < window_ && (data_[*at] == '\r' || data_[*at] == '\n')) {
      size_t behind = *at;
      if (!lineEnd(&behind)) return false;
      *at = behind;
    }
    return *at < window_;
  }

  std::string_view text(size_t from, size_t to) const { return {reinterpret_cast<const char*>(data_) + from, to - from}; }

  bool readLine(size_t* line) {
    size_t at = *line;
    while (at < window_ && isTokenByte(data_[at])) ++at;
    const std::string_view method = text(*line, at);
    if (method.size() > kMostMethod) return broken(kNotImplemented);
    if (at == window_) return false;
    if (method.empty() || data_[at] != ' ') return broken(kBadRequest);
    const size_t target = ++at;
    while (at < window_ && isTargetByte(data_[at])) ++at;
    if (at == window_) return endsIn(Checked::Run::kTarget);
    if (at == target || data_[at] != ' ') return broken(kBadRequest);
    const std::string_view requested = text(target, at);
    ++at;
    if (!readVersion(&at)) return false;
    if (!lineEnd(&at)) return false;
    if (method == "CONNECT") return broken(kNotImplemented);
    if (!isTarget(method, requested)) return broken(kBadRequest);
    if (method == "HEAD") head_.info |= kHttp1Head;
    *line = at;
    return true;
  }

  // Origin, absolute or asterisk form; the form for proxies is refused.
  static bool isTarget(std::string_view method, std::string_view target) {
    if (target.front() == '/') return true;
    if (target == "*") return method == "OPTIONS";
    for (const std::string_view scheme : {std::string_view("http://"), std::string_view("https://")}) {
      if (target.size() > scheme.size() && equalsIgnoringCase(target.substr(0, scheme.size()), scheme)) return true;
    }
    return false;
  }

  bool readVersion(size_t* at) {
    constexpr std::string_view kName = "HTTP/";
    constexpr size_t kBytes = kName.size() + 3;
    for (size_t i = 0; i < kBytes; ++i) {
      if (*at + i == window_) return false;
      const uint8_t byte = data_[*at + i];
      const bool digit = byte >= '0' && byte <= '9';
      if (i < kName.size() ? byte != static_cast<uint8_t>(kName[i]) : i == kName.size() + 1 ? byte != '.' : !digit) {
        return broken(kBadRequest);
      }
    }
    const uint8_t major = data_[*at + kName.size()], minor = data_[*at + kBytes - 1];
    if (major != '1') return broken(kVersion);
    if (minor == '0') head_.info |= kHttp10;
    *at += kBytes;
    return true;
  }

  // All lines up to the empty one.
  bool readFields(size_t* line) {
    for (;;) {
      size_t at = *line;
      if (at == window_) return false;
      if (data_[at] == '\r') {
        if (!lineEnd(&at)) return false;
        *line = at;
        return true;
      }
      while (at < window_ && isTokenByte(data_[at])) ++at;
      if (at == window_) return endsIn(Checked::Run::kName);
      // A blank at the line's beginning would continue the last one, one before the colon would be another name.
      if (at == *line || data_[at] != ':') return broken(kBadRequest);
      const std::string_view name = text(*line, at);
      const size_t value = ++at;
      while (at < window_ && isFieldByte(data_[at])) ++at;
      const size_t end = at;
      if (at == window_) return endsIn(Checked::Run::kValue);
      if (!lineEnd(&at)) return false;
      if (++fields_ > framing_.maxHeaders) fail(kFieldsTooLarge, FrameError::kTooLarge);
      know(name, trimmed(text(value, end)));
      *line = at;
    }
  }

  void know(std::string_view name, std::string_view value) {
    switch (name.size()) {
      case 4:
        if (equalsIgnoringCase(name, "host")) host(value);
        break;
      case 6:
        if (equalsIgnoringCase(name, "expect")) expect(value);
        break;
      case 7:
        if (equalsIgnoringCase(name, "upgrade")) upgradeNamed_ = true;
        break;
      case 10:
        if (equalsIgnoringCase(name, "connection")) connection(value);
        break;
      case 14:
        if (equalsIgnoringCase(name, "content-length")) length(value);
        break;
      case 17:
        if (equalsIgnoringCase(name, "transfer-encoding")) coding(value);
        break;
      default:
        break;
    }
  }

  void host(std::string_view value) {
    if (++hosts_ > 1) fail(kBadRequest);
    for (char byte : value) {
      if (!isHostByte(static_cast<uint8_t>(byte))) return fail(kBadRequest);
    }
  }

  void expect(std::string_view value) {
    if (!equalsIgnoringCase(value, "100-continue")) return fail(kExpectation);
    head_.info |= kHttp1Expects;
  }

  void connection(std::string_view value) {
    while (!value.empty()) {
      const std::string_view option = takeElement(&value);
      if (equalsIgnoringCase(option, "close")) close_ = true;
      if (equalsIgnoringCase(option, "keep-alive")) keepAlive_ = true;
      if (equalsIgnoringCase(option, "upgrade")) upgradeAsked_ = true;
    }
  }

  // Digits and nothing else: no sign, no list, no second one, even if it says the same.
  void length(std::string_view value) {
    const bool second = std::exchange(hasLength_, true);
    if (second || value.empty()) return fail(kBadRequest);
    for (char byte : value) {
      if (byte < '0' || byte > '9') return fail(kBadRequest);
      head_.length = std::min(head_.length * 10 + static_cast<uint64_t>(byte - '0'), kMostLength);
    }
  }

  void coding(std::string_view value) {
    if (++codings_ > 1) return fail(kBadRequest);
    if (equalsIgnoringCase(value, "chunked")) return;
    // Where another coding comes last, the end of the body is unknown.
    std::string_view last = value;
    while (last.find(',') != std::string_view::npos) last = last.substr(last.find(',') + 1);
    const bool chunkedLast = equalsIgnoringCase(trimmed(last), "chunked");
    size_t times = 0;
    bool empty = value.empty();
    for (std::string_view rest = value; !rest.empty();) {
      const std::string_view element = takeElement(&rest);
      if (equalsIgnoringCase(element, "chunked")) ++times;
      if (element.empty()) empty = true;
    }
    fail(empty || times > 1 || (times == 1 && !chunkedLast) ? kBadRequest : kNotImplemented);
  }

  // The head is whole.
  Http1Head judged() {
    const bool old = (head_.info & kHttp10) != 0;
    if (hosts_ == 0 && !old) fail(kBadRequest);
    if (codings_ != 0 && (hasLength_ || old)) fail(kBadRequest);
    if (codings_ != 0) head_.info |= kHttp1Chunked;
    if (old ? !keepAlive_ || close_ : close_) head_.info |= kHttp1Close;
    if (upgradeNamed_ && upgradeAsked_ && !old) head_.info |= kHttp1Upgrade;
    if (old || (codings_ == 0 && head_.length == 0)) head_.info &= ~uint32_t{kHttp1Expects};
    head_.info |= static_cast<uint32_t>(head_.end - head_.start);
    head_.kind = failure_ == 0 ? Http1Head::Kind::kHead : Http1Head::Kind::kError;
    return head_;
  }

  const FramingConfig& framing_;
  const uint8_t* const data_;
  const size_t size_;
  const size_t window_;
  Http1Head head_;
  Checked::Run run_ = Checked::Run::kNone;
  uint16_t now_ = 0, failure_ = 0;
  uint32_t fields_ = 0, hosts_ = 0, codings_ = 0;
  bool hasLength_ = false, close_ = false, keepAlive_ = false, upgradeNamed_ = false, upgradeAsked_ = false;
};

}  // namespace

Http1Head readHttp1Head(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint) {
  return HeadReader(framing, data, size).readRequest(Checked::of(hint));
}

Http1Head readHttp1Trailer(const FramingConfig& framing, const uint8_t* data, size_t size, size_t hint) {
  return HeadReader(framing, data, size).readTrailer(Checked::of(hint));
}

}  // namespace mr
