// Watches one descriptor and one timer in the event loop of the current Node environment, and closes both before that
// environment ends. It knows nothing of the driven object.
#pragma once

#include <napi.h>
#include <uv.h>

#include <functional>

namespace mr {

class LoopDriver {
 public:
  // onReady runs on the loop's thread, outside of any JS scope. onTeardown runs once, when the environment ends before close().
  // It is not open() where the loop does not take the descriptor.
  LoopDriver(napi_env env, int fd, std::function<void()> onReady, std::function<void()> onTeardown);
  ~LoopDriver();
  LoopDriver(const LoopDriver&) = delete;
  LoopDriver& operator=(const LoopDriver&) = delete;

  bool open() const { return handles_ != nullptr; }
  void armTimer(int64_t milliseconds);  // negative: stop. onReady runs when it ends
  void setReferenced(bool referenced);  // whether it keeps the loop alive
  void close();

 private:
  struct Handles;
  Handles* handles_ = nullptr;
};

}  // namespace mr
