// Why a connection closed. The order is shared with `closeReasons` in addon/src, and a test compares the two.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mr {

enum class CloseReason : uint8_t {
  kEnd,               // both sides finished in an orderly way
  kDestroyed,         // the app said destroy()
  kReset,             // the peer reset it, or the network did
  kFrameTooLarge,     // a frame passed maxBytes
  kMalformed,         // the framing's rules were broken
  kSlowConsumer,      // outBuffer.max was reached
  kHandlerError,      // a hook of this connection threw or rejected
  kParseError,        // parse failed and no error hook answered
  kTaskLost,          // the worker died on a frame of it
  kTaskTimeout,       // a frame ran longer than taskTimeoutMs
  kTimeout,           // conn.setTimeout passed and the app has no timeout hook
  kServerClosing,     // the server is closing, and the time to drain is over
  kThreadLost,        // the thread that drove it died
  kSystem,            // the kernel refused something (out of memory, epoll full)
  kIdleTimeout,       // nothing was received or sent for idleTimeoutMs
  kFirstByteTimeout,  // nothing came for firstByteTimeoutMs
  kFrameTimeout,      // a frame was not complete within frameTimeoutMs
  kWriteTimeout,      // the peer took nothing for writeTimeoutMs
  kConnectionLimit,   // as many connections as the process may have
  kAddressLimit,      // as many connections as one remote address may have
  kMemoryLimit,       // the process holds as many bytes as it may
  kOverloaded,        // the task queue was full, or a task waited too long, and the app refuses in no words of its own
  kProxyHeader,       // the listener wants a PROXY header, and there was none, a wrong one, or one from an untrusted sender
  kTlsError,          // the handshake failed, or the peer broke the rules of TLS
};

inline constexpr std::array<std::string_view, 24> kCloseReasonNames = {"end",
                                                                       "destroyed",
                                                                       "reset",
                                                                       "frame-too-large",
                                                                       "malformed-frame",
                                                                       "slow-consumer",
                                                                       "handler-error",
                                                                       "parse-error",
                                                                       "task-lost",
                                                                       "task-timeout",
                                                                       "timeout",
                                                                       "server-closing",
                                                                       "thread-lost",
                                                                       "system-error",
                                                                       "idle-timeout",
                                                                       "first-byte-timeout",
                                                                       "frame-timeout",
                                                                       "write-timeout",
                                                                       "connection-limit",
                                                                       "address-limit",
                                                                       "memory-limit",
                                                                       "overloaded",
                                                                       "proxy-header",
                                                                       "tls-error"};
inline constexpr size_t kCloseReasons = kCloseReasonNames.size();

}  // namespace mr
