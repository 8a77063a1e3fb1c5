// The encrypted side of a connection whose listener speaks TLS. The keys and the handshake are in the driving thread; here are
// the bytes on their way to it and from it. Plaintext lies in the connection's own buffers, as if it came from the socket.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/tls_records.h"
#include "net/out_buffer.h"

namespace mr {

struct Secure {
  static constexpr uint32_t kFirstCipher = 16 << 10;
  static constexpr uint32_t kLeastCipher = 4 << 10;

  OutBuffer out;             // encrypted, for the socket
  size_t handed = 0;         // bytes of plaintext that are being encrypted
  uint32_t undecrypted = 0;  // pieces that were received and are not through the thread yet
  // The bytes to read at once, by the thread's time to decrypt. A peer decides the cost of its bytes, and records may be small.
  uint32_t readBytes = kFirstCipher;
  bool begun = false;         // the thread has a state for it, which cannot go to another one
  bool established = false;   // the handshake is over
  bool heard = false;         // plaintext has come
  bool readEnded = false;     // of the socket; that of the plaintext is Connection::kReadEnded
  bool plainEnded = false;    // the layer has said so; it comes behind all plaintext before it
  uint64_t toldInTurn = 0;    // when its hooks were told of that end
  bool endAsked = false;      // the thread has been asked to say goodbye
  bool resets = false;        // bytes being encrypted are dropped when it is destroyed
  bool ended = false;         // and has
  bool closesBehind = false;  // destroy() was said: it closes after one attempt to send the bytes handed over
  TlsRecords records;
  uint64_t recordSinceMs = 0;  // when the incomplete record began; 0: there is none
};

}  // namespace mr
