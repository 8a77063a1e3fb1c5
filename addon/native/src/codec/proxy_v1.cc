#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "codec/proxy_answer.h"

namespace mr {

namespace {

using Origin = ProxyHeader::Origin;

constexpr std::string_view kV1Signature = "PROXY ";

struct Form {
  std::string_view keyword;  // the rest has its own rules
  uint8_t family;
  std::string_view alphabet;  // of the fields; a byte outside of it ends the connection before the line does. Empty: any byte
};

// An IPv6 address may end in dotted IPv4: inet_ntop, which proxies print with, writes mapped addresses so.
constexpr Form kForms[] = {
    {"TCP4 ", 4, "0123456789. "},
    {"TCP6 ", 6, "0123456789abcdefABCDEF:. "},
    {"UNKNOWN", 0, ""},
};

bool agree(std::string_view a, std::string_view b) { return a.substr(0, b.size()) == b.substr(0, a.size()); }

bool readAddress(std::string_view text, ProxyEndpoint* endpoint) {
  char terminated[INET6_ADDRSTRLEN] = "";
  if (text.size() >= sizeof(terminated)) return false;
  std::copy(text.begin(), text.end(), terminated);
  // Takes no leading zeros in IPv4, as the specification wants it.
  return inet_pton(endpoint->family == 4 ? AF_INET : AF_INET6, terminated, endpoint->bytes.data()) == 1;
}

bool readPort(std::string_view text, uint16_t* port) {
  if (text.empty() || (text[0] == '0' && text.size() > 1)) return false;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), *port);
  return read.ec == std::errc{} && read.ptr == text.data() + text.size();
}

// "source destination port port", one space between them.
bool readFields(std::string_view text, ProxyHeader* header) {
  std::string_view fields[4];
  for (size_t i = 0; i < 3; ++i) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos) return false;
    fields[i] = text.substr(0, space);
    text.remove_prefix(space + 1);
  }
  fields[3] = text;  // a fifth one would be no port
  return readAddress(fields[0], &header->source) && readAddress(fields[1], &header->destination) &&
         readPort(fields[2], &header->source.port) && readPort(fields[3], &header->destination.port);
}

bool mayFollow(const Form& form, std::string_view text) {
  if (form.family == 0) return text.empty() || text[0] == ' ';  // the rest must be ignored
  return text.find_first_not_of(form.alphabet) == std::string_view::npos;
}

ProxyHeader headerOf(const Form& form, std::string_view fields, size_t consumed) {
  if (form.family == 0) return wholeHeader(1, Origin::kSender, consumed);
  ProxyHeader header = wholeHeader(1, Origin::kProxied, consumed);
  header.source.family = header.destination.family = form.family;
  return readFields(fields, &header) ? header : brokenHeader(ProxyError::kMalformed);
}

// `offset`: of the bytes behind the keyword.
ProxyHeader readRest(const Form& form, std::string_view seen, size_t offset) {
  // Behind this window stands at most the LF. No later byte is looked at, so that all at once gives no other answer than byte by
  // byte.
  const std::string_view rest = seen.substr(0, kMaxProxyV1Bytes - 1).substr(offset);
  const size_t end = rest.find_first_of("\r\n");
  const std::string_view fields = rest.substr(0, end);
  if (!mayFollow(form, fields)) return brokenHeader(ProxyError::kMalformed);
  if (end == std::string_view::npos) {
    return seen.size() < kMaxProxyV1Bytes - 1 ? partialHeader(seen.size() + 1) : brokenHeader(ProxyError::kTooLarge);
  }
  if (rest[end] == '\n') return brokenHeader(ProxyError::kMalformed);
  const size_t lineFeed = offset + end + 1;
  if (lineFeed == seen.size()) return partialHeader(seen.size() + 1);
  if (seen[lineFeed] != '\n') return brokenHeader(ProxyError::kMalformed);
  return headerOf(form, fields, lineFeed + 1);
}

}  // namespace

ProxyHeader readProxyV1(const uint8_t* data, size_t size) {
  const std::string_view seen(reinterpret_cast<const char*>(data), std::min(size, kMaxProxyV1Bytes));
  if (!agree(seen, kV1Signature)) return brokenHeader(ProxyError::kNotAHeader);
  if (seen.size() <= kV1Signature.size()) return partialHeader(seen.size() + 1);
  const std::string_view behind = seen.substr(kV1Signature.size());
  for (const Form& form : kForms) {
    if (!agree(behind, form.keyword)) continue;
    // "T" and "TCP" begin two keywords, and are partial for both.
    if (behind.size() < form.keyword.size()) return partialHeader(seen.size() + 1);
    return readRest(form, seen, kV1Signature.size() + form.keyword.size());
  }
  return brokenHeader(ProxyError::kMalformed);
}

}  // namespace mr
