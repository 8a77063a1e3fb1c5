// The life of a connection, again and again: connect, one message, its echo, FIN, the server's FIN. Whole lives are
// counted.
#pragma once

#include <algorithm>
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

constexpr uint64_t kLifeLimit = 10 * kNanosecondsPerSecond;  // A connection that takes longer has failed.

class Churn {
 public:
  Churn(const Options& options, const Script& script) : options_(options), script_(script), buffer_(kReadBytes) {
    lives_.resize(options.traffic.connections);
  }

  void run() {
    for (Life& life : lives_) begin(life);
    turn_until(now() + nanoseconds(options_.warmup));
    measuring_ = true;
    uint64_t cpu_before = cpu_ns(options_.pids);
    uint64_t begun = now();
    turn_until(begun + nanoseconds(options_.seconds));
    uint64_t ended = now();
    uint64_t cpu = cpu_ns(options_.pids) - cpu_before;
    measuring_ = false;
    draining_ = true;
    while (living_ > 0) turn(100);
    print_result(tally_, nullptr, static_cast<double>(ended - begun) / kNanosecondsPerSecond, cpu);
  }

 private:
  struct Life {
    int fd = -1;
    uint64_t number = 0;  // of all lives: also its message's place in the ring
    size_t answered_bytes = 0;
    uint64_t begun = 0;
  };

  void begin(Life& life) {
    life.number = begun_++;
    life.answered_bytes = 0;
    life.begun = now();
    life.fd = connect_to(address_of(options_.to, life.number), source_of(life.number));
    living_++;
    std::string_view message = message_of(life);
    if (send(life.fd, message.data(), message.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(message.size()))
      fail_errno(where(life) + ", send");
    epoll_.watch(EPOLL_CTL_ADD, life.fd, EPOLLIN, &life);
  }

  void turn_until(uint64_t deadline) {
    for (uint64_t time = now(); time < deadline; time = now()) turn(static_cast<int>((deadline - time) / 1'000'000) + 1);
  }

  void turn(int timeout_ms) {
    epoll_event events[kEventsPerWait];
    int ready = epoll_.wait(events, timeout_ms);
    for (int i = 0; i < ready; i++) receive(*static_cast<Life*>(events[i].data.ptr));
    if (ready > 0) return;
    for (const Life& life : lives_)
      if (life.fd >= 0 && now() - life.begun > kLifeLimit) fail(where(life) + ": it did not end");
  }

  void receive(Life& life) {
    ssize_t received = recv(life.fd, buffer_.data(), buffer_.size(), 0);
    if (received < 0) {
      if (errno == EAGAIN || errno == EINTR) return;
      fail_errno(where(life) + ", receive");
    }
    std::string_view missing = message_of(life).substr(life.answered_bytes);
    if (received == 0) {
      if (!missing.empty()) fail(where(life) + ": closed by the server before its echo");
      end(life);
      return;
    }
    std::string_view got(buffer_.data(), static_cast<size_t>(received));
    if (got != missing.substr(0, got.size()))
      fail(where(life) + ", byte " + std::to_string(life.answered_bytes) + ": expected " + quoted(missing) + ", got " +
           quoted(got));
    life.answered_bytes += got.size();
    if (got.size() == missing.size() && shutdown(life.fd, SHUT_WR) < 0) fail_errno(where(life) + ", shutdown");
  }

  void end(Life& life) {
    if (measuring_) {
      tally_.histogram.record(now() - life.begun);
      tally_.requests++;
    }
    tally_.verified++;
    close(life.fd);
    life.fd = -1;
    living_--;
    if (!draining_) begin(life);
  }

  std::string_view message_of(const Life& life) const { return script_.requests.message(life.number % script_.requests.size()); }

  std::string where(const Life& life) const {
    return "connection " + std::to_string(life.number) + " to " + address_of(options_.to, life.number);
  }

  const Options& options_;
  const Script& script_;
  Epoll epoll_;
  std::vector<Life> lives_;
  std::vector<char> buffer_;
  Tally tally_;
  uint64_t begun_ = 0;
  size_t living_ = 0;
  bool measuring_ = false;
  bool draining_ = false;
};

}  // namespace loadgen
