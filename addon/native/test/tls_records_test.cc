// The count of TLS records: the same however the bytes are cut.
#include <algorithm>
#include <vector>

#include "codec/tls_records.h"
#include "harness.h"
#include "net/out_buffer.h"

using namespace mr;
using namespace mr::test;

namespace {

std::vector<uint8_t> record(size_t length) {
  std::vector<uint8_t> bytes = {23, 3, 3, static_cast<uint8_t>(length >> 8), static_cast<uint8_t>(length)};
  bytes.resize(bytes.size() + length, 0xff);
  return bytes;
}

}  // namespace

TEST("a stream of records is between two of them only where one has ended") {
  std::vector<uint8_t> stream;
  std::vector<bool> between = {true};
  for (const size_t length : {0u, 1u, 300u, 16640u, 2u}) {
    const auto bytes = record(length);
    stream.insert(stream.end(), bytes.begin(), bytes.end());
    between.resize(stream.size(), false);
    between.push_back(true);
  }
  for (const size_t step : {1u, 2u, 3u, 7u, 512u, 20000u}) {
    TlsRecords records;
    for (size_t at = 0; at < stream.size(); at += step) {
      const size_t size = std::min<size_t>(step, stream.size() - at);
      const bool ended = records.push(stream.data() + at, size);
      bool expected = false;
      for (size_t i = at + 1; i <= at + size; ++i) expected = expected || between[i];
      CHECK(ended == expected);
      CHECK(records.inside() == !between[at + size]);
    }
  }
}

TEST("what is taken from an out buffer is what was appended, in its order") {
  OutBuffer out;
  std::vector<uint8_t> appended, taken;
  for (uint32_t i = 0; i < 500; ++i) {
    const std::vector<uint8_t> bytes(1 + i * 37 % 3000, static_cast<uint8_t>(i));
    out.append(bytes.data(), bytes.size());
    appended.insert(appended.end(), bytes.begin(), bytes.end());
    uint8_t room[1024];
    const size_t count = out.take(room, i % 2 == 0 ? sizeof(room) : 1);
    taken.insert(taken.end(), room, room + count);
    CHECK(out.size() == appended.size() - taken.size());
  }
  std::vector<uint8_t> rest(out.size() + 1);
  rest.resize(out.take(rest.data(), rest.size()));
  taken.insert(taken.end(), rest.begin(), rest.end());
  CHECK(out.empty());
  CHECK(taken == appended);
}
