// Reactors of one exchange, driven on the thread of the test, and threads of JS that can die. The listener is a Unix path: bytes
// of a client are there at once, so that a test knows what lies in one batch.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "reactor/reactor.h"
#include "sockets.h"

namespace mr::test {

inline std::span<const uint8_t> spanOf(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// The events that JS gets, as lines: "0 frame hello" is a frame of slot 0. Its memory goes with it.
class Js final : public EventSink {
 public:
  std::function<void(const EventRow&, std::string_view)> hook = [](const EventRow&, std::string_view) {};
  std::string diesBefore, diesIn;  // the line at which the thread ends
  bool dead = false;
  bool hasMemory = true;  // for slabs
  std::vector<std::string> seen;

  // So many rows of a batch run their hooks; then frames are handed back, as JS does when their time is over.
  size_t mostRows = SIZE_MAX;
  std::function<void(const EventRow&, uint32_t rawEnd, uint32_t begun)> handBack;

  // Paused or reframed: the rows behind this frame will come again.
  void stop(const EventRow& row) { stopped_.insert(nameOf(row)); }
  bool saw(std::string_view line) const { return std::find(seen.begin(), seen.end(), line) != seen.end(); }
  // The texts of the lines that begin so, each with a bar behind it.
  std::string all(const std::string& prefix) const {
    std::string texts;
    for (const std::string& line : seen) {
      if (line.starts_with(prefix)) texts += line.substr(prefix.size()) + "|";
    }
    return texts;
  }
  std::string frames(uint32_t slot) const { return all(std::to_string(slot) + " frame "); }

  Delivered deliver(const std::vector<EventRow>& rows) override {
    stopped_.clear();
    std::map<uint64_t, uint32_t> ends;
    for (size_t i = 0; i < rows.size(); ++i) {
      const EventRow& row = rows[i];
      const bool hasBytes = row.event == Event::kFrame || row.event == Event::kReceived || row.event == Event::kRestore ||
                            row.event == Event::kParse || row.event == Event::kCalled || row.event == Event::kCipher ||
                            row.event == Event::kPlain;
      std::string_view bytes;
      if (hasBytes && row.c != 0) bytes = {reinterpret_cast<const char*>(slabs_[row.a].data() + row.b), row.c};
      const std::string line = std::to_string(row.slot) + " " + describe(row, bytes);
      if (line == diesBefore) return died(i, false);
      if (row.event == Event::kFrame && stopped_.contains(nameOf(row))) continue;
      const bool isFrame = row.event == Event::kFrame || row.event == Event::kReceived || row.event == Event::kBadFrame;
      if (i >= mostRows && isFrame && row.waiting != kLastChance) {
        handBack(row, ends[nameOf(row)], static_cast<uint32_t>(i));
        stop(row);
        continue;
      }
      if (row.event == Event::kFrame) ends[nameOf(row)] = row.d;
      seen.push_back(line);
      hook(row, bytes);
      if (line == diesIn) return died(i + 1, true);
    }
    return {true, rows.size(), false};
  }
  Slab newSlab(size_t atLeast) override {
    if (!hasMemory) return {};
    slabs_.emplace_back(atLeast);
    return {slabs_.back().data(), atLeast, static_cast<uint32_t>(slabs_.size() - 1)};
  }

 private:
  static uint64_t nameOf(const EventRow& row) { return uint64_t{row.generation} << 32 | row.slot; }
  Delivered died(size_t begun, bool inHook) {
    dead = true;
    return {false, begun, inHook};
  }
  static std::string describe(const EventRow& row, std::string_view bytes) {
    switch (row.event) {
      case Event::kOpen:
        return "open";
      case Event::kFrame:
        return "frame " + std::string(bytes);
      case Event::kReceived:
        return "received " + std::string(bytes);
      case Event::kEnd:
        return "end";
      case Event::kDrain:
        return "drain";
      case Event::kTimeout:
        return "timeout";
      case Event::kClose:
        return "close " + std::string(kCloseReasonNames[row.a & 0xff]);
      case Event::kRunResult:
        return "result";
      case Event::kDrained:
        return "drained";
      case Event::kAcceptError:
        return "accept-error";
      case Event::kRestore: {
        const uint32_t flags = row.d >> 16;
        std::string text = "restore";
        if (bytes.empty()) text += " without memory";
        if (flags & kRestoreHasState) text += " with " + std::string(bytes.substr(sizeof(uint64_t)));
        if (flags & kRestoreDataLost) text += " lost";
        if (flags & kRestoreEnded) text += " ended";
        return text;
      }
      case Event::kHandover:
        return "handover";
      case Event::kMoved:
        return "moved";
      case Event::kQuiet:
        return "quiet";
      case Event::kParse:
        return "parse " + std::string(bytes);
      case Event::kCredit:
        return "credit " + std::to_string(row.b) + (row.c != 0 ? " gone" : "");
      case Event::kGone:
        return "gone";
      case Event::kOverrun:
        return "overrun";
      case Event::kBalance:
        return "balance";
      case Event::kBadFrame:
        return "bad " + std::string(kCloseReasonNames[row.a]) + " " + std::to_string(row.b);
      case Event::kConnected:
        return "connected " + std::to_string(row.a);
      case Event::kConnectFailed:
        return "connect-failed " + std::to_string(row.a) + " " + std::to_string(row.b);
      case Event::kCalled:
        return "called " + std::string(bytes);
      case Event::kShrink:
        return "shrink";
      case Event::kCipher:
        return "cipher";
      case Event::kPlain:
        return "plain";
    }
    return "?";
  }

  std::set<uint64_t> stopped_;
  std::vector<std::vector<uint8_t>> slabs_;
};

inline ListenerConfig lines(bool toPool) {
  ListenerConfig config;
  config.framing.kind = FramingKind::kDelimiter;
  config.toPool = toPool;
  config.hooks = toPool ? 0 : kHookOpen | kHookMessage | kHookClose | kHookDrain | kHookTimeout | kHookEnd;
  return config;
}

inline void say(const Fd& fd, std::string_view text) {
  CHECK_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

// A PROXY header of version 2, whose signature would be lines, and the bytes behind its first 16: 192.0.2.1, port 56324.
inline constexpr std::string_view kProxyHead("\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", 16);
inline constexpr std::string_view kProxyRest("\xc0\0\x02\x01\xc0\0\x02\x02\xdc\x04\x01\xbb", 12);

struct Reactors {
  // The first reactor listens; all know the listener.
  explicit Reactors(const ListenerConfig& config, uint32_t count = 1, ExchangeOptions options = {},
                    const ListenerOptions& listening = {}) {
    options.reactors = count;
    options.workers = 1;
    exchange = std::make_shared<Exchange>(options);
    const auto group = must(ListenerGroup::open(must(Address::unixPath(folder.file("socket"))), listening));
    address = group->address();
    for (uint32_t i = 0; i < count; ++i) {
      reactors.push_back(std::make_unique<Reactor>(exchange, i));
      threads.push_back(std::make_unique<Js>());
      CHECK(reactors[i]->attach(threads[i].get()));
      CHECK_EQ(reactors[i]->addListener(config), 0u);
    }
    reactors[0]->listen(0, group, 0, false);
  }

  Reactor& reactor(uint32_t index = 0) { return *reactors[index]; }
  Js& js(uint32_t index = 0) { return *threads[index]; }

  // One more client, once its connection is open. Its first bytes are there before any time limit of it begins.
  Fd connect(std::string_view saying = {}) {
    const uint64_t before = reactor().counters().accepted.get();
    Fd fd = connected(address);
    if (!saying.empty()) say(fd, saying);
    until([&] { return reactor().counters().accepted.get() == before + 1; });
    return fd;
  }
  void turns(int count) {
    for (int i = 0; i < count; ++i) turn();
  }
  template <typename Condition>
  void until(Condition&& condition) {
    const uint64_t deadline = monotonicMs() + kPatienceMs;
    while (!condition()) {
      CHECK(monotonicMs() < deadline);
      turn();
    }
  }
  // The thread ends, and its memory with it; the next one takes over.
  void leave(uint32_t index = 0) {
    reactor(index).detach();
    threads[index].reset();
  }
  void takeOver(bool lost, uint32_t index = 0) {
    threads[index] = std::make_unique<Js>();
    CHECK(reactor(index).attach(threads[index].get()));
    reactor(index).restoreConnections(lost);
  }
  void replaceDead(uint32_t index = 0) {
    until([&] { return js(index).dead; });
    leave(index);
    takeOver(true, index);
  }

  // Reads the client's bytes, up to that many or to the end of the stream.
  std::string read(const Fd& fd, size_t size) {
    std::string all;
    char some[65536];
    until([&] {
      if (all.size() == size) return true;  // nothing of nothing: a socket that is empty would say that there may be more
      const Result<size_t> got = sock::receive(fd.get(), some, std::min(sizeof(some), size - all.size()));
      if (!got.ok()) return got.error != EAGAIN;
      all.append(some, got.value);
      return got.value == 0 || all.size() == size;
    });
    return all;
  }
  FrameRef task() {
    std::vector<FrameRef> frames;
    until([&] { return exchange->takeFrames(0, 1, &frames), !frames.empty(); });
    CHECK_EQ(frames.size(), 1u);
    return frames[0];
  }
  static std::string bodyOf(const FrameRef& frame) {
    const auto bytes = frame.task->frame(frame.index);
    return {bytes.begin(), bytes.end()};
  }
  void reply(const FrameRef& frame, std::string_view text, uint16_t flags = Reply::kLast) {
    Reply reply;
    reply.connection = frame.task->header().connection;
    reply.sequence = frame.task->sequence(frame.index);
    reply.frameBytes = static_cast<uint32_t>(frame.task->frame(frame.index).size());
    reply.length = static_cast<uint32_t>(text.size());
    reply.flags = flags;
    exchange->reply(reply, spanOf(text));
  }
  void echo(const FrameRef& frame) { reply(frame, bodyOf(frame) + "\n"); }
  uint64_t closed(CloseReason reason, uint32_t index = 0) {
    return reactor(index).counters().closed[static_cast<size_t>(reason)].get();
  }
  uint64_t open(uint32_t index = 0) { return reactor(index).counters().open.get(); }
  uint32_t admitted() { return exchange->admission().connections(); }

  Folder folder;
  std::shared_ptr<Exchange> exchange;
  std::vector<std::unique_ptr<Js>> threads;  // outlive the reactors that know them
  std::vector<std::unique_ptr<Reactor>> reactors;
  Address address;

 private:
  void turn() {
    bool more = false;
    for (const auto& reactor : reactors) {
      if (reactor->attached()) more = reactor->turn(0) || more;
    }
    if (!more) sched_yield();
  }
};

}  // namespace mr::test
