// Frames are set aside before they run while their connection or reactor has no room for replies, and go on when there is.
#include "exchange/room.h"
#include "reactors.h"
#include "steps.h"

using namespace mr;
using namespace mr::test;

namespace {

constexpr size_t kKibibyte = 1 << 10, kMebibyte = 1 << 20;

// As a worker does: a frame without room is set aside, and the others are answered. How many of each.
struct Worker {
  Reactors& server;
  std::string answer;
  uint32_t ran = 0, aside = 0;
  ConnectionId last = {};  // of the last frame
  bool numbers = false;    // the answer begins with the frame's number

  std::string answerOf(const std::string& frame) const {
    return numbers ? frame + " " + answer.substr(std::min(answer.size(), frame.size() + 1)) : answer;
  }
  // False when there was nothing.
  bool work() {
    std::vector<FrameRef> frames;
    server.exchange->takeFrames(0, 64, &frames);
    for (FrameRef& frame : frames) {
      last = frame.task->header().connection;
      if (server.exchange->isGone(frame.task->header().connection)) continue;
      if (!server.exchange->hasRoom(*frame.task.get())) {
        ++aside;
        CHECK(server.exchange->setAside(std::move(frame)));
        continue;
      }
      ++ran;
      server.reply(frame, answerOf(Reactors::bodyOf(frame)));
    }
    return !frames.empty();
  }
  // Until no worker and no reactor has anything to do.
  void settle() {
    for (int idle = 0; idle < 20;) {
      idle = work() ? 0 : idle + 1;
      server.turns(1);
    }
  }
};

std::string numbersTo(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += std::to_string(i) + "\n";
  return text;
}

ListenerConfig small() {
  ListenerConfig config = lines(true);
  config.outMaxBytes = kMebibyte;
  return config;
}

}  // namespace

TEST("room: what is on its way counts until it has arrived, and only for its own generation") {
  Directory directory;
  Room room(directory);
  const ConnectionId id = ConnectionId::of(1, 5, 7), next = ConnectionId::of(1, 5, 8);
  CHECK(!room.isUsed());
  directory.publish(id, 0);
  room.sent(id, Room::kCounted - 1);
  CHECK(!room.isUsed());
  room.sent(id, 64 << 10);
  CHECK(room.isUsed());
  CHECK_EQ(room.onTheWay(id), 64u << 10);
  CHECK(room.isFull(id, 64));
  CHECK(!room.isFull(id, 65));
  CHECK(!room.isFull(next, 1));
  room.setFull(id, true);
  CHECK(room.isFull(id, 1000));
  room.arrived(id, 64 << 10);
  CHECK_EQ(room.onTheWay(id), 0u);
  room.setFull(id, false);
  CHECK(!room.isFull(id, 1));
  // The slot has a new tenant: a late reply of the old one is dropped.
  room.sent(id, 8 << 10);
  directory.publish(next, 0);
  room.sent(next, 4 << 10);
  room.sent(id, 32 << 10);
  CHECK_EQ(room.onTheWay(next), 4u << 10);
  room.arrived(id, 8 << 10);
  CHECK_EQ(room.onTheWay(next), 4u << 10);
}

TEST("aside: what is set aside leaves a batch in the middle, and neither a thief nor the supervisor finds it") {
  WorkerSlot slot;
  const uint32_t epoch = slot.attach();
  std::vector<FrameRef> frames;
  for (uint64_t i = 0; i < 6; ++i) {
    TaskRef task(Task::create({ConnectionId::of(0, 1, 1), i, 0, Task::kNone, {}}, 1, 1));
    task->append(spanOf("x"));
    frames.push_back({std::move(task), 0, 0});
  }
  std::vector<WorkerSlot::Claimed> claimed;
  slot.claim(epoch, frames, &claimed, 1);
  slot.batchState()->fetch_add(1);
  std::vector<std::pair<uint32_t, FrameRef>> aside;
  slot.takeUnstarted([](const Task& task) { return task.sequence(0) % 2 == 0; }, &aside);
  CHECK_EQ(aside.size(), 3u);
  for (uint32_t i = 0; i < 3; ++i) CHECK_EQ(aside[i].first, 2 * i + 1);
  std::vector<FrameRef> stolen;
  slot.steal(&stolen, 10, 1);
  CHECK_EQ(stolen.size(), 1u);  // half of the rest of the batch: the fourth, and where the third and the fifth were
  CHECK_EQ(stolen[0].task->sequence(0), 4u);
  const std::vector<LostFrame> lost = slot.reap();
  CHECK_EQ(lost.size(), 2u);
}

TEST("aside: for a peer that reads nothing no more is made than there is room for, and it gets everything when it reads") {
  for (const bool unordered : {false, true}) {
    ListenerConfig config = small();
    config.unordered = unordered;
    Reactors server(config);
    Worker worker{server, std::string(128 * kKibibyte, 'x')};
    worker.numbers = true;
    const Fd client = server.connect(numbersTo(200));
    worker.settle();
    const auto& counters = server.reactor().counters();
    CHECK(worker.aside != 0);
    CHECK_EQ(counters.framesSetAside.get(), worker.aside);
    // Half of outBuffer.max, the bytes under way, and those in the kernel.
    CHECK(counters.buffered.get() <= kMebibyte / 2 + 2 * 128 * kKibibyte);
    CHECK(worker.ran * 128 * kKibibyte <= 2 * kMebibyte);
    CHECK_EQ(server.open(), 1u);
    std::string all;
    server.until([&] {
      (void)worker.work();
      char some[65536];
      const Result<size_t> got = sock::receive(client.get(), some, sizeof(some));
      if (got.ok()) all.append(some, got.value);
      return all.size() == 200 * 128 * kKibibyte;
    });
    if (!unordered) {
      for (int i = 0; i < 200; ++i)
        CHECK(all.substr(static_cast<size_t>(i) * 128 * kKibibyte).starts_with(std::to_string(i) + " "));
    }
    worker.settle();
    CHECK_EQ(worker.ran, 200u);
    // Nothing waits any more, and it is read again.
    say(client, "last\n");
    const uint32_t aside = worker.aside;
    worker.settle();
    CHECK_EQ(worker.aside, aside);
    CHECK_EQ(worker.ran, 201u);
  }
}

TEST("aside: the head of an order goes on although what is held behind it fills the room") {
  Reactors server(small());
  const Fd client = server.connect(numbersTo(8));
  std::vector<FrameRef> frames;
  server.until([&] { return server.exchange->takeFrames(0, 8, &frames), frames.size() == 8; });
  for (size_t i = 1; i < 7; ++i) server.reply(frames[i], std::string(128 * kKibibyte, static_cast<char>('a' + i)));
  server.until([&] { return server.reactor().counters().repliesHeld.get() == 6; });
  server.turns(2);
  CHECK(!server.exchange->hasRoom(*frames[7].task.get()));
  CHECK(server.exchange->setAside(frames[7]));
  server.turns(3);
  std::vector<FrameRef> none;
  server.exchange->takeFrames(0, 8, &none);
  CHECK(none.empty());
  CHECK(!server.exchange->hasRoom(*frames[0].task.get()));
  CHECK(server.exchange->setAside(frames[0]));
  const FrameRef head = server.task();
  CHECK_EQ(Reactors::bodyOf(head), "0");
  CHECK(server.exchange->hasRoom(*head.task.get()));
  server.reply(head, "head");
  CHECK_EQ(server.read(client, 4 + 6 * 128 * kKibibyte).size(), 4 + 6 * 128 * kKibibyte);
  const FrameRef last = server.task();
  CHECK_EQ(Reactors::bodyOf(last), "7");
  server.reply(last, "last");
  CHECK_EQ(server.read(client, 4), "last");
}

TEST("aside: a frame that becomes the head while it is set aside goes on, whatever is held behind it") {
  for (const std::string_view first : {"", "0"}) {
    Reactors server(small());
    const Fd client = server.connect(numbersTo(8));
    std::vector<FrameRef> frames;
    server.until([&] { return server.exchange->takeFrames(0, 8, &frames), frames.size() == 8; });
    for (size_t i = 2; i < 8; ++i) server.reply(frames[i], std::string(128 * kKibibyte, 'x'));
    server.until([&] { return server.reactor().counters().repliesHeld.get() == 6; });
    CHECK(server.exchange->setAside(frames[1]));
    server.turns(3);
    std::vector<FrameRef> none;
    server.exchange->takeFrames(0, 8, &none);
    CHECK(none.empty());
    server.reply(frames[0], std::string(first));
    const FrameRef head = server.task();
    CHECK_EQ(Reactors::bodyOf(head), "1");
    server.reply(head, "1");
    const size_t all = first.size() + 1 + 6 * 128 * kKibibyte;
    CHECK_EQ(server.read(client, all).size(), all);
  }
}

TEST("aside: the head waits for what its peer has not taken, and goes on when it has, whatever is held behind it") {
  Reactors server(small());
  const Fd client = server.connect(numbersTo(8));
  std::vector<FrameRef> frames;
  server.until([&] { return server.exchange->takeFrames(0, 8, &frames), frames.size() == 8; });
  for (size_t i = 2; i < 8; ++i) server.reply(frames[i], std::string(128 * kKibibyte, 'x'));
  server.reply(frames[0], std::string(kMebibyte, '0'));
  server.turns(3);
  CHECK(server.exchange->setAside(frames[1]));
  server.turns(3);
  std::vector<FrameRef> none;
  server.exchange->takeFrames(0, 8, &none);
  CHECK(none.empty());
  CHECK_EQ(server.read(client, kMebibyte).size(), kMebibyte);
  const FrameRef head = server.task();
  CHECK_EQ(Reactors::bodyOf(head), "1");
  server.reply(head, "1");
  CHECK_EQ(server.read(client, 1 + 6 * 128 * kKibibyte).size(), 1 + 6 * 128 * kKibibyte);
}

TEST("aside: a reactor at its bound runs one task at a time, for those that hold little, and goes on when it is over") {
  ExchangeOptions options;
  options.maxMemoryBytes = 4 * kMebibyte;
  options.permitMs = UINT32_MAX;
  Reactors server(lines(true), 1, options);
  Worker worker{server, std::string(700 * kKibibyte, 'x')};
  const Fd greedy = server.connect("0\n1\n");
  worker.settle();  // it holds more than a quarter of the limit, although the kernel took some
  CHECK_EQ(worker.ran, 2u);
  const Fd polite = server.connect("a\nb\nc\n");
  std::vector<FrameRef> frames;
  server.until([&] { return server.exchange->takeFrames(0, 8, &frames), frames.size() == 3; });
  for (FrameRef& frame : frames) {
    CHECK(!server.exchange->hasRoom(*frame.task.get()));
    CHECK(server.exchange->setAside(std::move(frame)));
  }
  std::string got;
  for (const std::string_view name : {"a", "b", "c"}) {
    const FrameRef one = server.task();
    CHECK_EQ(Reactors::bodyOf(one), name);
    server.turns(3);
    std::vector<FrameRef> none;
    server.exchange->takeFrames(0, 8, &none);
    CHECK(none.empty());
    server.echo(one);
    got += server.read(polite, 2);
  }
  CHECK_EQ(got, "a\nb\nc\n");
}

TEST(
    "aside: at the bound a frame that is never answered does not keep the others waiting for ever, one that has not begun does") {
  ExchangeOptions options;
  options.maxMemoryBytes = 4 * kMebibyte;
  options.permitMs = 1;
  Reactors server(lines(true), 1, options);
  Worker worker{server, std::string(700 * kKibibyte, 'x')};
  const Fd greedy = server.connect("0\n1\n");
  worker.settle();
  CHECK_EQ(worker.ran, 2u);
  const Fd never = server.connect("never\n"), polite = server.connect("a\n");
  std::vector<FrameRef> frames;
  server.until([&] { return server.exchange->takeFrames(0, 8, &frames), frames.size() == 2; });
  for (FrameRef& frame : frames) CHECK(server.exchange->setAside(std::move(frame)));
  // The first lies in the queue, and nothing follows it.
  server.until([&] { return server.exchange->queue().depth() == 1; });
  const uint64_t until = monotonicMs() + 20;
  server.until([&] { return monotonicMs() >= until; });
  CHECK_EQ(server.exchange->queue().depth(), 1u);
  CHECK_EQ(Reactors::bodyOf(server.task()), "never");
  const FrameRef next = server.task();
  CHECK_EQ(Reactors::bodyOf(next), "a");
  server.echo(next);
  CHECK_EQ(server.read(polite, 2), "a\n");
}

TEST("aside: who closes gives back what was let go for it, and its frames are counted") {
  ExchangeOptions options;
  options.maxMemoryBytes = 2 * kMebibyte;
  Reactors server(lines(true), 1, options);
  Worker worker{server, std::string(900 * kKibibyte, 'x')};
  const Fd greedy = server.connect("0\n");
  worker.settle();  // it holds more than a quarter of the limit
  const Fd first = server.connect("a\nb\nc\n");
  const Fd second = server.connect("d\n");
  std::vector<FrameRef> frames;
  server.until([&] { return server.exchange->takeFrames(0, 8, &frames), frames.size() == 4; });
  for (FrameRef& frame : frames) CHECK(server.exchange->setAside(std::move(frame)));
  const FrameRef held = server.task();
  const ConnectionId gone = held.task->header().connection;
  CHECK(server.reactor().destroy(gone.slot(), gone.generation(), CloseReason::kDestroyed));
  server.until([&] { return server.open() == 2; });
  CHECK_EQ(server.reactor().counters().framesCancelled.get(), 2u);
  server.until([&] {
    std::vector<FrameRef> some;
    server.exchange->takeFrames(0, 8, &some);
    for (const FrameRef& one : some) {
      if (Reactors::bodyOf(one) == "d") return true;
    }
    return false;
  });
}

TEST("aside: frames that are set aside go with their connection to another reactor, and are answered there") {
  Reactors server(small(), 2);
  Worker worker{server, std::string(128 * kKibibyte, 'x')};
  worker.numbers = true;
  const Fd client = server.connect(numbersTo(40));
  worker.settle();
  CHECK(worker.aside != 0);
  CHECK(server.reactor(0).moveTo(worker.last.slot(), worker.last.generation(), 1, Reactor::kOutsideMessage));
  worker.settle();
  server.until([&] { return server.reactor(0).counters().moved.get() == 1; });
  std::string all;
  server.until([&] {
    (void)worker.work();
    char some[65536];
    const Result<size_t> got = sock::receive(client.get(), some, sizeof(some));
    if (got.ok()) all.append(some, got.value);
    return all.size() == 40 * 128 * kKibibyte;
  });
  for (int i = 0; i < 40; ++i) CHECK(all.substr(static_cast<size_t>(i) * 128 * kKibibyte).starts_with(std::to_string(i) + " "));
}

TEST("aside: a reactor whose connection goes while its frames are set aside runs others without asking for room") {
  ListenerConfig config = small();
  config.run = Run::kInline;
  Reactors server(config, 2);
  uint32_t asked = 0;
  EventRow first{};
  for (uint32_t i = 0; i < 2; ++i) {
    (void)server.reactor(i).inlineBox();
    server.js(i).hook = [&, i](const EventRow& row, std::string_view frame) {
      if (row.event != Event::kParse) return;
      if (i == 0 && first.generation == 0) first = row;
      const bool asks = server.reactor(i).inlineBox().full != 0 && !(row.e & kPermittedRow);
      if (i == 0 && asks) ++asked;
      if (asks && server.reactor(i).setAsideHere(row.slot, row.generation, row.d, spanOf(frame))) return;
      const std::string answer(frame == "other" ? 1 : 128 * kKibibyte, 'x');
      server.reactor(i).replyInline({row.slot, row.generation, row.d, Reply::kLast, row.c, 0, 0}, spanOf(answer));
    };
  }
  const Fd client = server.connect(numbersTo(100));
  server.turns(30);
  CHECK(asked != 0);
  CHECK(server.reactor(0).moveTo(first.slot, first.generation, 1, Reactor::kOutsideMessage));
  server.until([&] { return server.reactor(0).counters().moved.get() == 1; });
  const Fd other = server.connect();
  server.turns(2);
  asked = 0;
  say(other, "other\nother\nother\n");
  CHECK_EQ(server.read(other, 3), "xxx");
  CHECK_EQ(asked, 0u);
}

// The steps of a few turns behind n ways of a connection with frames that were set aside to another reactor and back, each before
// its own has had a turn.
uint64_t stepsBehindReturns(size_t n) {
  ListenerConfig config = small();
  config.hooks = kHookClose;
  Reactors server(config, 2);
  EventRow at{};
  for (uint32_t i = 0; i < 2; ++i) {
    server.js(i).hook = [&, i](const EventRow& row, std::string_view) {
      if (row.event == Event::kHandover) CHECK(server.reactor(i).moveNow(row.slot, row.generation, {}, false));
      if (row.event == Event::kRestore) at = row;
    };
  }
  Worker worker{server, std::string(128 * kKibibyte, 'x')};
  const Fd client = server.connect(numbersTo(40));
  worker.settle();
  CHECK(worker.aside != 0);
  at.slot = worker.last.slot();
  at.generation = worker.last.generation();
  for (size_t i = 0; i < n; ++i) {
    for (uint32_t from = 0; from < 2; ++from) {
      CHECK(server.reactor(from).moveTo(at.slot, at.generation, 1 - from, Reactor::kOutsideMessage));
      while (server.open(from) != 0) (void)server.reactor(from).turn(0);
      while (server.open(1 - from) == 0) (void)server.reactor(1 - from).turn(0);
    }
  }
  server.turns(2);
  const Steps steps;
  CHECK(server.reactor(0).moveTo(at.slot, at.generation, 1, Reactor::kOutsideMessage));
  server.until([&] { return server.open(1) != 0; });
  return steps.taken();
}

TEST("aside: a connection that goes to and fro with its frames leaves no more behind for it") {
  (void)stepsBehindReturns(1);
  const uint64_t few = stepsBehindReturns(20), many = stepsBehindReturns(200);
  CHECK(many < few + few / 4);
}

TEST("aside: frames that run here are set aside before they run, and come again when there is room") {
  ListenerConfig config = small();
  config.run = Run::kInline;
  Reactors server(config);
  (void)server.reactor().inlineBox();
  const std::string answer(128 * kKibibyte, 'x');
  uint32_t ran = 0, aside = 0;
  server.js().hook = [&](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kParse) return;
    const bool asks = server.reactor().inlineBox().full != 0 && !(row.e & kPermittedRow);
    if (asks && server.reactor().setAsideHere(row.slot, row.generation, row.d, spanOf(frame))) {
      ++aside;
      return;
    }
    ++ran;
    server.reactor().replyInline({row.slot, row.generation, row.d, Reply::kLast, row.c, 0, 0}, spanOf(answer));
  };
  const Fd client = server.connect(numbersTo(100));
  server.turns(30);
  CHECK(aside != 0);
  CHECK(ran < 16);
  CHECK_EQ(server.read(client, 100 * answer.size()).size(), 100 * answer.size());
  CHECK_EQ(ran, 100u);
}

TEST("aside: frames that run here wait for the next thread while this one leaves, and it runs each of them") {
  ListenerConfig config = small();
  config.run = Run::kInline;
  Reactors server(config);
  (void)server.reactor().inlineBox();
  const std::string answer(128 * kKibibyte, 'x');
  uint32_t ran = 0;
  const auto hook = [&](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kParse) return;
    const bool asks = server.reactor().inlineBox().full != 0 && !(row.e & kPermittedRow);
    if (asks && server.reactor().setAsideHere(row.slot, row.generation, row.d, spanOf(frame))) return;
    ++ran;
    server.reactor().replyInline({row.slot, row.generation, row.d, Reply::kLast, row.c, 0, 0}, spanOf(answer));
  };
  server.js().hook = hook;
  const Fd client = server.connect(numbersTo(40));
  server.turns(30);
  CHECK(server.reactor().counters().framesSetAside.get() != 0);
  const uint32_t before = ran;
  server.reactor().quiesce();
  CHECK_EQ(server.read(client, before * answer.size()).size(), before * answer.size());
  server.turns(10);
  CHECK(server.js().saw("0 quiet"));
  CHECK_EQ(ran, before);
  server.leave();
  server.takeOver(false);
  server.js().hook = hook;
  CHECK_EQ(server.read(client, (40 - before) * answer.size()).size(), (40 - before) * answer.size());
  CHECK_EQ(ran, 40u);
}
