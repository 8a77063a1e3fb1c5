// Connections whose socket has failed: the peer has reset, or the network has. Bytes received before are read first, as far as
// the connection reads at all; nothing can be sent any more. epoll would tell the error in each turn, so that such a connection
// leaves the set, and the list here takes its place. See docs/states.md, "A peer that resets".
#include <cerrno>

#include "net/socket.h"
#include "reactor/reactor.h"

namespace mr {

namespace {

// Of a peer that cannot be answered any more: as much as one turn reads of a busy one.
constexpr uint64_t kReadAfterLoss = 64 << 10;

bool isReadEnded(const Connection& connection) {
  return connection.secure() ? connection.secure()->readEnded : connection.has(Connection::kReadEnded);
}

// Whether its bytes are read and thrown away.
bool discards(const Connection& connection) {
  return connection.has(Connection::kEnding | Connection::kDraining | Connection::kFinSent);
}

// With the thread that decrypts it.
bool awaitsThread(const Connection& connection) {
  return connection.secure() && !connection.secure()->plainEnded && connection.span == 0 &&
         !connection.has(Connection::kHasPending);
}

// Received, and on its way to the hooks, to the pool or to the stream.
bool owesInside(const Connection& connection) {
  if (connection.has(Connection::kEnding | Connection::kFinSent)) return false;  // no frame of it is cut any more
  if (connection.span != 0 || connection.has(Connection::kHasPending)) return true;
  if (connection.has(Connection::kPausedMask) && connection.in) return true;
  // An unread stream may hold some of it, which an error would throw away.
  if (connection.has(Connection::kStreamed) && connection.has(Connection::kPausedByUser)) return true;
  const Secure* secure = connection.secure();
  if (!secure || connection.has(Connection::kReadEnded)) return false;
  const bool endIsDue = secure->plainEnded || (secure->readEnded && secure->established && !secure->endAsked);
  return secure->undecrypted != 0 || endIsDue;
}

}  // namespace

// A receive, a send or epoll has said so. `error`: the socket's error, which it reports once; 0: not reported yet.
// `lost`: some bytes have not been sent.
void Reactor::onBroken(uint32_t slot, int error, bool lost) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid()) return;
  Broken& broken = connection.needExtras().broken;
  const bool isNews = !std::exchange(broken.known, true);
  if (broken.error == 0) broken.error = error;
  if (connection.has(Connection::kInEpoll)) (void)epoll_.remove(connection.fd.get());
  connection.unset(Connection::kInEpoll);
  connection.interest = connection.told = 0;
  connection.tellDue = false;
  if (connection.has(Connection::kPiped)) {
    // It may come back here by way of the other one, whose socket may have failed as well.
    if (isNews) receiveLastForPipe(slot);
    return closeBroken(slot);
  }
  dropOutput(slot, lost);
  if (connection.fd.valid() && settleBroken(slot)) listBroken(slot);
}

// Of the turns to come, one reads the rest of it, or closes it.
void Reactor::listBroken(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (std::exchange(connection.extras->broken.listed, true)) return;
  broken_.emplace_back(slot, connection.generation);
  askForTurn();
}

void Reactor::askForTurn() {
  leftWork_ = true;
  requestTurn();
}

void Reactor::closeBroken(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (!connection.fd.valid()) return;
  int error = connection.extras->broken.error;
  if (error == 0) error = sock::pendingError(connection.fd.get()).value;
  closeNow(slot, CloseReason::kReset, error);
}

// Something that was written reaches nobody.
void Reactor::loseOutput(uint32_t slot) {
  Connection& connection = table_.at(slot);
  Broken& broken = connection.extras->broken;
  if (std::exchange(broken.outputLost, true)) return;
  broken.readAtLoss = connection.bytesRead;
  connection.setSendingSinceMs(nowMs_);
}

// Kept, it would only wait for a send that fails.
void Reactor::writeInVain(uint32_t slot) {
  loseOutput(slot);
  hastenDeadline(slot);
  markDirty(slot);
  listBroken(slot);
}

// The peer takes no byte. A writer that waits for room gets no drain, or it would go on writing in vain; but input unread for
// want of room is read.
void Reactor::dropOutput(uint32_t slot, bool lost) {
  Connection& connection = table_.at(slot);
  if (lost || connection.waitingBytes() != 0) loseOutput(slot);
  connection.out.clear();
  if (connection.secure()) connection.secure()->out.clear();
  if (connection.creditsDue()) {
    for (const ReplyPart& part : *connection.creditsDue()) {
      exchange_->giveCredit(part.worker, part.creditToken, part.credit, true);
    }
    connection.extras->creditsDue.reset();
  }
  account(slot);
  if (losesOutput(connection)) hastenDeadline(slot);
  afterFlush(slot);
}

// Answers have been lost. A client reads on, since what its server has said may be why; a server that read on would work for
// nobody, and without the bound that a peer which does not read sets to a live one.
bool Reactor::isReadInVain(const Connection& connection) {
  return losesOutput(connection) && !connection.has(Connection::kClient) &&
         connection.bytesRead - connection.extras->broken.readAtLoss >= kReadAfterLoss;
}

// Of the bytes, or the end, that came before the error, something is still in the socket. It may say its error instead.
bool Reactor::waitsInSocket(uint32_t slot) {
  Connection& connection = table_.at(slot);
  Broken& broken = connection.extras->broken;
  if (broken.emptied || isReadEnded(connection) || discards(connection) || isReadInVain(connection)) return false;
  const Result<size_t> waits = sock::peek(connection.fd.get());
  if (waits.ok() && (waits.value != 0 || !broken.cutsOff())) return true;
  broken.emptied = true;
  if (!waits.ok() && broken.error == 0) broken.error = waits.error;
  return false;
}

// Whether somebody is to hear at once that his peer has left, rather than wait for room that never comes: requests that run, when
// something written is lost, or between two of them, where the next one would begin in vain; the writer of a stream that is not
// read.
bool Reactor::waitsInVain(const Connection& connection) const {
  const bool losesSome = losesOutput(connection);
  if (connection.has(Connection::kStreamed)) return losesSome && connection.has(Connection::kPausedByUser);
  return asksForAnswers(framings_[connection.framing].kind) &&
         (losesSome || (connection.has(Connection::kPausedMask) && connection.framerState() == 0));
}

// Closes it when nothing is owed to its reader any more. True: it is to be looked at again, in the turns to come.
bool Reactor::settleBroken(uint32_t slot) {
  Connection& connection = table_.at(slot);
  if (waitsInVain(connection)) {
    closeBroken(slot);
    return false;
  }
  const bool waitsInside = owesInside(connection);
  if (waitsInside || waitsInSocket(slot)) {
    // Paused, it waits for resume, which lists it again.
    return !connection.has(Connection::kPausedMask);
  }
  // As with a socket of Node's: behind the end of its peer's bytes, a stream hears of an error when it writes.
  if (connection.has(Connection::kReadEnded) && connection.has(Connection::kStreamed) && !losesOutput(connection)) return false;
  closeBroken(slot);
  return false;
}

void Reactor::readBroken() {
  std::vector<std::pair<uint32_t, uint32_t>> broken;
  broken.swap(broken_);
  for (size_t i = 0; i < broken.size(); ++i) {
    if (!takesMore()) {
      broken_.insert(broken_.begin(), broken.begin() + static_cast<ptrdiff_t>(i), broken.end());
      leftWork_ = true;
      return;
    }
    budget_.spend(TurnBudget::kSyscallBytes);
    const auto [slot, generation] = broken[i];
    Connection* connection = table_.find(slot, generation);
    if (!connection || !connection->fd.valid() || !connection->extras) continue;
    connection->extras->broken.listed = false;
    if (connection->has(Connection::kPiped)) {
      receiveLastForPipe(slot);
      closeBroken(slot);
      continue;
    }
    if (!connection->wire().empty()) dropOutput(slot, true);
    if (!connection->fd.valid() || !settleBroken(slot)) continue;
    if (owesInside(*connection)) {
      // For bytes that the thread decrypts it asks for a turn; the rest is done in this one.
      if (!awaitsThread(*connection)) leftWork_ = true;
      connection->extras->broken.listed = true;
      broken_.emplace_back(slot, generation);
      continue;
    }
    const uint64_t before = connection->bytesRead;
    onReadable(slot, *connection);
    if (!connection->fd.valid()) continue;
    // Where nothing can be read, for want of a thread or of memory, asking again would keep the turns from ending.
    const bool progressed = connection->bytesRead != before || isReadEnded(*connection);
    if (!std::exchange(connection->extras->broken.listed, true)) broken_.emplace_back(slot, generation);
    if (progressed) leftWork_ = true;
  }
}

}  // namespace mr
