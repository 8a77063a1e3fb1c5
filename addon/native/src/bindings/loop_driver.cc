#include "bindings/loop_driver.h"

#include <algorithm>
#include <utility>

#include "base/fatal.h"

namespace mr {

// Outlives its driver until libuv has closed both handles: an environment must not end with one of them open.
struct LoopDriver::Handles {
  uv_poll_t poll;
  uv_timer_t timer;
  int open = 2;
  napi_async_cleanup_hook_handle hook = nullptr;
  std::function<void()> onReady;
  std::function<void()> onTeardown;
  LoopDriver* driver;
  int64_t armedFor = -1;
  uint64_t armedAt = 0;

  void close() {
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&poll))) return;
    onReady = nullptr;
    onTeardown = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(&poll), closed);
    uv_close(reinterpret_cast<uv_handle_t*>(&timer), closed);
  }

  static void closed(uv_handle_t* handle) {
    auto* self = static_cast<Handles*>(handle->data);
    if (--self->open != 0) return;
    napi_remove_async_cleanup_hook(self->hook);
    delete self;
  }

  static void teardown(napi_async_cleanup_hook_handle, void* data) {
    auto* self = static_cast<Handles*>(data);
    if (self->driver) self->driver->handles_ = nullptr;
    if (self->onTeardown) self->onTeardown();
    self->close();
  }
};

LoopDriver::LoopDriver(napi_env env, int fd, std::function<void()> onReady, std::function<void()> onTeardown) {
  uv_loop_t* loop = nullptr;
  MR_CHECK(napi_get_uv_event_loop(env, &loop) == napi_ok, "no event loop");
  handles_ = new Handles();
  handles_->driver = this;
  handles_->onReady = std::move(onReady);
  handles_->onTeardown = std::move(onTeardown);
  handles_->poll.data = handles_;
  handles_->timer.data = handles_;
  if (uv_poll_init(loop, &handles_->poll, fd) != 0) {  // epoll refuses files, and the kernel may have no memory
    delete std::exchange(handles_, nullptr);
    return;
  }
  MR_CHECK(uv_timer_init(loop, &handles_->timer) == 0, "no timer");
  MR_CHECK(napi_add_async_cleanup_hook(env, Handles::teardown, handles_, &handles_->hook) == napi_ok, "no cleanup hook");
  uv_poll_start(&handles_->poll, UV_READABLE, [](uv_poll_t* poll, int, int) {
    auto* handles = static_cast<Handles*>(poll->data);
    if (handles->onReady) handles->onReady();
  });
  uv_unref(reinterpret_cast<uv_handle_t*>(&handles_->timer));
}

LoopDriver::~LoopDriver() { close(); }

void LoopDriver::armTimer(int64_t milliseconds) {
  if (!handles_) return;
  if (milliseconds < 0) {
    if (handles_->armedFor >= 0) uv_timer_stop(&handles_->timer);
    handles_->armedFor = -1;
    return;
  }
  // Never at once: libuv runs timers until none is due, and one that is due again in its own callback is a loop without an end.
  milliseconds = std::max<int64_t>(milliseconds, 1);
  // Asked for after every turn: an alarm that is early enough stays.
  const uint64_t due = uv_now(handles_->timer.loop) + static_cast<uint64_t>(milliseconds);
  if (handles_->armedFor >= 0 && uv_is_active(reinterpret_cast<uv_handle_t*>(&handles_->timer)) && handles_->armedAt <= due &&
      handles_->armedAt + 4 >= due) {
    return;
  }
  handles_->armedFor = milliseconds;
  handles_->armedAt = due;
  uv_timer_start(
      &handles_->timer,
      [](uv_timer_t* timer) {
        auto* handles = static_cast<Handles*>(timer->data);
        handles->armedFor = -1;
        if (handles->onReady) handles->onReady();
      },
      static_cast<uint64_t>(milliseconds), 0);
}

void LoopDriver::setReferenced(bool referenced) {
  if (!handles_) return;
  auto* poll = reinterpret_cast<uv_handle_t*>(&handles_->poll);
  if (referenced) {
    uv_ref(poll);
  } else {
    uv_unref(poll);
  }
}

void LoopDriver::close() {
  if (!handles_) return;
  Handles* handles = handles_;
  handles_ = nullptr;
  handles->driver = nullptr;
  handles->close();
}

}  // namespace mr
