#include "net/fd_passing.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "net/socket.h"

namespace mr {

namespace {

// Both processes run on the same machine: the order of bytes is the machine's.
struct Header {
  uint32_t magic;
  uint16_t version;
  uint16_t kind;
  uint32_t bodyBytes;
  uint32_t sockets;
};

constexpr uint32_t kMagic = 0x5248'524d;           // "MRHR"
constexpr size_t kMaxText = 4096;                  // of a key or a path
constexpr size_t kMaxBodyBytes = size_t{1} << 20;  // more is no message of ours
constexpr size_t kReadBytes = 64 << 10;            // one receive

void putText(std::vector<uint8_t>* out, const std::string& text) {
  const auto size = static_cast<uint16_t>(text.size());
  const auto* raw = reinterpret_cast<const uint8_t*>(&size);
  out->insert(out->end(), raw, raw + sizeof(size));
  out->insert(out->end(), text.begin(), text.end());
}

// The rest of a body; false from the first missing field on.
class Body {
 public:
  explicit Body(std::span<const uint8_t> bytes) : rest_(bytes) {}
  bool take(void* out, size_t size) {
    if (rest_.size() < size) return false;
    std::memcpy(out, rest_.data(), size);
    rest_ = rest_.subspan(size);
    return true;
  }
  bool takeText(std::string* out) {
    uint16_t size = 0;
    if (!take(&size, sizeof(size)) || size > kMaxText || rest_.size() < size) return false;
    out->assign(rest_.begin(), rest_.begin() + size);
    rest_ = rest_.subspan(size);
    return true;
  }
  bool empty() const { return rest_.empty(); }

 private:
  std::span<const uint8_t> rest_;
};

}  // namespace

int sendMessage(int fd, const ControlMessage& message) {
  if (message.sockets.size() > kMaxSocketsOfMessage) return EINVAL;
  std::vector<uint8_t> bytes(sizeof(Header));
  std::vector<int> descriptors;
  for (const PassedSocket& socket : message.sockets) {
    if (socket.key.size() > kMaxText || socket.path.size() > kMaxText) return ENAMETOOLONG;
    bytes.push_back(static_cast<uint8_t>(socket.role));
    putText(&bytes, socket.key);
    putText(&bytes, socket.path);
    descriptors.push_back(socket.fd.get());
  }
  const Header header{kMagic, kControlVersion, static_cast<uint16_t>(message.kind),
                      static_cast<uint32_t>(bytes.size() - sizeof(Header)), static_cast<uint32_t>(descriptors.size())};
  std::memcpy(bytes.data(), &header, sizeof(header));
  const Result<size_t> sent = sock::sendWithDescriptors(fd, bytes, descriptors);
  if (!sent.ok()) return sent.error;
  return sent.value == bytes.size() ? 0 : EAGAIN;
}

Result<std::optional<ControlMessage>> MessageReader::next(int fd) {
  for (;;) {
    Read whole = cut();
    if (!whole.ok() || whole.value) return whole;
    const size_t before = bytes_.size();
    bytes_.resize(before + kReadBytes);
    const Result<size_t> received = sock::receiveWithDescriptors(fd, std::span<uint8_t>(bytes_).subspan(before), &descriptors_);
    bytes_.resize(before + (received.ok() ? received.value : 0));
    if (!received.ok()) return received.error == EAGAIN ? Read::success(std::nullopt) : Read::failure(received.error);
    if (received.value == 0) return Read::failure(ENOTCONN);
  }
}

MessageReader::Read MessageReader::cut() {
  Header header;
  if (bytes_.size() < sizeof(header)) return Read::success(std::nullopt);
  std::memcpy(&header, bytes_.data(), sizeof(header));
  if (header.magic != kMagic) return Read::failure(EPROTO);
  if (header.version != kControlVersion) return Read::failure(EPROTONOSUPPORT);
  if (header.bodyBytes > kMaxBodyBytes || header.sockets > kMaxSocketsOfMessage) return Read::failure(EPROTO);
  if (bytes_.size() < sizeof(header) + header.bodyBytes) return Read::success(std::nullopt);
  // Descriptors come with the first byte of their message, so they are here as soon as the message is.
  if (descriptors_.size() < header.sockets) return Read::failure(EPROTO);
  ControlMessage message;
  message.kind = static_cast<ControlMessage::Kind>(header.kind);
  Body body(std::span<const uint8_t>(bytes_).subspan(sizeof(header), header.bodyBytes));
  for (uint32_t i = 0; i < header.sockets; ++i) {
    PassedSocket socket;
    if (!body.take(&socket.role, sizeof(socket.role)) || !body.takeText(&socket.key) || !body.takeText(&socket.path)) {
      return Read::failure(EPROTO);
    }
    socket.fd = std::move(descriptors_[i]);
    message.sockets.push_back(std::move(socket));
  }
  if (!body.empty()) return Read::failure(EPROTO);
  descriptors_.erase(descriptors_.begin(), descriptors_.begin() + header.sockets);
  bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<ptrdiff_t>(sizeof(header) + header.bodyBytes));
  return Read::success(std::move(message));
}

}  // namespace mr
