#include "net/fd_passing.h"

#include "sockets.h"

using namespace mr;
using namespace mr::test;

namespace {

Fd listening(const Address& address = loopback()) {
  Fd fd = must(sock::bindStream(address, {.reusePort = true}));
  must(sock::listen(fd.get(), 16));
  return fd;
}

ControlMessage messageOf(ControlMessage::Kind kind) {
  ControlMessage message;
  message.kind = kind;
  return message;
}

ControlMessage socketsOf(size_t count, const std::string& key) {
  ControlMessage message = messageOf(ControlMessage::Kind::kSockets);
  for (size_t i = 0; i < count; ++i) {
    message.sockets.push_back({PassedSocket::Role::kListening, key + std::to_string(i), "/run/" + key, listening()});
  }
  return message;
}

int errorOfBytes(const std::string& bytes) {
  const Pair pair = unixPair();
  must(sock::send(pair.near.get(), bytes.data(), bytes.size()));
  MessageReader reader;
  return reader.next(pair.far.get()).error;
}

int adoptError(const std::vector<int>& fds, size_t* culprit) {
  return ListenerGroup::adopt(fds, {.members = static_cast<int>(fds.size())}, Fd(), "", true, culprit).error;
}

}  // namespace

TEST("fd passing: sockets arrive as the same sockets, in order, each with what it is") {
  const Pair pair = unixPair();
  ControlMessage sent = socketsOf(3, "key");
  sent.sockets[2].role = PassedSocket::Role::kGuard;
  std::vector<uint64_t> inodes;
  for (const PassedSocket& socket : sent.sockets) inodes.push_back(inodeOf(socket.fd.get()));
  CHECK_EQ(sendMessage(pair.near.get(), sent), 0);
  sent.sockets.clear();  // the kernel holds them
  MessageReader reader;
  const auto got = must(reader.next(pair.far.get()));
  CHECK(got.has_value());
  CHECK(got->kind == ControlMessage::Kind::kSockets);
  CHECK_EQ(got->sockets.size(), size_t{3});
  for (size_t i = 0; i < 3; ++i) {
    CHECK_EQ(got->sockets[i].key, "key" + std::to_string(i));
    CHECK_EQ(got->sockets[i].path, std::string("/run/key"));
    CHECK_EQ(inodeOf(got->sockets[i].fd.get()), inodes[i]);
  }
  CHECK(got->sockets[2].role == PassedSocket::Role::kGuard);
  CHECK(!must(reader.next(pair.far.get())).has_value());
}

TEST("fd passing: messages that wait together stay apart, with their own descriptors") {
  const Pair pair = unixPair();
  CHECK_EQ(sendMessage(pair.near.get(), messageOf(ControlMessage::Kind::kHello)), 0);
  CHECK_EQ(sendMessage(pair.near.get(), socketsOf(2, "a")), 0);
  CHECK_EQ(sendMessage(pair.near.get(), socketsOf(kMaxSocketsOfMessage, "b")), 0);
  CHECK_EQ(sendMessage(pair.near.get(), messageOf(ControlMessage::Kind::kAll)), 0);
  MessageReader reader;
  CHECK(must(reader.next(pair.far.get()))->kind == ControlMessage::Kind::kHello);
  CHECK_EQ(must(reader.next(pair.far.get()))->sockets[1].key, std::string("a1"));
  const auto many = must(reader.next(pair.far.get()));
  CHECK_EQ(many->sockets.size(), kMaxSocketsOfMessage);
  CHECK_EQ(many->sockets.back().key, "b" + std::to_string(kMaxSocketsOfMessage - 1));
  CHECK(must(reader.next(pair.far.get()))->kind == ControlMessage::Kind::kAll);
}

TEST("fd passing: a message in pieces is one message") {
  const Pair pair = unixPair(), relay = unixPair();
  CHECK_EQ(sendMessage(relay.near.get(), messageOf(ControlMessage::Kind::kReady)), 0);
  const std::string bytes = received(relay.far.get());
  MessageReader reader;
  for (size_t i = 0; i < bytes.size(); ++i) {
    CHECK(!must(reader.next(pair.far.get())).has_value());
    must(sock::send(pair.near.get(), &bytes[i], 1));
  }
  CHECK(must(reader.next(pair.far.get()))->kind == ControlMessage::Kind::kReady);
}

TEST("fd passing: the end of the peer is told, after what it has said") {
  Pair pair = unixPair();
  CHECK_EQ(sendMessage(pair.near.get(), messageOf(ControlMessage::Kind::kReleased)), 0);
  pair.near.reset();
  MessageReader reader;
  CHECK(must(reader.next(pair.far.get()))->kind == ControlMessage::Kind::kReleased);
  CHECK_EQ(reader.next(pair.far.get()).error, ENOTCONN);
}

TEST("fd passing: what is no message, of another version, or lies about its sockets is refused") {
  CHECK_EQ(errorOfBytes("220 mail.example ESMTP ready\r\n"), EPROTO);
  const Pair relay = unixPair();
  CHECK_EQ(sendMessage(relay.near.get(), messageOf(ControlMessage::Kind::kHello)), 0);
  std::string bytes = received(relay.far.get());
  std::string newer = bytes;
  newer[4] = 99;  // the version stands behind the magic number
  CHECK_EQ(errorOfBytes(newer), EPROTONOSUPPORT);
  std::string boasting = bytes;
  boasting[12] = 1;  // a socket that does not come along
  CHECK_EQ(errorOfBytes(boasting), EPROTO);
  CHECK_EQ(sendMessage(relay.near.get(), socketsOf(1, "lost")), 0);
  CHECK_EQ(errorOfBytes(received(relay.far.get())), EPROTO);  // a whole body, and its socket has not come along
  std::string endless = bytes;
  endless[11] = 127;  // a body of 2 GB
  CHECK_EQ(errorOfBytes(endless), EPROTO);
}

TEST("fd passing: the user of the peer is known") {
  const Pair pair = unixPair();
  CHECK_EQ(must(sock::peerUser(pair.near.get())), uint32_t{::geteuid()});
}

TEST("adopted group: takes what listens, and says why not otherwise") {
  size_t culprit = 99;
  const Fd bound = must(sock::bindStream(loopback(), {}));
  const Pair pipe = unixPair(SOCK_DGRAM);
  const Fd a = listening(), b = listening();
  CHECK_EQ(adoptError({}, &culprit), EINVAL);
  CHECK_EQ(adoptError({bound.get()}, &culprit), EINVAL);
  CHECK_EQ(adoptError({pipe.near.get()}, &culprit), EPROTOTYPE);
  CHECK_EQ(adoptError({9999}, &culprit), EBADF);
  CHECK_EQ(adoptError({a.get(), b.get()}, &culprit), EADDRNOTAVAIL);
  CHECK_EQ(culprit, size_t{1});
  // Nothing has been closed on the way.
  CHECK(sock::checkListening(a.get()).ok());
  CHECK(sock::checkListening(b.get()).ok());
}

TEST("shared group: the copies are the same sockets, also of members that a reactor has, and not of those that closed") {
  auto group = must(ListenerGroup::open(loopback(), {.members = 3}));
  Fd first = group->take(0);
  Fd second = group->take(1);
  const uint64_t inode = inodeOf(first.get());
  group->giveBack(std::move(second));
  const ListenerShare share = must(group->share());
  CHECK_EQ(share.sockets.size(), size_t{2});
  CHECK_EQ(inodeOf(share.sockets[0].get()), inode);
  CHECK(share.guard.valid());
  CHECK(share.path.empty());
}

TEST("shared group: the guard stays with the successor, and nobody else gets the port") {
  auto old = must(ListenerGroup::open(loopback(), {.members = 1}));
  const Address address = old->address();
  ListenerShare share = must(old->share());
  size_t culprit = 0;
  auto next = must(ListenerGroup::adopt({share.sockets[0].release()}, {}, std::move(share.guard), share.path, false, &culprit));
  old.reset();
  CHECK_EQ(ListenerGroup::open(address, {}).error, EADDRINUSE);
  const Fd client = connected(address);
  const Fd listener = next->take(0);
  const Fd server = accepted(listener.get());
}

TEST("shared group: a Unix path is unlinked by its last owner alone") {
  Folder folder;
  const std::string path = folder.file("socket");
  auto old = must(ListenerGroup::open(must(Address::unixPath(path)), {.mode = 0600}));
  struct stat status;
  CHECK_EQ(::stat(path.c_str(), &status), 0);
  CHECK_EQ(status.st_mode & 0777, mode_t{0600});
  ListenerShare share = must(old->share());
  CHECK_EQ(share.path, path);
  size_t culprit = 0;
  auto next = must(ListenerGroup::adopt({share.sockets[0].release()}, {}, Fd(), share.path, false, &culprit));
  old->setUnlinks(false);
  old.reset();
  CHECK(exists(path));
  next->setUnlinks(true);
  next.reset();
  CHECK(!exists(path));
}

TEST("borrowed group: nothing outlives it") {
  const Fd theirs = listening();
  size_t culprit = 0;
  auto group = must(ListenerGroup::adopt({must(sock::duplicate(theirs.get())).release()}, {}, Fd(), "", true, &culprit));
  CHECK(group->isBorrowed());
  CHECK(group->isFixed());
  group.reset();
  const Fd client = connected(must(sock::localAddress(theirs.get())));
  const Fd server = accepted(theirs.get());
}
