// Publications on their way out: to the socket when nothing waits before them, or to the out buffer.
#include "reactor/reactor.h"

namespace mr {

std::optional<uint64_t> Reactor::publishHere(std::string_view topic, SharedBytesRef bytes, SharedBytesRef deflated,
                                             uint8_t windowBits) {
  owner_.assertCurrent(__func__);
  return subscribers_.publish(topic, std::move(bytes), std::move(deflated), windowBits);
}

void Reactor::sendShared(uint32_t slot, const SharedBytesRef& bytes, bool alone) {
  Connection& connection = table_.at(slot);
  if (!alone || !passesOutBuffer(connection)) return appendShared(slot, bytes);
  counters_.publications.add(1);
  const size_t left = sendNow(slot, connection, bytes.span());
  if (!connection.fd.valid() || left == bytes.size() || connection.isBroken()) return;
  connection.out.append(bytes, left);
  account(slot);
  if (connection.waitingBytes() > config(connection).outHighBytes) markPausedByOutput(slot);
  awaitRoom(slot);
}

// Between two replies, never inside one.
void Reactor::appendShared(uint32_t slot, const SharedBytesRef& bytes) {
  Connection& connection = table_.at(slot);
  counters_.publications.add(1);
  if (connection.has(Connection::kHeadStarted)) {
    auto& between = windowOf(connection).between;
    const auto all = bytes.span();
    between.insert(between.end(), all.begin(), all.end());
    return account(slot);
  }
  if (connection.isBroken()) return writeInVain(slot);
  connection.out.append(bytes);
  markDirty(slot);
  if (connection.waitingBytes() > config(connection).outHighBytes) markPausedByOutput(slot);
}

}  // namespace mr
