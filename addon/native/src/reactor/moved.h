// Sent from one reactor to a sibling: a whole connection, or a listening socket. Made and taken apart by reactors only.
#pragma once

#include <vector>

#include "reactor/reactor.h"

namespace mr {

class Reactor::Moved final : public Message {
 public:
  Moved() : Message(Kind::kMoved) {}
  enum class What : uint8_t { kConnection, kAcceptor } what = What::kConnection;

  ConnectionId id;
  Connection connection;
  FramingConfig framing;
  bool listenersFraming = true;  // it is the framing of its listener
  std::vector<uint8_t> state;    // for the restore hook
  bool hasState = false;
  bool dataLost = false;  // with the thread that knew it

  Subscribers::Packed subscriptions;

  Acceptor acceptor;
};

}  // namespace mr
