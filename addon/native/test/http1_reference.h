// HTTP/1.1 requests once more, slow and plain: whole strings, lines taken off the front, nothing remembered between two calls.
// Shares no code with src/codec.
#pragma once

#include <string>
#include <vector>

#include "codec/framer.h"

namespace mr::test {

// The requests of a stream. Pieces of a body are joined, because where they are cut is a matter of how they arrived.
struct Http1Outcome {
  std::vector<std::string> messages;  // "head\n" + bytes, or "all\n" + bytes
  std::vector<std::string> bodies;    // that were streamed; the last one may not be whole
  int code = 0;                       // of the error that ended it, 0: none
  bool bodyEnded = true;
  bool operator==(const Http1Outcome&) const = default;
};

class Http1Reference {
 public:
  static Http1Outcome read(const FramingConfig& config, const std::string& stream) {
    Http1Reference reference{config, stream, {}};
    while (reference.out_.code == 0 && reference.takeMessage()) {
    }
    return reference.out_;
  }

 private:
  Http1Reference(const FramingConfig& config, const std::string& stream, Http1Outcome out)
      : config_(config), rest_(stream), out_(std::move(out)) {}

  static bool in(const std::string& set, char c) { return set.find(c) != std::string::npos; }
  static bool alnum(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
  static std::string lower(std::string text) {
    for (char& c : text) {
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return text;
  }
  static std::string strip(std::string text) {
    while (!text.empty() && in(" \t", text.front())) text.erase(0, 1);
    while (!text.empty() && in(" \t", text.back())) text.pop_back();
    return text;
  }
  static std::vector<std::string> list(const std::string& text) {
    std::vector<std::string> all(1);
    for (char c : text) {
      if (c == ',') {
        all.emplace_back();
      } else {
        all.back() += c;
      }
    }
    for (std::string& each : all) each = lower(strip(each));
    return all;
  }
  static bool everyByte(const std::string& text, bool (*accepts)(char)) {
    for (char c : text) {
      if (!accepts(c)) return false;
    }
    return true;
  }
  static bool token(char c) { return alnum(c) || in("!#$%&'*+-.^_`|~", c); }
  static bool visible(char c) { return c > 0x20 && c < 0x7f; }
  static bool field(char c) { return c == '\t' || static_cast<unsigned char>(c) >= 0x80 || (c >= 0x20 && c < 0x7f); }
  static bool hostByte(char c) { return alnum(c) || in("-._~%!$&'()*+,;=:[]", c); }

  enum class Taken { kLine, kNone, kBad };

  // The line at `at`, which must end in CR LF and hold neither.
  static Taken line(const std::string& text, size_t at, size_t most, std::string* out) {
    const size_t end = text.find_first_of("\r\n", at);
    if (end == std::string::npos || end >= most) return Taken::kNone;
    if (text[end] == '\n') return Taken::kBad;
    if (end + 1 >= text.size() || end + 1 >= most) return Taken::kNone;
    if (text[end + 1] != '\n') return Taken::kBad;
    *out = text.substr(at, end - at);
    return Taken::kLine;
  }

  bool fail(int code) {
    out_.code = code;
    return false;
  }

  // Reads fields up to the empty line. False: not all there, or an error.
  bool fields(const std::string& text, size_t* at, std::vector<std::pair<std::string, std::string>>* all) {
    for (;;) {
      std::string one;
      const Taken taken = line(text, *at, config_.maxHeadBytes, &one);
      if (taken == Taken::kBad) return fail(400);
      if (taken == Taken::kNone) {
        return text.size() >= config_.maxHeadBytes ? fail(431) : false;
      }
      *at += one.size() + 2;
      if (one.empty()) return true;
      const size_t colon = one.find(':');
      if (colon == std::string::npos || colon == 0) return fail(400);
      if (!everyByte(one.substr(0, colon), token) || !everyByte(one.substr(colon + 1), field)) return fail(400);
      all->emplace_back(lower(one.substr(0, colon)), strip(one.substr(colon + 1)));
    }
  }

  bool takeMessage() {
    size_t start = 0;
    while (rest_.compare(start, 2, "\r\n") == 0 && start + 2 <= config_.maxHeadBytes) start += 2;
    std::string request;
    const Taken taken = line(rest_, start, config_.maxHeadBytes, &request);
    if (taken == Taken::kBad) return fail(400);
    if (taken == Taken::kNone) return rest_.size() >= config_.maxHeadBytes ? fail(414) : false;
    if (!checkLine(request)) return false;
    std::vector<std::pair<std::string, std::string>> all;
    size_t end = start + request.size() + 2;
    if (!fields(rest_, &end, &all)) return false;
    int hosts = 0, lengths = 0, codings = 0, late = 0;
    unsigned __int128 length = 0;
    const auto bad = [&](int code) {
      if (late == 0) late = code;
    };
    size_t count = 0;
    for (const auto& [name, value] : all) {
      if (++count > config_.maxHeaders) bad(431);
      if (name == "host" && (++hosts > 1 || !everyByte(value, hostByte))) bad(400);
      if (name == "expect" && lower(value) != "100-continue") bad(417);
      if (name == "content-length") {
        if (++lengths > 1 || value.empty() || value.find_first_not_of("0123456789") != std::string::npos) {
          bad(400);
        } else {
          for (char c : value) length = length > (uint64_t{1} << 61) ? length : length * 10 + static_cast<unsigned>(c - '0');
        }
      }
      if (name == "transfer-encoding") {
        if (++codings > 1) {
          bad(400);
        } else {
          bad(codingCode(value));
        }
      }
    }
    const bool old = request.substr(request.size() - 3) == "1.0";
    if (hosts == 0 && !old) bad(400);
    if (codings != 0 && (lengths != 0 || old)) bad(400);
    if (late != 0) return fail(late);
    if (codings == 0 && length > config_.maxBytes) return fail(413);
    const bool streamed = config_.streamsBody && (codings != 0 || length > config_.wholeBytes);
    if (streamed) {
      out_.messages.push_back("head\n" + rest_.substr(start, end - start));
      out_.bodies.emplace_back();
      out_.bodyEnded = false;
    }
    return codings != 0 ? takeChunks(start, end, streamed) : takeLength(start, end, static_cast<size_t>(length), streamed);
  }

  static int codingCode(const std::string& value) {
    const std::vector<std::string> all = list(value);
    if (all.size() == 1 && all[0] == "chunked") return 0;
    size_t times = 0;
    for (const std::string& each : all) {
      if (each.empty()) return 400;
      if (each == "chunked") ++times;
    }
    return times > 1 || (times == 1 && all.back() != "chunked") ? 400 : 501;
  }

  bool checkLine(const std::string& text) {
    const size_t first = text.find(' ');
    const std::string method = text.substr(0, first);
    // A method's length is known before anything behind it.
    size_t tokens = 0;
    while (tokens < text.size() && token(text[tokens])) ++tokens;
    if (tokens > 24) return fail(501);
    if (first == std::string::npos || method.empty() || !everyByte(method, token)) return fail(400);
    const size_t second = text.find(' ', first + 1);
    if (second == std::string::npos) return fail(400);
    const std::string target = text.substr(first + 1, second - first - 1), version = text.substr(second + 1);
    if (target.empty() || !everyByte(target, visible)) return fail(400);
    if (version.size() < 8 || version.substr(0, 5) != "HTTP/" || version[6] != '.') return fail(400);
    if (version[5] < '0' || version[5] > '9' || version[7] < '0' || version[7] > '9') return fail(400);
    if (version[5] != '1') return fail(505);
    if (version.size() != 8) return fail(400);
    if (method == "CONNECT") return fail(501);
    if (target[0] == '/' || (target == "*" && method == "OPTIONS")) return true;
    const std::string begin = lower(target.substr(0, 8));
    if (begin.substr(0, 7) == "http://" && target.size() > 7) return true;
    if (begin == "https://" && target.size() > 8) return true;
    return fail(400);
  }

  bool takeLength(size_t start, size_t end, size_t length, bool streamed) {
    const std::string body = rest_.substr(end, length);
    if (streamed) {
      out_.bodies.back() = body;
      out_.bodyEnded = body.size() == length;
    }
    if (body.size() < length) return false;
    if (!streamed) out_.messages.push_back("all\n" + rest_.substr(start, end - start + length));
    rest_.erase(0, end + length);
    return true;
  }

  static std::string tokenOf(const std::string& text, size_t* at) {
    const size_t start = *at;
    while (*at < text.size() && token(text[*at])) ++*at;
    return text.substr(start, *at - start);
  }

  // RFC 9112, section 7.1.1; the line end is not among it.
  static bool isExtensions(const std::string& text) {
    size_t at = 0;
    const auto skipBlanks = [&] {
      while (at < text.size() && in(" \t", text[at])) ++at;
    };
    while (at < text.size()) {
      skipBlanks();
      if (at == text.size() || text[at++] != ';') return false;
      skipBlanks();
      if (tokenOf(text, &at).empty()) return false;
      const size_t behindName = at;
      skipBlanks();
      if (at == text.size() || text[at] != '=') {
        at = behindName;
        continue;
      }
      ++at;
      skipBlanks();
      if (at < text.size() && text[at] == '"') {
        for (++at; at < text.size() && text[at] != '"'; ++at) at += text[at] == '\\';
        if (at++ >= text.size()) return false;
      } else if (tokenOf(text, &at).empty()) {
        return false;
      }
    }
    return true;
  }

  bool takeChunks(size_t start, size_t end, bool streamed) {
    std::string rest = rest_.substr(end), body;
    for (;;) {
      std::string size;
      const Taken taken = line(rest, 0, 256, &size);
      if (taken == Taken::kBad) return fail(400);
      size_t digits = 0;
      const std::string begun = taken == Taken::kLine ? size : rest.substr(0, rest.find('\r'));
      while (digits < begun.size() && in("0123456789abcdefABCDEF", begun[digits])) ++digits;
      if (taken == Taken::kNone) {
        if (rest.size() >= 256 || digits > 15) return fail(400);
        return false;
      }
      if (digits == 0 || digits > 15) return fail(400);
      const std::string extensions = size.substr(digits);
      if (!everyByte(extensions, field) || !isExtensions(extensions)) return fail(400);
      const size_t length = std::stoull(size.substr(0, digits), nullptr, 16);
      if (length == 0) {
        std::vector<std::pair<std::string, std::string>> trailer;
        size_t at = 0;
        const std::string behind = rest.substr(size.size() + 2);
        if (!fields(behind, &at, &trailer)) return false;
        for (const auto& [name, value] : trailer) {
          if (name == "host" || name == "content-length" || name == "transfer-encoding") return fail(400);
        }
        if (trailer.size() > config_.maxHeaders) return fail(431);
        rest = behind.substr(at);
        break;
      }
      rest.erase(0, size.size() + 2);
      if (!streamed) {
        if (length > config_.maxBytes - body.size()) return fail(413);
        const size_t used = rest_.size() - end - rest.size() + length;
        if (used > 2 * config_.maxBytes + (16 << 10)) return fail(413);
      }
      const std::string data = rest.substr(0, length);
      body += data;
      if (streamed) out_.bodies.back() = body;
      if (rest.size() > length && rest[length] != '\r') return fail(400);
      if (rest.size() > length + 1 && rest[length + 1] != '\n') return fail(400);
      if (rest.size() < length + 2) return false;
      rest.erase(0, length + 2);
    }
    const size_t all = rest_.size() - rest.size();
    if (streamed) {
      out_.bodyEnded = true;
    } else {
      out_.messages.push_back("all\n" + rest_.substr(start, all - start));
    }
    rest_ = rest;
    return true;
  }

  const FramingConfig& config_;
  std::string rest_;
  Http1Outcome out_;
};

}  // namespace mr::test
