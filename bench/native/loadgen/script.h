// The bytes to send and the expected replies.
#pragma once

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "failure.h"
#include "options.h"

namespace loadgen {

constexpr size_t kGeneratedMessages = 64;  // Enough that neighbours on the ring differ, few enough to stay in the cache.
constexpr size_t kShownBytes = 160;        // How much of a wrong reply a message quotes.

// Messages laid end to end, read round and round.
struct Ring {
  std::string bytes;
  std::vector<size_t> starts;  // One more than there are messages: the last is the end.

  size_t size() const { return starts.size() - 1; }
  std::string_view message(size_t index) const {
    return std::string_view(bytes).substr(starts[index], starts[index + 1] - starts[index]);
  }
  void add(std::string_view message) {
    if (starts.empty()) starts.push_back(0);
    bytes.append(message);
    starts.push_back(bytes.size());
  }
};

inline Ring generate(size_t payload, bool lines) {
  Ring ring;
  uint32_t state = 0x9e3779b9;
  for (size_t i = 0; i < kGeneratedMessages; i++) {
    std::string message;
    for (size_t j = 0; j < payload; j++) {
      state ^= state << 13, state ^= state >> 17, state ^= state << 5;
      message.push_back(static_cast<char>('!' + state % 90));
    }
    if (lines) message.back() = '\n';
    ring.add(message);
  }
  return ring;
}

inline Ring read_lines(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail_errno(path);
  std::string text((std::istreambuf_iterator<char>(file)), {});
  Ring ring;
  for (size_t at = 0; at < text.size();) {
    size_t newline = text.find('\n', at);
    if (newline == std::string::npos) fail(path + ": the last line has no newline");
    ring.add(std::string_view(text).substr(at, newline + 1 - at));
    at = newline + 1;
  }
  if (ring.starts.empty()) fail(path + ": no lines");
  return ring;
}

struct Script {
  Ring requests;
  Ring replies;
};

inline Script make_script(const Traffic& traffic) {
  if (traffic.mode != "json") {
    Ring ring = generate(traffic.payload, traffic.mode == "lines");
    return {ring, ring};
  }
  Script script{read_lines(traffic.data), read_lines(traffic.expect)};
  if (script.requests.size() != script.replies.size())
    fail(traffic.data + " has " + std::to_string(script.requests.size()) + " lines, " + traffic.expect + " has " +
         std::to_string(script.replies.size()));
  return script;
}

inline std::string quoted(std::string_view bytes) {
  std::string text = "\"";
  for (unsigned char byte : bytes.substr(0, kShownBytes)) {
    if (byte == '\n')
      text += "\\n";
    else if (byte == '"' || byte == '\\')
      text += {'\\', static_cast<char>(byte)};
    else if (byte < ' ') {
      char code[8];
      std::snprintf(code, sizeof code, "\\x%02x", byte);
      text += code;
    } else
      text += static_cast<char>(byte);
  }
  return text + (bytes.size() > kShownBytes ? "\"…" : "\"");
}

}  // namespace loadgen
