// PROXY headers once more, slow and plain, and the rules for every answer. Shares no code with src/codec: version 1 by
// splitting the line and its own IPv6, version 2 over copies, the checksum bit by bit.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "codec/proxy_header.h"

namespace mr::test {

inline std::vector<std::string> splitAt(const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  for (char c : text) {
    if (c == separator) {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  return parts;
}

inline bool isOneOf(const std::string& text, const char* alphabet, size_t most) {
  return !text.empty() && text.size() <= most && text.find_first_not_of(alphabet) == std::string::npos;
}

// Without leading zeros; -1 when it is no number up to `most`.
inline int referenceNumber(const std::string& text, int most) {
  if (!isOneOf(text, "0123456789", 5) || (text[0] == '0' && text != "0")) return -1;
  return std::stoi(text) > most ? -1 : std::stoi(text);
}

// The bytes of "a.b.c.d", or none.
inline std::vector<uint8_t> referenceInet4(const std::string& text) {
  if (splitAt(text, '.').size() != 4) return {};
  std::vector<uint8_t> bytes;
  for (const std::string& part : splitAt(text, '.')) {
    const int value = referenceNumber(part, 255);
    if (value < 0) return {};
    bytes.push_back(static_cast<uint8_t>(value));
  }
  return bytes;
}

// The bytes of "a:b:c" on one side of a "::"; false when they are no groups.
inline bool referenceGroups(const std::string& text, bool mayEndDotted, std::vector<uint8_t>* bytes) {
  if (text.empty()) return true;
  const std::vector<std::string> groups = splitAt(text, ':');
  for (size_t i = 0; i < groups.size(); ++i) {
    const std::vector<uint8_t> dotted = referenceInet4(groups[i]);
    if (mayEndDotted && i + 1 == groups.size() && !dotted.empty()) {
      bytes->insert(bytes->end(), dotted.begin(), dotted.end());
    } else if (isOneOf(groups[i], "0123456789abcdefABCDEF", 4)) {
      const int value = std::stoi(groups[i], nullptr, 16);
      bytes->push_back(static_cast<uint8_t>(value / 256));
      bytes->push_back(static_cast<uint8_t>(value % 256));
    } else {
      return false;
    }
  }
  return true;
}

inline std::vector<uint8_t> referenceInet6(const std::string& text) {
  std::vector<uint8_t> front, back;
  const size_t gap = text.find("::");
  if (gap == std::string::npos) return referenceGroups(text, true, &front) && front.size() == 16 ? front : back;
  if (!referenceGroups(text.substr(0, gap), false, &front) || !referenceGroups(text.substr(gap + 2), true, &back)) return {};
  if (front.size() + back.size() > 14) return {};
  front.resize(16 - back.size());
  front.insert(front.end(), back.begin(), back.end());
  return front;
}

inline std::optional<ProxyHeader> referenceV1(const std::string& stream) {
  const size_t end = stream.substr(0, 107).find("\r\n");
  if (end == std::string::npos) return std::nullopt;
  const std::string line = stream.substr(0, end);
  ProxyHeader header;
  header.kind = ProxyHeader::Kind::kHeader;
  header.version = 1;
  header.consumed = end + 2;
  if (line.find_first_of("\r\n") != std::string::npos) return std::nullopt;
  const std::vector<std::string> fields = splitAt(line, ' ');
  if (fields[0] != "PROXY" || fields.size() < 2) return std::nullopt;
  if (fields[1] == "UNKNOWN") return header;
  if (fields.size() != 6 || (fields[1] != "TCP4" && fields[1] != "TCP6")) return std::nullopt;
  header.origin = ProxyHeader::Origin::kProxied;
  ProxyEndpoint* const endpoints[] = {&header.source, &header.destination};
  for (int i = 0; i < 2; ++i) {
    const bool is4 = fields[1] == "TCP4";
    const std::vector<uint8_t> bytes = is4 ? referenceInet4(fields[2 + i]) : referenceInet6(fields[2 + i]);
    const int port = referenceNumber(fields[4 + i], 65535);
    if (bytes.empty() || port < 0) return std::nullopt;
    endpoints[i]->family = is4 ? 4 : 6;
    endpoints[i]->port = static_cast<uint16_t>(port);
    std::copy(bytes.begin(), bytes.end(), endpoints[i]->bytes.begin());
  }
  return header;
}

inline uint32_t referenceCrc32c(const std::string& bytes) {
  uint32_t crc = 0xffffffff;
  for (char byte : bytes) {
    for (int bit = 0; bit < 8; ++bit) {
      const bool odd = ((crc ^ static_cast<uint8_t>(byte) >> bit) & 1) != 0;
      crc = crc >> 1 ^ (odd ? 0x82f63b78 : 0);
    }
  }
  return crc ^ 0xffffffff;
}

inline size_t numberAt(const std::string& bytes, size_t at, size_t width) {
  size_t value = 0;
  for (size_t i = 0; i < width; ++i) value = value * 256 + static_cast<uint8_t>(bytes[at + i]);
  return value;
}

inline bool referenceTlvsHold(const std::string& header, size_t at) {
  std::vector<size_t> checksums;
  while (at < header.size()) {
    if (at + 3 > header.size()) return false;
    const size_t length = numberAt(header, at + 1, 2);
    if (header[at] == 3 && length != 4) return false;
    if (header[at] == 3) checksums.push_back(at + 3);
    at += 3 + length;
  }
  if (at != header.size() || checksums.size() > 1) return false;
  if (checksums.empty()) return true;
  std::string zeroed = header;
  zeroed.replace(checksums[0], 4, 4, '\0');
  return referenceCrc32c(zeroed) == numberAt(header, checksums[0], 4);
}

inline std::optional<ProxyHeader> referenceV2(const std::string& stream) {
  if (stream.size() < 16 || stream.compare(0, 12, std::string("\r\n\r\n\0\r\nQUIT\n", 12)) != 0) return std::nullopt;
  const size_t length = numberAt(stream, 14, 2);
  if (length > 4096 || stream.size() < 16 + length) return std::nullopt;
  const std::string bytes = stream.substr(0, 16 + length);
  ProxyHeader header;
  header.kind = ProxyHeader::Kind::kHeader;
  header.version = 2;
  header.consumed = bytes.size();
  const size_t family = numberAt(bytes, 13, 1) / 16, protocol = numberAt(bytes, 13, 1) % 16;
  if (bytes[12] == 0x20) return header;
  if (bytes[12] != 0x21 || family > 3 || protocol > 1) return std::nullopt;
  if (family == 0 || protocol == 0) return header;
  const size_t addresses = family == 1 ? 12 : family == 2 ? 36 : 216;
  if (length < addresses || !referenceTlvsHold(bytes, 16 + addresses)) return std::nullopt;
  header.origin = family == 3 ? ProxyHeader::Origin::kUnix : ProxyHeader::Origin::kProxied;
  if (family == 3) return header;
  const size_t width = family == 1 ? 4 : 16;
  ProxyEndpoint* const endpoints[] = {&header.source, &header.destination};
  for (size_t i = 0; i < 2; ++i) {
    endpoints[i]->family = family == 1 ? 4 : 6;
    endpoints[i]->port = static_cast<uint16_t>(numberAt(bytes, 16 + 2 * width + 2 * i, 2));
    for (size_t n = 0; n < width; ++n) endpoints[i]->bytes[n] = static_cast<uint8_t>(bytes[16 + i * width + n]);
  }
  return header;
}

// Exactly the given bytes on the heap, so that reading behind them is seen.
inline ProxyHeader readExactly(const std::string& bytes) {
  const std::unique_ptr<uint8_t[]> exact(new uint8_t[bytes.size()]);
  std::memcpy(exact.get(), bytes.data(), bytes.size());
  return readProxyHeader(exact.get(), bytes.size());
}

// Reads every beginning of the stream. Returns the fault, or nothing.
inline std::optional<std::string> brokenProxyContract(const std::string& stream) {
  const bool isV1 = !stream.empty() && stream[0] == 'P';
  const size_t most = isV1 ? kMaxProxyV1Bytes : kMaxProxyV2Bytes;
  std::optional<ProxyHeader> settled;
  size_t needed = 0;
  for (size_t size = 0; size <= stream.size(); ++size) {
    const ProxyHeader header = readExactly(stream.substr(0, size));
    const std::string at = "after " + std::to_string(size) + " bytes: ";
    if (settled && header != *settled) return at + "more bytes change the answer";
    if (settled) continue;
    if (header.kind != ProxyHeader::Kind::kPartial) {
      if (size < needed) return at + "an answer before the bytes asked for";
      if ((header.kind == ProxyHeader::Kind::kError) != (header.error != ProxyError::kNone)) return at + "kind and error differ";
      if (header.kind == ProxyHeader::Kind::kHeader && header.consumed != size) return at + "known later than its last byte";
      settled = header;
      continue;
    }
    if (header.needed <= size || header.needed > most) return at + "asks for " + std::to_string(header.needed);
    needed = header.needed;
  }
  const std::optional<ProxyHeader> expected = isV1 ? referenceV1(stream) : referenceV2(stream);
  const bool found = settled && settled->kind == ProxyHeader::Kind::kHeader;
  if (found != expected.has_value()) return std::string(found ? "a header" : "no header") + ", unlike the reference";
  if (found && *settled != *expected) return "a header that differs from the reference's";
  return std::nullopt;
}

}  // namespace mr::test
