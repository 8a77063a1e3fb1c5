// User and system time of a process with all its threads, from the scheduler's own nanoseconds where the kernel tells them
// (/proc/PID/stat counts in ticks of 10 ms, which is 1 % of a second). Threads that ended are missing there, so a server must not
// end threads while it is measured.
#pragma once

#include <dirent.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "clock.h"
#include "failure.h"

namespace loadgen {

inline uint64_t scheduled_ns(int pid) {
  std::string tasks = "/proc/" + std::to_string(pid) + "/task";
  DIR* directory = opendir(tasks.c_str());
  if (directory == nullptr) fail("the server process " + std::to_string(pid) + " is gone");
  uint64_t total = 0;
  while (dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    std::ifstream file(tasks + "/" + entry->d_name + "/schedstat");
    uint64_t ran = 0;
    if (file >> ran) total += ran;
  }
  closedir(directory);
  return total;
}

inline uint64_t ticks_ns(int pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) fail("the server process " + std::to_string(pid) + " is gone");
  unsigned long user = 0, system = 0;
  std::sscanf(text.c_str() + name_end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system);
  return (user + system) * (kNanosecondsPerSecond / static_cast<uint64_t>(sysconf(_SC_CLK_TCK)));
}

inline uint64_t cpu_ns(const std::vector<int>& pids) {
  uint64_t total = 0;
  for (int pid : pids) {
    uint64_t scheduled = scheduled_ns(pid);
    total += scheduled != 0 ? scheduled : ticks_ns(pid);
  }
  return total;
}

}  // namespace loadgen
