// The writers that may put bytes on a connection in each of its states: one table for all writers. docs/states.md has the
// reasons, and tests try every writer in every state.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "reactor/connection.h"

namespace mr {

enum class State : uint8_t {
  kGone,          // closed, or with a sibling: it has no descriptor here
  kHidden,        // its PROXY header, the choice of its reactor or its TLS handshake is not over: no hook has seen it
  kServed,        // hooks and pool serve it; also while it waits to move to a sibling
  kDraining,      // the same while the reactor closes: frames in flight are answered
  kEnding,        // end() was said, or the peer or the framing has ended it, and frames before that are still owed their replies
  kEnded,         // the end has its place in the order, and everything before it has been put out
  kStreamed,      // a stream of the driving thread owns it
  kStreamEnding,  // that stream has ended, FIN follows the waiting bytes
  kPiped,         // another connection owns it
  kFinished,      // FIN has left
};
constexpr size_t kStates = 10;

enum class Writer : uint8_t {
  kReply,        // at the place of a frame that was received: parse, a deferred reply, the overloaded and error hooks
  kHook,         // conn.write, conn.reply: at the place of the frame at hand, or between two replies
  kSend,         // server.send, from any thread: between two replies
  kPublication,  // of a topic that it has subscribed to: between two replies
  kPrompt,       // the framing's own word to a peer that waits for it, 100 Continue
  kStream,       // the stream that owns it
  kPipe,         // the connection that it is piped to
  kTls,          // the layer of TLS: records, behind everything else
};
constexpr size_t kWriters = 8;

inline constexpr uint32_t kNotServed = Connection::kEnding | Connection::kFinSent | Connection::kEndSaid | Connection::kDraining |
                                       Connection::kUnplaced | Connection::kStreamed | Connection::kHalfClosing |
                                       Connection::kShut | Connection::kPipeFinSent | Connection::kPiped;

inline State stateOf(const Connection& connection) {
  if (!connection.fd.valid()) return State::kGone;
  // Most connections, most of the time.
  if (!connection.has(kNotServed) && !connection.secure()) return State::kServed;
  if (connection.has(Connection::kFinSent | Connection::kShut | Connection::kPipeFinSent)) return State::kFinished;
  if (connection.has(Connection::kPiped)) return State::kPiped;
  if (connection.isHidden()) return State::kHidden;
  // Bytes that were broken end it, too: without a place in the order, behind the replies to earlier frames.
  if (connection.has(Connection::kEndSaid)) return State::kEnded;
  if (connection.has(Connection::kStreamed)) {
    return connection.has(Connection::kHalfClosing | Connection::kEnding) ? State::kStreamEnding : State::kStreamed;
  }
  if (connection.has(Connection::kEnding)) return State::kEnding;
  return connection.has(Connection::kDraining) ? State::kDraining : State::kServed;
}

// By state and writer. The order of both is that of the enums above.
inline constexpr std::array<std::array<bool, kWriters>, kStates> kMayWrite = {{
    // reply, hook, send, publication, prompt, stream, pipe, tls
    {false, false, false, false, false, false, false, false},  // gone
    {false, false, false, false, false, false, false, true},   // hidden
    {true, true, true, true, true, false, false, true},        // served
    {true, true, true, false, true, false, false, true},       // draining
    {true, true, true, false, false, false, false, true},      // ending
    {false, false, false, false, false, false, false, true},   // ended
    {true, false, false, false, false, true, false, true},     // streamed
    {true, false, false, false, false, false, false, true},    // stream ending
    {false, true, false, false, false, false, true, false},    // piped
    {false, false, false, false, false, false, false, false},  // finished
}};

inline bool mayWrite(const Connection& connection, Writer writer) {
  return kMayWrite[static_cast<size_t>(stateOf(connection))][static_cast<size_t>(writer)];
}

// Frames may be given a place in its order, and topics may be subscribed to: it belongs to the hooks and to nothing else.
inline bool isOwnedByHooks(const Connection& connection) {
  return mayWrite(connection, Writer::kHook) && mayWrite(connection, Writer::kReply);
}

}  // namespace mr
