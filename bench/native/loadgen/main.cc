// The load generator: one thread, one epoll, and every reply compared with the expected one.
//
//   loadgen --to PORT|PATH,... --connections N --in-flight K (--seconds S --warmup S | --frames N)
//           --mode echo|lines|json|churn [--payload BYTES] [--data FILE --expect FILE] [--pids P,P]
//           [--beside-connections N --beside-in-flight K --beside-data FILE --beside-expect FILE]
//   loadgen --to PORT|PATH,... --idle N          opens N connections and holds them until its stdin closes
//
// Several addresses, ports of 127.0.0.1 and paths of Unix sockets, get the connections in turn.
//
// A run is a ring of requests and, line for line, the ring of their replies. In the modes `echo`, `lines` and `churn` the two are
// the same bytes; in the mode `json` they are the lines of --data and of --expect. Connection c starts at its own place in the
// ring, so that a reply that went to the wrong connection is a mismatch, not a coincidence.
//
// Each connection keeps K requests outstanding: as replies arrive, as many requests follow in one send. In the mode `churn` it
// has one request, and another connection follows. --beside is a second group of connections in the same window, counted for
// itself: heavy requests beside light ones.
//
// --pids names the processes of the server, whose CPU time is read at both ends of the measured window, here, where the window
// is. With --frames the window is the whole stream, from the first request to the last reply; after it every connection is
// half-closed, and the server must close its half without another byte.
//
// It prints one JSON line. A wrong byte, a byte too many, a connection lost or a reply that does not come ends it with exit
// code 1.

#include <unistd.h>

#include <cstdio>
#include <vector>

#include "churn.h"
#include "load.h"
#include "options.h"
#include "script.h"
#include "sockets.h"

namespace loadgen {
namespace {

void hold_idle(const Options& options) {
  std::vector<int> fds;
  for (size_t i = 0; i < options.idle; i++) fds.push_back(connect_to(address_of(options.to, i), source_of(i)));
  std::printf("{\"connected\":%zu}\n", fds.size());
  std::fflush(stdout);
  char byte;
  while (read(STDIN_FILENO, &byte, 1) > 0) {
  }
}

void run(const Options& options) {
  if (options.idle > 0) return hold_idle(options);
  Script script = make_script(options.traffic);
  if (options.traffic.mode == "churn") return Churn(options, script).run();
  Load load(options);
  load.open(options.traffic, script);
  if (options.beside.connections == 0) return options.frames > 0 ? load.stream() : load.run();
  Script beside = make_script(options.beside);
  load.open(options.beside, beside);
  load.run();
}

}  // namespace
}  // namespace loadgen

int main(int argc, char** argv) { loadgen::run(loadgen::parse_options(argc, argv)); }
