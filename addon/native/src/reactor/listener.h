// A reactor's settings for one listener: how its bytes are cut, where its frames go, and its limits. No socket.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/framer.h"
#include "exchange/balance.h"

namespace mr {

// Which hooks the app has; events without a hook never cross into JS.
enum Hook : uint32_t {
  kHookOpen = 1,
  kHookMessage = 2,
  kHookDrain = 4,
  kHookEnd = 8,
  kHookTimeout = 16,
  kHookClose = 32,
  kHookRestore = 64,
  kHookBadFrame = 1024,
  kHooksOfStream = kHookMessage | kHookDrain | kHookEnd | kHookTimeout | kHookClose,
};

// Where the frames that pass no hook run.
enum class Run : uint8_t { kPool, kInline, kAuto };

// The fields below that cross from JavaScript under their own name: numbers, and flags. `nativeListener` of
// packages/reactor/src/engine_listener.ts sends them.
// clang-format off
#define MR_LISTENER_NUMBERS(X) \
  X(hooks) X(keepAliveSeconds) X(outHighBytes) X(outLowBytes) X(outMaxBytes) X(maxInFlight) X(maxInFlightBytes) X(idleMs) \
  X(firstByteMs) X(frameMs) X(writeMs) X(maxSubscriptions) X(maxSubscriptionBytes)
#define MR_LISTENER_FLAGS(X) X(toPool) X(unordered) X(allowHalfOpen) X(noDelay) X(answersOverload) X(secure)
// clang-format on

struct ListenerConfig {
  FramingConfig framing;
  uint32_t hooks = 0;
  bool toPool = false;     // frames pass no message hook
  Run run = Run::kPool;    // and go to the task queue, or run on this reactor
  bool unordered = false;  // order: 'none'
  bool allowHalfOpen = false;
  bool secure = false;  // TLS, done by the driving thread
  bool noDelay = true;
  uint32_t keepAliveSeconds = 0;          // 0: off
  size_t outHighBytes = 64 << 10;         // write() says false and reading stops above this
  size_t outLowBytes = 16 << 10;          // and goes on, with `drain`, below this
  size_t outMaxBytes = size_t{16} << 20;  // slow-consumer
  uint32_t maxInFlight = 1024;            // frames of one connection that are in the pool or wait in order
  size_t maxInFlightBytes = 256 << 10;    // of frames of one connection that are in the pool; a few of any size pass
  // Time limits in ms; 0: none.
  uint32_t idleMs = 0;                      // nothing received or sent, and nothing in flight
  uint32_t firstByteMs = 0;                 // from accept to the first byte, or to the whole PROXY header
  uint32_t frameMs = 0;                     // from the first byte of a frame to its last
  uint32_t writeMs = 0;                     // the peer takes no waiting byte
  uint32_t maxSubscriptions = 1024;         // of one connection
  size_t maxSubscriptionBytes = 128 << 10;  // of the names of their topics
  Balance::Policy balance = Balance::Policy::kKernel;
  bool answersOverload = false;  // the app has words for a refused frame

  bool operator==(const ListenerConfig&) const = default;
};

}  // namespace mr
