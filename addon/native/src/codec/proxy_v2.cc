#include <algorithm>
#include <cstring>

#include "codec/crc32c.h"
#include "codec/proxy_answer.h"

namespace mr {

namespace {

using Origin = ProxyHeader::Origin;

constexpr uint8_t kV2Signature[] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};
constexpr size_t kCommandAt = sizeof(kV2Signature), kFamilyAt = kCommandAt + 1, kLengthAt = kFamilyAt + 1;

constexpr uint8_t kLocal = 0x20, kProxy = 0x21;  // version 2 in the upper half
constexpr uint8_t kInet4 = 1, kInet6 = 2, kUnixFamily = 3;
constexpr uint8_t kStream = 1, kDatagram = 2;

constexpr size_t kTlvHeaderBytes = 3;  // type, and a length that does not count them
constexpr uint8_t kTlvChecksum = 0x03;
constexpr size_t kChecksumBytes = 4;

uint16_t read16(const uint8_t* data) { return static_cast<uint16_t>(data[0] << 8 | data[1]); }

ProxyError commandError(uint8_t command) {
  if (command >> 4 != 2) return ProxyError::kUnsupported;
  return command == kLocal || command == kProxy ? ProxyError::kNone : ProxyError::kMalformed;
}

ProxyError familyError(uint8_t byte) {
  if (byte >> 4 > kUnixFamily || (byte & 15) > kDatagram) return ProxyError::kMalformed;
  return (byte & 15) == kDatagram ? ProxyError::kUnsupported : ProxyError::kNone;
}

// The address block's size, or 0 where the specification has the bytes ignored: a LOCAL command with any family, and
// an unspecified family or protocol. Those bytes are skipped unread, TLVs too, because their start is
// unknown.
size_t addressBytes(const uint8_t* data) {
  if (data[kCommandAt] == kLocal || (data[kFamilyAt] & 15) != kStream) return 0;
  switch (data[kFamilyAt] >> 4) {
    case kInet4:
      return 2 * (4 + 2);
    case kInet6:
      return 2 * (16 + 2);
    case kUnixFamily:
      return 2 * 108;
    default:
      return 0;
  }
}

// The fault of the first 16 bytes, as far as they are there, the first wrong byte first.
ProxyError fixedError(const uint8_t* data, size_t size) {
  if (std::memcmp(data, kV2Signature, std::min(size, sizeof(kV2Signature))) != 0) return ProxyError::kNotAHeader;
  if (size <= kCommandAt) return ProxyError::kNone;
  if (const ProxyError error = commandError(data[kCommandAt]); error != ProxyError::kNone) return error;
  if (size <= kFamilyAt) return ProxyError::kNone;
  const ProxyError error = data[kCommandAt] == kLocal ? ProxyError::kNone : familyError(data[kFamilyAt]);
  if (error != ProxyError::kNone || size < kProxyV2FixedBytes) return error;
  const size_t length = read16(data + kLengthAt);
  if (length > kMaxProxyV2Length) return ProxyError::kTooLarge;
  return length < addressBytes(data) ? ProxyError::kMalformed : ProxyError::kNone;
}

// Over the whole header, its own four bytes taken as zero.
bool checksumHolds(const uint8_t* data, size_t size, const uint8_t* checksum) {
  constexpr uint8_t kZeros[kChecksumBytes] = {};
  Crc32c crc;
  crc.add(data, static_cast<size_t>(checksum - data));
  crc.add(kZeros, kChecksumBytes);
  crc.add(checksum + kChecksumBytes, static_cast<size_t>(data + size - checksum - kChecksumBytes));
  return crc.value() == (uint32_t{read16(checksum)} << 16 | read16(checksum + 2));
}

// Every TLV has to lie within the header; of their contents only the checksum is ours to judge.
ProxyError tlvError(const uint8_t* data, size_t size, size_t offset) {
  const uint8_t* checksum = nullptr;
  while (offset != size) {
    if (size - offset < kTlvHeaderBytes) return ProxyError::kMalformed;
    const uint8_t type = data[offset];
    const size_t length = read16(data + offset + 1);
    offset += kTlvHeaderBytes;
    if (size - offset < length) return ProxyError::kMalformed;
    if (type == kTlvChecksum) {
      // Of two, each would have to be computed over the other.
      if (length != kChecksumBytes || checksum) return ProxyError::kMalformed;
      checksum = data + offset;
    }
    offset += length;
  }
  return checksum && !checksumHolds(data, size, checksum) ? ProxyError::kChecksum : ProxyError::kNone;
}

// Both addresses, then both ports.
void readEndpoints(const uint8_t* block, uint8_t family, ProxyHeader* header) {
  const size_t width = family == 4 ? 4 : 16;
  header->source.family = header->destination.family = family;
  std::memcpy(header->source.bytes.data(), block, width);
  std::memcpy(header->destination.bytes.data(), block + width, width);
  header->source.port = read16(block + 2 * width);
  header->destination.port = read16(block + 2 * width + 2);
}

}  // namespace

ProxyHeader readProxyV2(const uint8_t* data, size_t size) {
  if (const ProxyError error = fixedError(data, size); error != ProxyError::kNone) return brokenHeader(error);
  // One byte at a time, so that a wrong header is found at its first wrong byte.
  if (size < kProxyV2FixedBytes) return partialHeader(size + 1);
  const size_t total = kProxyV2FixedBytes + read16(data + kLengthAt);
  if (size < total) return partialHeader(total);
  const size_t addresses = addressBytes(data);
  if (addresses == 0) return wholeHeader(2, Origin::kSender, total);
  const ProxyError error = tlvError(data, total, kProxyV2FixedBytes + addresses);
  if (error != ProxyError::kNone) return brokenHeader(error);
  const uint8_t family = data[kFamilyAt] >> 4;
  if (family == kUnixFamily) return wholeHeader(2, Origin::kUnix, total);
  ProxyHeader header = wholeHeader(2, Origin::kProxied, total);
  readEndpoints(data + kProxyV2FixedBytes, family == kInet4 ? 4 : 6, &header);
  return header;
}

}  // namespace mr
