// The bytes allowed at each place (RFC 9110, section 5; RFC 9112, section 3).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mr {

enum Http1Byte : uint8_t {
  kTokenByte = 1,   // tchar: methods and field names
  kFieldByte = 2,   // field values: visible bytes, blanks, and bytes above ASCII
  kTargetByte = 4,  // request targets: visible ASCII
  kHostByte = 8,    // uri-host [ ":" port ]
};

constexpr std::array<uint8_t, 256> makeHttp1Bytes() {
  std::array<uint8_t, 256> table{};
  for (unsigned byte = 0; byte < 256; ++byte) {
    const bool letter = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
    const bool alnum = letter || (byte >= '0' && byte <= '9');
    const char character = static_cast<char>(byte);
    if (alnum || (byte < 128 && byte != 0 && std::string_view("!#$%&'*+-.^_`|~").find(character) != std::string_view::npos)) {
      table[byte] |= kTokenByte;
    }
    if (byte == '\t' || (byte >= 0x20 && byte != 0x7f)) table[byte] |= kFieldByte;
    if (byte > 0x20 && byte < 0x7f) table[byte] |= kTargetByte;
    if (alnum || (byte < 128 && byte != 0 && std::string_view("-._~%!$&'()*+,;=:[]").find(character) != std::string_view::npos)) {
      table[byte] |= kHostByte;
    }
  }
  return table;
}

inline constexpr std::array<uint8_t, 256> kHttp1Bytes = makeHttp1Bytes();

inline bool isTokenByte(uint8_t byte) { return (kHttp1Bytes[byte] & kTokenByte) != 0; }
inline bool isFieldByte(uint8_t byte) { return (kHttp1Bytes[byte] & kFieldByte) != 0; }
inline bool isTargetByte(uint8_t byte) { return (kHttp1Bytes[byte] & kTargetByte) != 0; }
inline bool isHostByte(uint8_t byte) { return (kHttp1Bytes[byte] & kHostByte) != 0; }
inline bool isBlank(uint8_t byte) { return byte == ' ' || byte == '\t'; }

// `lower` is in lower case.
inline bool equalsIgnoringCase(std::string_view text, std::string_view lower) {
  if (text.size() != lower.size()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    const uint8_t folded = byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
    if (folded != static_cast<uint8_t>(lower[i])) return false;
  }
  return true;
}

}  // namespace mr
