// Shared by commands and values of RESP: numbers behind a type byte, bulk strings, and how one says that more is
// needed. For resp.cc and resp_value.cc.
#pragma once

#include <algorithm>
#include <cstring>

#include "codec/cut.h"

namespace mr::resp {

// One look at the bytes of a frame, as far as they may belong to it: nothing behind maxBytes is read.
struct Scan {
  const uint8_t* data;
  size_t size;  // no more than maxBytes
  uint64_t maxBytes;
  uint64_t at = 0;  // where the next element begins
};

enum class Read : uint8_t { kWhole, kPartial, kMalformed, kTooLarge };

struct Number {
  Read read;
  uint64_t value = 0;
  uint64_t end = 0;     // behind its line
  bool isNull = false;  // -1
};

inline Read expect(const Scan& scan, uint64_t at, char byte) {
  if (at >= scan.size) return Read::kPartial;
  return scan.data[at] == static_cast<uint8_t>(byte) ? Read::kWhole : Read::kMalformed;
}

inline Number endOfLine(const Scan& scan, uint64_t at, Number number) {
  number.read = expect(scan, at, '\r');
  if (number.read == Read::kWhole) number.read = expect(scan, at + 1, '\n');
  number.end = at + 2;
  return number;
}

// The digits at `at` and their end of line. As strict as a server has to be: no sign but that of -1, no leading zeros. A fault
// is reported at the first wrong byte.
inline Number readNumber(const Scan& scan, uint64_t at, uint64_t most, bool allowNull) {
  Number number{Read::kPartial};
  if (at >= scan.size) return number;
  if (scan.data[at] == '-') {
    number.isNull = true;
    if (!allowNull) return {Read::kMalformed};
    number.read = expect(scan, at + 1, '1');
    return number.read == Read::kWhole ? endOfLine(scan, at + 2, number) : number;
  }
  uint64_t i = at;
  for (; i < scan.size && scan.data[i] >= '0' && scan.data[i] <= '9'; ++i) {
    if (i != at && scan.data[at] == '0') return {Read::kMalformed};
    const uint64_t digit = scan.data[i] - '0';
    if (digit > most || number.value > (most - digit) / 10) return {Read::kTooLarge};
    number.value = number.value * 10 + digit;
  }
  if (i == at) return {Read::kMalformed};
  return endOfLine(scan, i, number);
}

inline FrameCut broken(Read read) {
  return brokenFrame(read == Read::kMalformed ? FrameError::kMalformed : FrameError::kTooLarge);
}

// `least`: the least size of the whole frame, by the bytes read so far.
inline FrameCut more(const Scan& scan, uint64_t least) {
  if (scan.size >= scan.maxBytes || least > scan.maxBytes) return brokenFrame(FrameError::kTooLarge);
  return partialFrame(std::max<uint64_t>(scan.size + 1, least));
}

// The bytes of a bulk string that ends at `end`, with its end of line.
inline Read readBulk(const Scan& scan, uint64_t end) {
  const Read read = expect(scan, end - 2, '\r');
  return read == Read::kWhole ? expect(scan, end - 1, '\n') : read;
}

}  // namespace mr::resp
