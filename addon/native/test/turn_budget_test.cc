// The most work of one turn of a reactor, in bytes and in CPU time; the rest is neither lost nor reordered.
#include "base/clock.h"
#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr size_t kMebibyte = 1 << 20;

// So many frames of one client lie with a worker that has not answered yet.
std::vector<FrameRef> takeAll(Reactors& server, size_t count) {
  std::vector<FrameRef> frames;
  server.until([&] {
    std::vector<FrameRef> some;
    server.exchange->takeFrames(0, 64, &some);
    frames.insert(frames.end(), some.begin(), some.end());
    return frames.size() == count;
  });
  return frames;
}

std::string numbered(size_t number, size_t bytes) {
  std::string text = std::to_string(number) + " ";
  return text + std::string(bytes - text.size(), static_cast<char>('a' + number % 26));
}

std::string linesOf(size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i) text += "x\n";
  return text;
}

}  // namespace

TEST("turn budget: bytes end a phase, and what one phase leaves is for the next") {
  TurnBudget budget;
  budget.begin(4);
  budget.spend(TurnBudget::kBytes / 2);
  CHECK(!budget.left());
  budget.open(5);
  CHECK(budget.left());
  budget.spend(TurnBudget::kBytes / 2);
  CHECK(!budget.left());
  budget.open(TurnBudget::kShares);
  CHECK(!budget.left());
  CHECK(budget.ended());
  budget.begin();
  CHECK(budget.left() && !budget.ended());
}

TEST("turn budget: CPU time ends a turn of few bytes, and the time of hooks does not") {
  const auto burn = [](uint64_t ns) {
    const uint64_t until = threadCpuNs() + ns;
    while (threadCpuNs() < until) {
    }
  };
  TurnBudget budget;
  budget.begin();
  for (int i = 0; i < 3; ++i) {
    budget.spend(TurnBudget::kLookBytes);
    budget.leave();
    budget.spend(TurnBudget::kLookBytes);  // a hook's writes count in bytes, without reading the clock
    burn(2 * TurnBudget::kCpuNs);
    budget.spend(TurnBudget::kLookBytes);
    budget.comeBack();
  }
  CHECK(budget.left());
  budget.spend(TurnBudget::kLookBytes);
  burn(TurnBudget::kCpuNs);
  budget.spend(TurnBudget::kLookBytes);
  CHECK(!budget.left());
  CHECK(budget.spent() < TurnBudget::kBytes);
}

TEST("turn budget: many large replies take many turns, in order, and nothing is lost") {
  constexpr size_t kReplies = 64, kBytes = kMebibyte / 2;
  Reactors server(lines(true));
  const Fd client = server.connect(linesOf(kReplies));
  const std::vector<FrameRef> frames = takeAll(server, kReplies);
  for (size_t i = 0; i < kReplies; ++i) server.reply(frames[i], numbered(i, kBytes));
  const Mailbox& mail = server.exchange->mailbox(0);
  int turns = 0;
  while (mail.bytes() != 0) {
    const size_t before = mail.bytes();
    const bool more = server.reactor().turn(0);
    CHECK(before - mail.bytes() <= TurnBudget::kBytes / 2 + 2 * kBytes);
    CHECK(more || mail.bytes() == 0);
    ++turns;
  }
  CHECK(turns >= 16);
  CHECK(server.reactor().counters().turnsBounded.get() >= 15);
  std::string all;
  for (size_t i = 0; i < kReplies; ++i) all += numbered(i, kBytes);
  CHECK(server.read(client, all.size()) == all);
}

TEST("turn budget: memory is shed between the portions of a full mailbox") {
  constexpr size_t kReplies = 64, kBytes = kMebibyte / 2;
  ExchangeOptions options;
  options.maxMemoryBytes = 8 * kMebibyte;
  Reactors server(lines(true), 1, options);
  const Fd client = server.connect(linesOf(kReplies));
  const std::vector<FrameRef> frames = takeAll(server, kReplies);
  for (const FrameRef& frame : frames) server.reply(frame, numbered(0, kBytes));
  server.until([&] { return server.closed(CloseReason::kMemoryLimit) == 1; });
  CHECK(server.exchange->mailbox(0).bytes() >= 24 * kMebibyte);
  server.until([&] { return server.exchange->mailbox(0).bytes() == 0; });
  CHECK(server.reactor().counters().repliesLate.get() != 0);
}

TEST("turn budget: what one head sets free takes many turns, and a reply that comes meanwhile goes behind it") {
  constexpr size_t kReplies = 49, kBytes = kMebibyte / 4;
  for (const bool unordered : {false, true}) {
    ListenerConfig config = lines(true);
    config.unordered = unordered;
    Reactors server(config);
    const Fd client = server.connect(linesOf(kReplies));
    const std::vector<FrameRef> frames = takeAll(server, kReplies);
    // Without an order, those of others wait while one streams.
    if (unordered) server.reply(frames[0], "0", 0);
    const auto& counters = server.reactor().counters();
    for (size_t i = 1; i + 1 < kReplies; ++i) server.reply(frames[i], numbered(i, kBytes));
    server.until([&] { return counters.repliesHeld.get() == kReplies - 2; });
    server.reply(frames[0], "0");
    uint64_t most = 0, before = 0;
    bool repliesToLast = true;
    server.until([&] {
      most = std::max(most, counters.repliesWritten.get() - before);
      before = counters.repliesWritten.get();
      // Once: a slow machine's turns end by their time, after fewer replies.
      if (before != 0 && std::exchange(repliesToLast, false)) {
        server.reply(frames[kReplies - 1], numbered(kReplies - 1, kBytes));
      }
      return before >= kReplies - 1;
    });
    CHECK(most <= TurnBudget::kBytes / kBytes + 1);
    server.until([&] { return counters.repliesWritten.get() == kReplies; });
    std::string all = unordered ? "00" : "0";
    for (size_t i = 1; i < kReplies; ++i) all += numbered(i, kBytes);
    const std::string got = server.read(client, all.size());
    CHECK_EQ(got.size(), all.size());
    if (!unordered) CHECK(got == all);
  }
}

TEST("turn budget: many readable connections are read in several turns, each once before any twice") {
  constexpr size_t kClients = 80, kBytes = 64 << 10;
  Reactors server(lines(false));
  std::vector<Fd> clients;
  std::vector<uint32_t> generations(kClients);
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kOpen) generations[row.slot] = row.generation;
  };
  for (size_t i = 0; i < kClients; ++i) clients.push_back(server.connect());
  server.turns(2);
  const std::string chunk(kBytes, 'x');
  for (const Fd& client : clients) {
    say(client, chunk);
    say(client, chunk);
  }
  const auto& counters = server.reactor().counters();
  const uint64_t start = counters.bytesRead.get();
  const bool more = server.reactor().turn(0);
  CHECK(more);
  const uint64_t first = counters.bytesRead.get() - start;
  CHECK(first != 0);
  CHECK(first <= TurnBudget::kBytes / TurnBudget::kShares * 6 + kBytes);
  const auto readOf = [&](uint32_t slot) {
    Reactor::Details details{};
    CHECK(server.reactor().details(slot, generations[slot], &details));
    return details.bytesRead;
  };
  while (counters.bytesRead.get() - start < kClients * kBytes) {
    for (uint32_t slot = 0; slot < kClients; ++slot) CHECK(readOf(slot) <= kBytes);
    (void)server.reactor().turn(0);
  }
  for (uint32_t slot = 0; slot < kClients; ++slot) CHECK(readOf(slot) >= kBytes);
}

TEST("turn budget: hooks get a bounded number of rows at once, and all of them in the end") {
  constexpr size_t kClients = 12, kFrames = 1000;
  Reactors server(lines(false));
  std::vector<Fd> clients;
  for (size_t i = 0; i < kClients; ++i) clients.push_back(server.connect());
  for (const Fd& client : clients) say(client, linesOf(kFrames));
  size_t most = 0;
  server.until([&] {
    static size_t before;
    if (server.js().seen.size() == kClients) before = kClients;
    most = std::max(most, server.js().seen.size() - before);
    before = server.js().seen.size();
    return server.reactor().counters().framesRead.get() == kClients * kFrames;
  });
  server.turns(2);
  CHECK(most <= 4096 + 1024);
  CHECK_EQ(server.js().seen.size(), kClients * (kFrames + 1));
}

TEST("hooks that take long get fewer frames in a turn, and quick ones as many as before") {
  Reactors server(lines(false));
  const Fd peer = server.connect();
  uint64_t burnNs = 100'000;
  uint32_t frames = 0;
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kFrame) return;
    ++frames;
    for (const uint64_t until = threadCpuNs() + burnNs; burnNs != 0 && threadCpuNs() < until;) {
    }
  };
  const auto mostInOneTurn = [&](uint32_t count) {
    std::string text;
    for (uint32_t i = 0; i < count; ++i) text += "x\n";
    say(peer, text);
    uint32_t most = 0;
    for (const uint32_t wanted = frames + count; frames < wanted;) {
      const uint32_t before = frames;
      server.turns(1);
      most = std::max(most, frames - before);
    }
    return most;
  };
  CHECK(mostInOneTurn(1'000) > 500);  // nothing is known of them yet
  // 2 ms are 20 of them, and slow hooks have one batch in a turn.
  CHECK(mostInOneTurn(1'000) <= 50);
  // One quick batch between slow ones tells little.
  burnNs = 0;
  mostInOneTurn(40);
  burnNs = 100'000;
  CHECK(mostInOneTurn(1'000) <= 60);
  burnNs = 0;
  mostInOneTurn(2'000);
  CHECK(mostInOneTurn(1'000) > 500);
}

namespace {

// Its hooks get so many rows of a batch.
void boundRows(Reactors& server, size_t most) {
  server.js().mostRows = most;
  server.js().handBack = [&server](const EventRow& row, uint32_t rawEnd, uint32_t begun) {
    CHECK(server.reactor(0).handBack(row.slot, row.generation, rawEnd, begun));
  };
}

}  // namespace

TEST("frames that are handed back come again in their order, and behind those of connections that had nothing of the batch") {
  Reactors server(lines(false));
  const Fd flooder = server.connect(), polite = server.connect();
  server.turns(2);
  boundRows(server, 3);
  say(flooder, "a0\na1\na2\na3\na4\na5\n");
  say(polite, "b0\n");
  server.js().seen.clear();
  server.turns(20);
  CHECK_EQ(server.js().all("0 frame ") + server.js().all("1 frame "), "a0|a1|a2|a3|a4|a5|b0|");
  CHECK_EQ(server.js().seen[3], "1 frame b0");
}

TEST("a frame that is half there, a bad one and a masked one are handed back as they were") {
  ListenerConfig config = lines(false);
  config.framing.maxBytes = 8;
  config.hooks |= kHookBadFrame;
  Reactors server(config);
  const Fd client = server.connect();
  server.turns(2);
  boundRows(server, 1);
  say(client, "a0\na1\na2\nmuch too long\n");
  server.turns(20);
  CHECK_EQ(server.js().frames(0), "a0|a1|a2|");
  CHECK(server.js().saw("0 bad frame-too-large 0"));
}

TEST("frames of a connection that has closed meanwhile are its last, and run") {
  Reactors server(lines(false));
  Fd client = server.connect();
  server.turns(2);
  boundRows(server, 2);
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event == Event::kFrame)
      (void)server.reactor(0).write(row.slot, row.generation, spanOf("x"), Reactor::Place::kInOrder);
  };
  say(client, "a0\na1\na2\na3\na4\na5\n");
  server.turns(1);
  CHECK_EQ(server.js().frames(0), "a0|a1|");
  // It goes without having read: the next turn first cuts the waiting bytes, and then sees the reset.
  client.reset();
  server.turns(20);
  CHECK(server.js().saw("0 close reset"));
  // All that had been cut for that turn ran, in their order, before the close.
  const std::string ran = server.js().frames(0);
  CHECK(ran.size() > std::string("a0|a1|a2|a3|").size() - 1);
  CHECK_EQ(std::string("a0|a1|a2|a3|a4|a5|").substr(0, ran.size()), ran);
}

TEST("connections whose hooks are slow share the rows of a turn, and none is kept from its turn by what others left") {
  Reactors server(lines(false));
  constexpr int kClients = 8;
  std::vector<Fd> clients;
  for (int i = 0; i < kClients; ++i) clients.push_back(server.connect());
  server.turns(4);
  server.js().hook = [](const EventRow& row, std::string_view) {
    if (row.event != Event::kFrame) return;
    for (const uint64_t until = threadCpuNs() + 200'000; threadCpuNs() < until;) {
    }
  };
  // Slow hooks are known as such.
  for (int i = 0; i < 2; ++i) {
    say(clients[0], linesOf(200));
    server.turns(30);
  }
  std::vector<std::string> seen;
  server.js().seen.clear();
  for (int i = 1; i < kClients; ++i) say(clients[static_cast<size_t>(i)], linesOf(100));
  server.turns(4);
  std::set<std::string> heard(server.js().seen.begin(), server.js().seen.end());
  CHECK_EQ(heard.size(), static_cast<size_t>(kClients - 1));
  // One that comes now is heard within two turns.
  say(clients[0], "now\n");
  server.turns(2);
  CHECK(server.js().saw("0 frame now"));
}
