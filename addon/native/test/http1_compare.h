// Gives a stream of requests to the framer in parts and compares the results, with one part and with the slow reference.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <span>

#include "codec/http1.h"
#include "http1_reference.h"

namespace mr::test {

struct Http1Cut {
  Http1Outcome outcome;
  std::optional<std::string> broken;  // the contract of framer.h
};

inline bool sameHttp1(const FrameCut& a, const FrameCut& b) {
  return a.kind == b.kind && a.error == b.error && a.code == b.code && a.offset == b.offset && a.length == b.length &&
         a.consumed == b.consumed && a.info == b.info && a.state == b.state && a.needed == b.needed && a.prompt == b.prompt;
}

inline std::optional<std::string> takeHttp1(const FrameCut& cut, const char* bytes, Http1Outcome* out) {
  if (cut.consumed == 0 || cut.offset > cut.consumed || cut.length > cut.consumed - cut.offset)
    return "a frame outside of its bytes";
  const std::string text(bytes + cut.offset, cut.length);
  if ((cut.info & kHttp1Content) == 0) {
    if (!out->bodyEnded) return "a head within a body";
    if ((cut.info & kHttp1HeadMask) > cut.length) return "a head larger than its frame";
    const bool follows = (cut.info & kHttp1ContentFollows) != 0;
    if (follows != (cut.state != 0)) return "a state that does not fit";
    out->messages.push_back((follows ? "head\n" : "all\n") + text);
    if (follows) out->bodies.emplace_back();
    out->bodyEnded = !follows;
    return std::nullopt;
  }
  if (out->bodyEnded) return "a piece of nothing";
  out->bodies.back() += text;
  out->bodyEnded = (cut.info & kHttp1LastContent) != 0;
  if (out->bodyEnded != (cut.state == 0)) return "an end that does not fit";
  return std::nullopt;
}

inline Http1Cut cutHttp1(const FramingConfig& config, const std::string& stream, std::span<const size_t> ends) {
  Http1Cut result;
  size_t start = 0, needed = 0, hint = 0;
  uint64_t state = 0;
  for (size_t end : ends) {
    while (result.outcome.code == 0 && end - start >= needed) {
      const size_t size = end - start;
      // A block of exactly this size, so that the address sanitizer sees a read behind it.
      const std::unique_ptr<char[]> bytes(new char[size]);
      if (size != 0) std::memcpy(bytes.get(), stream.data() + start, size);
      const auto* data = reinterpret_cast<const uint8_t*>(bytes.get());
      const FrameCut cut = nextHttp1(config, data, size, hint, state);
      if (!sameHttp1(cut, nextHttp1(config, data, size, 0, state))) return {result.outcome, "the hint changes the answer"};
      hint = cut.scanned;
      needed = cut.needed;
      if (cut.kind == FrameCut::Kind::kPartial) {
        if (needed <= size) return {result.outcome, "needed is no more than there is"};
        break;
      }
      if (cut.kind == FrameCut::Kind::kError) {
        if (cut.error == FrameError::kNone || cut.code < 400) return {result.outcome, "an error without a name"};
        result.outcome.code = cut.code;
        break;
      }
      if (cut.consumed > size) return {result.outcome, "consumed is more than there is"};
      if (auto wrong = takeHttp1(cut, bytes.get(), &result.outcome)) return {result.outcome, wrong};
      start += cut.consumed;
      state = cut.state;
    }
  }
  return result;
}

inline std::string describe(const Http1Outcome& outcome) {
  std::string text = "code " + std::to_string(outcome.code) + (outcome.bodyEnded ? "" : ", in a body");
  for (const std::string& message : outcome.messages) text += "\n  [" + message + "]";
  for (const std::string& body : outcome.bodies) text += "\n  body [" + body + "]";
  return text;
}

// The reference reads whole lines. The framer may see before a line's end, or before its limit, that nothing good comes of it,
// and then answers for the first fault.
inline bool agrees(const Http1Outcome& cut, const Http1Outcome& expected) {
  if (cut == expected) return true;
  Http1Outcome earlier = expected;
  earlier.code = cut.code;
  if (cut != earlier) return false;
  if (expected.code == 400) return cut.code == 501 || cut.code == 505;
  const bool open = expected.code == 0 || expected.code == 414 || expected.code == 431;
  return open && (cut.code == 400 || cut.code == 501 || cut.code == 505);
}

inline std::optional<std::string> compareHttp1(const FramingConfig& config, const std::string& stream,
                                               std::span<const size_t> ends) {
  const size_t all[] = {stream.size()};
  const Http1Cut once = cutHttp1(config, stream, all);
  if (once.broken) return *once.broken;
  const Http1Outcome expected = Http1Reference::read(config, stream);
  if (!agrees(once.outcome, expected)) return describe(once.outcome) + "\nnot " + describe(expected);
  const Http1Cut parts = cutHttp1(config, stream, ends);
  if (parts.broken) return "in parts: " + *parts.broken;
  if (parts.outcome != once.outcome) return "in parts: " + describe(parts.outcome) + "\nnot " + describe(once.outcome);
  return std::nullopt;
}

// In two parts, split everywhere, and byte by byte.
inline std::optional<std::string> compareHttp1AtEverySplit(const FramingConfig& config, const std::string& stream) {
  std::vector<size_t> every;
  for (size_t split = 0; split <= stream.size(); ++split) {
    const size_t ends[] = {split, stream.size()};
    if (auto wrong = compareHttp1(config, stream, ends)) return "split at " + std::to_string(split) + ", " + *wrong;
    every.push_back(split);
  }
  return compareHttp1(config, stream, every);
}

}  // namespace mr::test
