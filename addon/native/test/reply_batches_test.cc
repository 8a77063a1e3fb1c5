// Replies of one worker, sorted by the reactor that they are for.
#include "exchange/reply_batches.h"

#include <string>
#include <vector>

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

struct Received {
  uint64_t sequence;
  std::string text;
  bool operator==(const Received&) const = default;
};

struct Sent {
  size_t messages = 0;
  std::vector<Received> replies;
};

Sent received(Mailbox& box) {
  Sent sent;
  while (const auto message = box.take()) {
    CHECK(message->kind == Message::Kind::kReplies);
    ++sent.messages;
    Reply reply;
    std::span<const uint8_t> bytes;
    while (static_cast<ReplyBatch&>(*message).take(&reply, &bytes)) {
      sent.replies.push_back({reply.sequence, std::string(bytes.begin(), bytes.end())});
    }
  }
  return sent;
}

ExchangeOptions threads(uint32_t reactors) {
  ExchangeOptions options;
  options.reactors = reactors;
  options.workers = 1;
  return options;
}

void add(ReplyBatches& batches, uint16_t mailbox, const Received& what) {
  Reply reply;
  reply.sequence = what.sequence;
  reply.length = static_cast<uint32_t>(what.text.size());
  batches.add(mailbox, reply, std::span(reinterpret_cast<const uint8_t*>(what.text.data()), what.text.size()));
}

}  // namespace

TEST("replies for several reactors go in one message to each, in their order") {
  Exchange exchange(threads(3));
  ReplyBatches batches(exchange, exchange.workerMailbox(0));
  batches.expect(10 * ReplyBatch::sizeOf(20));
  std::vector<std::vector<Received>> expected(3);
  for (uint64_t i = 0; i < 10; ++i) {
    const auto to = static_cast<uint16_t>(i % 2 * 2);  // the one in the middle gets nothing
    expected[to].push_back({i, std::string(i * 2, static_cast<char>('a' + i))});
    add(batches, to, expected[to].back());
  }
  CHECK(exchange.mailbox(0).empty());  // not before they are sent
  batches.send();
  for (uint16_t i = 0; i < 3; ++i) {
    const Sent sent = received(exchange.mailbox(i));
    CHECK_EQ(sent.messages, size_t{i != 1});
    CHECK(sent.replies == expected[i]);
  }
}

TEST("more than was expected, and large replies between small ones, keep their order") {
  Exchange exchange(threads(1));
  ReplyBatches batches(exchange, exchange.workerMailbox(0));
  std::vector<Received> expected;
  for (uint64_t i = 0; i < 300; ++i) {
    const size_t size = i % 50 == 17 ? 3 * ReplyBatches::kMostBytes : i % 7 * 40;
    expected.push_back({i, std::string(size, static_cast<char>('a' + i % 26))});
    batches.expect(i % 3 * 100);
    add(batches, 0, expected.back());
  }
  batches.send();
  batches.send();  // nothing is left
  CHECK(received(exchange.mailbox(0)).replies == expected);
}

TEST("what waits in a mailbox counts until it is taken") {
  Exchange exchange(threads(1));
  ReplyBatches batches(exchange, exchange.workerMailbox(0));
  add(batches, 0, {1, std::string(5'000, 'x')});
  batches.send();
  CHECK(exchange.mailbox(0).bytes() >= 5'000);
  received(exchange.mailbox(0));
  CHECK_EQ(exchange.mailbox(0).bytes(), size_t{0});
}
