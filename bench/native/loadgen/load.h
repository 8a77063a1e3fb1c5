// Connections that stay, each with a number of requests outstanding.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "clock.h"
#include "options.h"
#include "result.h"
#include "script.h"
#include "server_cpu.h"
#include "sockets.h"

namespace loadgen {

constexpr uint64_t kDrainLimit = 10 * kNanosecondsPerSecond;  // A reply later than this counts as lost.
constexpr size_t kConnectionStride = 7919;                    // A prime: the starting places spread over any ring.

// Connections that send the same requests.
struct Group {
  Group(const Traffic& sent, const Script& said) : traffic(sent), script(said) {}
  const Traffic& traffic;
  const Script& script;
  Tally tally;
};

struct Connection {
  explicit Connection(Group& of) : group(&of) {}
  Group* group;
  int fd = -1;
  size_t number = 0;
  size_t start = 0;       // Its place in the ring.
  uint64_t allowed = 0;   // Requests it may have sent by now.
  uint64_t sent = 0;      // Requests sent whole.
  size_t sent_bytes = 0;  // Bytes sent of the next one.
  uint64_t answered = 0;  // Replies received whole.
  size_t answered_bytes = 0;
  bool waits_for_room = false;
  std::vector<uint64_t> asked_at;  // When each outstanding request was due; request i at i % in_flight.
};

class Load {
 public:
  explicit Load(const Options& options) : options_(options), buffer_(kReadBytes) {}

  // One group of connections. The one that is opened first is served first in every turn. Before run() or stream().
  void open(const Traffic& traffic, const Script& script) {
    Group& group = groups_.emplace_back(traffic, script);
    for (size_t i = 0; i < traffic.connections; i++) {
      const size_t number = connections_.size();
      open(connections_.emplace_back(group), number);
    }
  }

  void run() {
    start();
    uint64_t started = now();
    turn_until(started + nanoseconds(options_.warmup));
    measuring_ = true;
    uint64_t cpu_before = cpu_ns(options_.pids);
    uint64_t begin = now();
    turn_until(begin + nanoseconds(options_.seconds));
    uint64_t end = now();
    uint64_t cpu = cpu_ns(options_.pids) - cpu_before;
    measuring_ = false;
    drain();
    print(static_cast<double>(end - begin) / kNanosecondsPerSecond, cpu);
  }

  void stream() {
    measuring_ = true;
    uint64_t cpu_before = cpu_ns(options_.pids);
    uint64_t begin = now();
    start();
    while (groups_[0].tally.requests < options_.frames) turn_with_progress();
    uint64_t end = now();
    uint64_t cpu = cpu_ns(options_.pids) - cpu_before;
    half_close();
    print(static_cast<double>(end - begin) / kNanosecondsPerSecond, cpu);
  }

 private:
  void start() {
    uint64_t time = now();
    for (Connection& connection : connections_) {
      const size_t in_flight = connection.group->traffic.in_flight;
      connection.asked_at.resize(in_flight, time);
      for (size_t i = 0; i < in_flight; i++) allow(connection);
      send_allowed(connection);
    }
  }

  // One request more for this connection, unless the stream has all it needs.
  void allow(Connection& connection) {
    if (options_.frames != 0 && allowed_ == options_.frames) return;
    connection.allowed++;
    allowed_++;
  }

  void turn_with_progress() {
    const uint64_t& requests = groups_[0].tally.requests;
    uint64_t before = requests;
    uint64_t deadline = now() + kDrainLimit;
    while (requests == before) {
      if (now() > deadline) fail(std::to_string(outstanding()) + " replies did not come" + first_outstanding());
      turn(100);
    }
  }

  std::string first_outstanding() const {
    for (const Connection& connection : connections_)
      if (connection.answered < connection.allowed) return "; the first: " + where(connection);
    return "";
  }

  void half_close() {
    for (Connection& connection : connections_)
      if (shutdown(connection.fd, SHUT_WR) < 0) fail_errno(where(connection) + ", shutdown");
    half_closed_ = true;
    uint64_t deadline = now() + kDrainLimit;
    while (ended_ < connections_.size()) {
      if (now() > deadline) fail(std::to_string(connections_.size() - ended_) + " connections were not closed by the server");
      turn(100);
    }
  }

  void open(Connection& connection, size_t number) {
    connection.fd = connect_to(address_of(options_.to, number));
    connection.number = number;
    connection.start = number * kConnectionStride % connection.group->script.requests.size();
    watch(connection, EPOLL_CTL_ADD, EPOLLIN);
  }

  void watch(Connection& connection, int operation, uint32_t events) {
    epoll_.watch(operation, connection.fd, events, &connection);
  }

  void turn_until(uint64_t deadline) {
    for (uint64_t time = now(); time < deadline; time = now()) turn(static_cast<int>((deadline - time) / 1'000'000) + 1);
  }

  void turn(int timeout_ms) {
    epoll_event events[kEventsPerWait];
    int ready = epoll_.wait(events, timeout_ms);
    // A light request must not be timed while this thread still copies heavy ones.
    for (const Group& group : groups_) {
      for (int i = 0; i < ready; i++) {
        Connection& connection = *static_cast<Connection*>(events[i].data.ptr);
        if (connection.group != &group) continue;
        if (events[i].events & EPOLLOUT) send_allowed(connection);
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
      }
    }
  }

  // No new requests; each one that was sent still has its reply checked.
  void drain() {
    draining_ = true;
    uint64_t deadline = now() + kDrainLimit;
    while (outstanding() != 0) {
      if (now() > deadline) fail(std::to_string(outstanding()) + " replies did not come" + first_outstanding());
      turn(100);
    }
  }

  uint64_t outstanding() const {
    uint64_t count = 0;
    for (const Connection& connection : connections_) count += connection.allowed - connection.answered;
    return count;
  }

  void send_allowed(Connection& connection) {
    const Ring& requests = connection.group->script.requests;
    while (connection.sent < connection.allowed) {
      // Neighbours in the ring are neighbours in memory: one piece up to the ring's end, a second one after it.
      size_t first = (connection.start + connection.sent) % requests.size();
      size_t count = connection.allowed - connection.sent;
      size_t upper = std::min(first + count, requests.size());
      size_t lower = std::min(first + count - upper, first);
      iovec pieces[2];
      char* base = const_cast<char*>(requests.bytes.data());
      pieces[0] = {base + requests.starts[first] + connection.sent_bytes,
                   requests.starts[upper] - requests.starts[first] - connection.sent_bytes};
      pieces[1] = {base, requests.starts[lower]};
      msghdr message{};
      message.msg_iov = pieces;
      message.msg_iovlen = lower == 0 ? 1 : 2;
      ssize_t taken = sendmsg(connection.fd, &message, MSG_NOSIGNAL);
      if (taken < 0) {
        if (errno != EAGAIN) fail_errno("connection " + std::to_string(connection.number) + ", send");
        if (!connection.waits_for_room) watch(connection, EPOLL_CTL_MOD, EPOLLIN | EPOLLOUT);
        connection.waits_for_room = true;
        return;
      }
      advance(connection, static_cast<size_t>(taken));
    }
    if (connection.waits_for_room) watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    connection.waits_for_room = false;
  }

  void advance(Connection& connection, size_t taken) {
    const Ring& requests = connection.group->script.requests;
    while (taken > 0) {
      size_t index = (connection.start + connection.sent) % requests.size();
      size_t left = requests.message(index).size() - connection.sent_bytes;
      if (taken < left) {
        connection.sent_bytes += taken;
        return;
      }
      taken -= left;
      connection.sent++;
      connection.sent_bytes = 0;
    }
  }

  void receive(Connection& connection) {
    ssize_t received = recv(connection.fd, buffer_.data(), buffer_.size(), 0);
    if (received < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      fail_errno("connection " + std::to_string(connection.number) + ", receive");
    }
    if (received == 0 && half_closed_) {
      watch(connection, EPOLL_CTL_DEL, 0);
      ended_++;
      return;
    }
    if (received == 0)
      fail("connection " + std::to_string(connection.number) + " closed by the server after " +
           std::to_string(connection.answered) + " replies, with " + std::to_string(connection.allowed - connection.answered) +
           " outstanding");
    check(connection, std::string_view(buffer_.data(), static_cast<size_t>(received)));
  }

  void check(Connection& connection, std::string_view got) {
    uint64_t time = now();
    const Ring& replies = connection.group->script.replies;
    while (!got.empty()) {
      if (connection.answered == connection.sent && !may_answer_partly(connection))
        fail(where(connection) + ": a reply without a request: " + quoted(got));
      std::string_view reply = replies.message((connection.start + connection.answered) % replies.size());
      std::string_view expected = reply.substr(connection.answered_bytes, got.size());
      if (memcmp(got.data(), expected.data(), expected.size()) != 0) fail_mismatch(connection, expected, got);
      got.remove_prefix(expected.size());
      connection.answered_bytes += expected.size();
      if (connection.answered_bytes < reply.size()) return;
      finish_reply(connection, time);
    }
    send_allowed(connection);
  }

  [[noreturn]] void fail_mismatch(const Connection& connection, std::string_view expected, std::string_view got) const {
    size_t wrong = static_cast<size_t>(std::mismatch(expected.begin(), expected.end(), got.begin()).first - expected.begin());
    fail(where(connection) + ", byte " + std::to_string(connection.answered_bytes + wrong) + ": expected " +
         quoted(expected.substr(wrong)) + ", got " + quoted(got.substr(wrong)));
  }

  // An echo may return the first bytes of a message before its last bytes are sent; a framed server may not.
  bool may_answer_partly(const Connection& connection) const {
    return connection.group->traffic.mode == "echo" && connection.answered_bytes < connection.sent_bytes;
  }

  void finish_reply(Connection& connection, uint64_t time) {
    uint64_t& asked_at = connection.asked_at[connection.answered % connection.asked_at.size()];
    Tally& tally = connection.group->tally;
    if (measuring_) {
      tally.histogram.record(time - asked_at);
      tally.requests++;
    }
    connection.answered++;
    connection.answered_bytes = 0;
    tally.verified++;
    if (draining_) return;
    allow(connection);
    asked_at = time;
  }

  std::string where(const Connection& connection) const {
    return "connection " + std::to_string(connection.number) + " to " + address_of(options_.to, connection.number) + ", reply " +
           std::to_string(connection.answered) + " (line " +
           std::to_string((connection.start + connection.answered) % connection.group->script.replies.size() + 1) +
           " of the ring)";
  }

  void print(double seconds, uint64_t cpu) const {
    print_result(groups_[0].tally, groups_.size() > 1 ? &groups_[1].tally : nullptr, seconds, cpu);
  }

  const Options& options_;
  Epoll epoll_;
  std::deque<Group> groups_;  // Connections point to their group, and events to their connection: nothing here may move.
  std::deque<Connection> connections_;
  std::vector<char> buffer_;
  uint64_t allowed_ = 0;  // Requests of all connections.
  size_t ended_ = 0;      // Connections closed by the server after the stream.
  bool half_closed_ = false;
  bool measuring_ = false;
  bool draining_ = false;
};

}  // namespace loadgen
