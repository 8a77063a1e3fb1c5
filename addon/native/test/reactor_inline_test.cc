// Frames that run on the reactor: placed natively, answered through the box, and kept when the thread dies before it begins them.
#include <cmath>

#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

ListenerConfig running(Run run) {
  ListenerConfig config = lines(true);
  config.run = run;
  return config;
}

// As JS does: writes a row and its bytes into the box.
void answer(Reactor& reactor, const EventRow& row, std::string_view text, uint32_t flags = Reply::kLast) {
  InlineBox& box = reactor.inlineBox();
  uint32_t offset = 0;
  if (box.count != 0) offset = box.rows[box.count - 1].offset + box.rows[box.count - 1].length;
  std::copy(text.begin(), text.end(), box.bytes.begin() + offset);
  box.rows[box.count++] = {row.slot, row.generation, row.d, flags, offset, static_cast<uint32_t>(text.size()), row.c, 0};
}

void echoes(Reactors& server) {
  (void)server.reactor().inlineBox();
  server.js().hook = [&server](const EventRow& row, std::string_view bytes) {
    if (row.event == Event::kParse) answer(server.reactor(), row, std::string(bytes) + "\n");
  };
}

void cheap(Reactors& server, size_t bytes) { server.exchange->costs().learnInPool(CostTable::keyOf(0, bytes), 1, 1'000, 0); }

}  // namespace

TEST("inline: frames are answered in order without the pool, from pieces too") {
  Reactors server(running(Run::kInline));
  echoes(server);
  const Fd a = server.connect();
  say(a, "one\ntwo\nthr");
  CHECK_EQ(server.read(a, 8), "one\ntwo\n");
  say(a, "ee\n");
  CHECK_EQ(server.read(a, 6), "three\n");
  CHECK_EQ(server.reactor().counters().framesInline.get(), 3u);
  CHECK_EQ(server.reactor().counters().framesSubmitted.get(), 0u);
  CHECK_EQ(server.reactor().counters().repliesWritten.get(), 3u);
}

TEST("inline: 'auto' keeps cheap frames and sends the others to the pool, and the order holds over both") {
  Reactors server(running(Run::kAuto));
  echoes(server);
  cheap(server, 3);
  const Fd a = server.connect();
  say(a, "aaa\nunknown size\nbbb\n");
  const FrameRef frame = server.task();
  CHECK_EQ(Reactors::bodyOf(frame), "unknown size");
  server.until([&] { return server.js().saw("0 parse bbb"); });
  CHECK(!server.js().saw("0 parse unknown size"));
  CHECK_EQ(server.read(a, 4), "aaa\n");
  server.echo(frame);
  CHECK_EQ(server.read(a, 17), "unknown size\nbbb\n");
}

TEST("inline: one turn runs a millisecond of predicted work, and the rest goes to the pool") {
  Reactors server(running(Run::kAuto));
  echoes(server);
  server.exchange->costs().learnInPool(CostTable::keyOf(0, 3), 1, 40'000, 0);
  const Fd a = server.connect();
  std::string text;
  for (int i = 0; i < 100; ++i) text += "abc\n";
  say(a, text);
  server.until([&] { return server.reactor().counters().framesRead.get() == 100; });
  CHECK_EQ(server.reactor().counters().framesInline.get(), 25u);
  CHECK_EQ(server.reactor().counters().framesSubmitted.get(), 75u);
}

TEST("inline: a batch of cheap frames is measured from outside, and costs are learned") {
  Reactors server(running(Run::kInline));
  echoes(server);
  cheap(server, 3);
  const Fd a = server.connect();
  say(a, "abc\nabc\n");
  CHECK_EQ(server.read(a, 8), "abc\nabc\n");
  CHECK_EQ(server.reactor().inlineBox().measured, 0u);
  say(a, "abcdefgh\n");
  CHECK_EQ(server.read(a, 9), "abcdefgh\n");
  CHECK_EQ(server.reactor().inlineBox().measured, 1u);
}

TEST("inline: an overrun that JS measured bans the class, and the reactor asks for a verdict") {
  Reactors server(running(Run::kAuto));
  (void)server.reactor().inlineBox();
  cheap(server, 3);
  server.exchange->costs().learnInPool(CostTable::keyOf(0, 3), 1, 30'000, 0);  // dear enough to be timed alone
  server.js().hook = [&](const EventRow& row, std::string_view bytes) {
    if (row.event != Event::kParse) return;
    // It really takes that long: the reactor compares with the time that the thread has worked.
    const uint64_t until = monotonicNs() + 20'000'000;
    while (monotonicNs() < until) {
    }
    InlineBox& box = server.reactor().inlineBox();
    box.sampleRows[box.samples++] = {row.e & ~kTimedAlone, 1, 20'000'000, 0};
    answer(server.reactor(), row, std::string(bytes) + "\n");
  };
  const Fd a = server.connect();
  say(a, "abc\n");
  CHECK_EQ(server.read(a, 4), "abc\n");
  const CostTable::Key key = CostTable::keyOf(0, 3);
  if (server.exchange->costs().isBanned(key)) {  // not where the thread got no core in those 20 ms
    server.until([&] { return server.js().saw("0 overrun"); });
    server.reactor().judgeOverrun(key, true);
    CHECK_EQ(server.reactor().counters().inlineOverruns.get(), 1u);
    CHECK(server.exchange->costs().isBanned(key));
    server.reactor().judgeOverrun(key, false);
    CHECK(!server.exchange->costs().isBanned(key));
  }
}

TEST(
    "inline: what a dead thread had answered is answered, the frame in hand closes its connection, the rest is run once by the "
    "next") {
  Reactors server(running(Run::kInline));
  echoes(server);
  const Fd a = server.connect(), b = server.connect(), c = server.connect();
  say(a, "a1\na2\n");
  say(b, "b1\nb2\nb3\n");
  say(c, "c1\n");
  server.js().diesIn = "1 parse b2";
  // It dies before it has answered that one.
  server.js().hook = [&](const EventRow& row, std::string_view bytes) {
    if (row.event == Event::kParse && bytes != "b2") answer(server.reactor(), row, std::string(bytes) + "\n");
  };
  server.until([&] { return server.js().dead; });
  const std::string before = server.js().all("0 parse ") + server.js().all("2 parse ");
  server.leave();
  server.takeOver(true);
  echoes(server);
  CHECK_EQ(server.read(a, 6), "a1\na2\n");
  CHECK_EQ(server.read(c, 3), "c1\n");
  CHECK_EQ(server.read(b, 4), "b1\n");
  CHECK_EQ(::shutdown(b.get(), SHUT_WR), 0);
  server.until([&] { return server.closed(CloseReason::kThreadLost) == 1; });
  CHECK_EQ(server.open(), 2u);
  CHECK_EQ(server.js().all("1 parse "), "");
  const std::string all = before + server.js().all("0 parse ") + server.js().all("2 parse ");
  CHECK_EQ(std::count(all.begin(), all.end(), '|'), 3);
  say(a, "more\n");
  CHECK_EQ(server.read(a, 5), "more\n");
}

TEST("inline: a frame whose thread was ended for its time closes as task-timeout and bans its class") {
  Reactors server(running(Run::kInline));
  (void)server.reactor().inlineBox();
  const Fd a = server.connect();
  server.js().diesIn = "0 parse abc";
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kParse) return;
    server.reactor().inlineBox().running.store(1);
    const uint64_t now = monotonicNs();
    CHECK_EQ(server.reactor().inlineRunningNs(now), 0u);
    CHECK_EQ(server.reactor().inlineRunningNs(now + 5'000'000), 5'000'000u);
    server.reactor().endForTime();
  };
  say(a, "abc\n");
  server.until([&] { return server.js().dead; });
  CHECK_EQ(server.closed(CloseReason::kTaskTimeout), 1u);
  CHECK(server.exchange->costs().isBanned(CostTable::keyOf(0, 3)));
  server.leave();
  CHECK_EQ(server.reactor().inlineRunningNs(monotonicNs() + 1'000'000'000), 0u);
}

TEST("inline: frames that were never begun go to the pool when no thread of the app drives the reactor any more") {
  Reactors server(running(Run::kInline), 2);
  (void)server.reactor().inlineBox();
  const Fd a = server.connect();
  server.js().diesBefore = "0 parse two";
  server.js().hook = [&](const EventRow& row, std::string_view bytes) {
    if (row.event == Event::kParse) answer(server.reactor(), row, std::string(bytes) + "\n");
  };
  say(a, "one\ntwo\n");
  server.until([&] { return server.js().dead; });
  server.leave();
  server.exchange->setActive(0, false);
  server.threads[0] = std::make_unique<Js>();
  CHECK(server.reactor().attach(server.threads[0].get()));
  server.reactor().retire(true);
  const FrameRef frame = server.task();
  CHECK_EQ(Reactors::bodyOf(frame), "two");
  server.echo(frame);
  CHECK_EQ(server.read(a, 8), "one\ntwo\n");
  server.until([&] { return server.open(1) == 1; });
}

TEST("inline: a connection with a pending promise closes with its thread, and a held one settles once") {
  Reactors server(running(Run::kInline));
  (void)server.reactor().inlineBox();
  std::vector<EventRow> rows;
  server.js().hook = [&](const EventRow& row, std::string_view) {
    if (row.event != Event::kParse) return;
    CHECK(server.reactor().hold(row.slot, row.generation, true) != Reactor::kNoPlace);
    rows.push_back(row);
  };
  const Fd a = server.connect(), b = server.connect();
  say(a, "a\n");
  say(b, "b\n");
  server.until([&] { return rows.size() == 2; });
  const EventRow& first = rows[0].slot == 0 ? rows[0] : rows[1];
  answer(server.reactor(), first, "done\n", uint32_t{Reply::kLast} | uint32_t{InlineBox::kWasHeld});
  answer(server.reactor(), first, "again\n", Reply::kLast);
  server.reactor().settleInline();
  CHECK_EQ(server.read(a, 5), "done\n");
  CHECK_EQ(server.reactor().counters().repliesLate.get(), 1u);
  server.leave();
  CHECK_EQ(server.closed(CloseReason::kThreadLost), 1u);
  server.takeOver(true);
  CHECK_EQ(server.open(), 1u);
}

TEST("inline: the box is believed no number that does not fit") {
  Reactors server(running(Run::kInline));
  InlineBox& box = server.reactor().inlineBox();
  const Fd a = server.connect();
  box.count = UINT32_MAX;
  box.samples = UINT32_MAX;
  for (auto& row : box.rows) row = {UINT32_MAX, UINT32_MAX, 7, 0xffff, InlineBox::kBytes, 2, 9, 0};
  for (auto& sample : box.sampleRows) sample = {UINT32_MAX, 3, 5, 7};
  server.reactor().settleInline();
  CHECK_EQ(box.count, 0u);
  CHECK_EQ(server.open(), 1u);
}

TEST("inline: a frame's place is exact in one number, however many its connection has sent") {
  const CostTable::Key last = CostTable::keyOf(CostTable::kMaxListeners - 1, SIZE_MAX);
  for (const uint32_t sequence : {0u, 1u, (1u << 21) - 1, 1u << 21, UINT32_MAX}) {
    for (const CostTable::Key key : {CostTable::keyOf(0, 0), CostTable::keyOf(0, 1), CostTable::keyOf(1, 4), last}) {
      const double placed = InlineBox::placed(sequence, key);
      // As JS takes it apart.
      CHECK_EQ(std::fmod(placed, InlineBox::kPlacedKeys), static_cast<double>(key));
      CHECK_EQ(std::floor(placed / InlineBox::kPlacedKeys), static_cast<double>(sequence));
    }
  }
}

TEST("inline: a corrupt row of the box gives no byte to anybody, and closes whom it names") {
  const std::function<void(InlineBox::Row&)> broken[] = {
      [](InlineBox::Row& row) { row.offset = 0; },  // the reply of another connection
      [](InlineBox::Row& row) { row.offset = UINT32_MAX; },
      [](InlineBox::Row& row) { row.length = UINT32_MAX; },
      [](InlineBox::Row& row) { row.length = InlineBox::kBytes - row.offset + 1; },
      [](InlineBox::Row& row) { row.offset = InlineBox::kBytes, row.length = 0; },
  };
  for (const auto& breakIt : broken) {
    Reactors server(running(Run::kInline));
    InlineBox& box = server.reactor().inlineBox();
    const Fd a = server.connect(), b = server.connect(), c = server.connect();
    server.js().hook = [&](const EventRow& row, std::string_view bytes) {
      if (row.event != Event::kParse) return;
      answer(server.reactor(), row, std::string(bytes) + "\n");
      if (box.count == 3) breakIt(box.rows[1]);
    };
    for (const auto& [fd, text] : {std::pair{&a, "alice"}, {&b, "bob"}, {&c, "carol"}}) say(*fd, text);
    for (const Fd* fd : {&a, &b, &c}) say(*fd, "\n");
    CHECK_EQ(server.read(a, 6), "alice\n");
    CHECK_EQ(server.read(b, 1), "");
    CHECK_EQ(server.read(c, 1), "");
    CHECK_EQ(server.closed(CloseReason::kSystem), 2u);
  }
}

TEST("inline: no flags, sequence or frame size that JS writes settles another frame or a call") {
  Reactors server(running(Run::kInline));
  InlineBox& box = server.reactor().inlineBox();
  const Fd a = server.connect();
  server.js().hook = [&](const EventRow& row, std::string_view bytes) {
    if (row.event != Event::kParse) return;
    const auto put = [&](uint32_t sequence, uint32_t flags) {
      answer(server.reactor(), row, "stray", flags);
      box.rows[box.count - 1].sequence = sequence;
      box.rows[box.count - 1].frameBytes = UINT32_MAX;
    };
    put(row.d + 1, Reply::kLast);
    put(row.d - 1, Reply::kLast);
    put(row.d + 0x8000'0000, Reply::kLast);
    answer(server.reactor(), row, std::string(bytes) + "\n", Reply::kLast | Reply::kRun | Reply::kLost);
    put(row.d, Reply::kLast);  // once more
  };
  say(a, "one\n");
  CHECK_EQ(server.read(a, 4), "one\n");
  say(a, "two\n");
  CHECK_EQ(server.read(a, 4), "two\n");
  CHECK_EQ(server.open(), 1u);
  CHECK(!server.js().saw("0 result"));
}
