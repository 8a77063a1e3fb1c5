// The command line of the load generator: see main.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "failure.h"

namespace loadgen {

// The messages of one group of connections, and the number in flight.
struct Traffic {
  std::string mode = "echo";
  size_t connections = 1;
  size_t in_flight = 1;
  size_t payload = 64;
  std::string data;
  std::string expect;
};

struct Options {
  std::vector<std::string> to;
  Traffic traffic;
  Traffic beside;  // none when it has no connections
  double seconds = 1;
  double warmup = 0.2;
  std::vector<int> pids;
  size_t idle = 0;
  uint64_t frames = 0;
};

inline std::vector<std::string> parts_of(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream stream(list);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

inline Options parse_options(int argc, char** argv) {
  std::map<std::string, std::string> given;
  if (argc % 2 == 0) fail("each option takes one value");
  for (int i = 1; i < argc; i += 2) given[argv[i]] = argv[i + 1];
  Options options;
  Traffic& traffic = options.traffic;
  Traffic& beside = options.beside;
  beside = {.mode = "json", .connections = 0, .in_flight = 1, .payload = 0, .data = "", .expect = ""};
  for (const auto& [name, value] : given) {
    if (name == "--to")
      options.to = parts_of(value);
    else if (name == "--connections")
      traffic.connections = std::stoul(value);
    else if (name == "--in-flight")
      traffic.in_flight = std::stoul(value);
    else if (name == "--seconds")
      options.seconds = std::stod(value);
    else if (name == "--warmup")
      options.warmup = std::stod(value);
    else if (name == "--mode")
      traffic.mode = value;
    else if (name == "--payload")
      traffic.payload = std::stoul(value);
    else if (name == "--data")
      traffic.data = value;
    else if (name == "--expect")
      traffic.expect = value;
    else if (name == "--beside-connections")
      beside.connections = std::stoul(value);
    else if (name == "--beside-in-flight")
      beside.in_flight = std::stoul(value);
    else if (name == "--beside-data")
      beside.data = value;
    else if (name == "--beside-expect")
      beside.expect = value;
    else if (name == "--idle")
      options.idle = std::stoul(value);
    else if (name == "--frames")
      options.frames = std::stoull(value);
    else if (name == "--pids")
      for (const std::string& pid : parts_of(value)) options.pids.push_back(std::stoi(pid));
    else
      fail("unknown option " + name);
  }
  const std::string& mode = traffic.mode;
  if (options.to.empty()) fail("--to is missing");
  if (traffic.connections == 0 || traffic.in_flight == 0) fail("--connections and --in-flight start at 1");
  if (mode != "echo" && mode != "lines" && mode != "json" && mode != "churn") fail("unknown mode " + mode);
  if (mode == "json" && (traffic.data.empty() || traffic.expect.empty())) fail("mode json needs --data and --expect");
  if (beside.connections > 0 && (beside.data.empty() || beside.expect.empty() || beside.in_flight == 0 || options.frames > 0))
    fail("--beside-connections needs --beside-data, --beside-expect, --beside-in-flight from 1 on, and no --frames");
  if (mode == "churn" && (options.frames > 0 || beside.connections > 0)) fail("mode churn takes neither --frames nor --beside");
  if (traffic.payload < 2) fail("--payload starts at 2 bytes");
  return options;
}

}  // namespace loadgen
