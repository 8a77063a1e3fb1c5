#include "net/out_buffer.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "base/fatal.h"
#include "base/keeping.h"
#include "net/socket.h"

namespace mr {

namespace {

constexpr size_t kFirstBytes = 512;          // of the first block: most slow connections wait with one small reply
constexpr size_t kMiddleBytes = 2 << 10;     // of the second one, or a first one for more than that
constexpr size_t kBlockBytes = 16 << 10;     // of the following ones, so that small replies share a block
constexpr size_t kMaxBlockBytes = 64 << 10;  // a large reply is cut, so that its memory goes back while it drains
constexpr int kMaxParts = 64;                // blocks in one send: more bytes than a socket usually takes

// Below it, a copy costs less than a block and a part of its own.
constexpr size_t kShareFrom = 1 << 10;

struct Block {
  Block* next;
  size_t size;
  size_t capacity;
  SharedBytesRef shared;  // instead of bytes behind this
  uint8_t* own() { return reinterpret_cast<uint8_t*>(this + 1); }
  const uint8_t* data() { return shared ? shared->data() : own(); }
  size_t room() const { return capacity - size; }
};

// How many of each are kept.
constexpr uint32_t kSmall = kKeepsMemory ? 256 : 0, kMiddle = kKeepsMemory ? 64 : 0, kLarge = kKeepsMemory ? 8 : 0, kStates = 256;

// Most replies lie here for the rest of a turn only: a few blocks of the usual sizes are kept for the next turn of this thread.
class BlockCache {
 public:
  ~BlockCache() {
    for (Shelf& shelf : shelves_) {
      while (shelf.first) std::free(std::exchange(shelf.first, shelf.first->next));
      shelf.room = 0;  // blocks that outlive this thread's cache go to the allocator
    }
  }

  Block* take(size_t capacity) {
    for (Shelf& shelf : shelves_) {
      if (capacity > shelf.capacity) continue;
      if (!shelf.first) return make(shelf.capacity);
      Block* block = std::exchange(shelf.first, shelf.first->next);
      ++shelf.room;
      block->next = nullptr;
      block->size = 0;
      return block;
    }
    return make(capacity);
  }

  void give(Block* block) {
    if (block->shared) {
      block->~Block();
      return std::free(block);
    }
    for (Shelf& shelf : shelves_) {
      if (block->capacity != shelf.capacity || shelf.room == 0) continue;
      --shelf.room;
      block->next = std::exchange(shelf.first, block);
      return;
    }
    std::free(block);
  }

  static Block* make(size_t capacity) {
    void* memory = std::malloc(sizeof(Block) + capacity);
    if (!memory) throw std::bad_alloc();
    return new (memory) Block{nullptr, 0, capacity, {}};
  }

 private:
  struct Shelf {
    size_t capacity;
    uint32_t room;
    Block* first = nullptr;
  };

  Shelf shelves_[3] = {{kFirstBytes, kSmall}, {kMiddleBytes, kMiddle}, {kBlockBytes, kLarge}};
};

thread_local BlockCache blocks;

}  // namespace

struct OutBuffer::State {
  // Most end with the turn, as their blocks do.
  class Cache {
   public:
    ~Cache() {
      while (count_ != 0) delete kept_[--count_];
      most_ = 0;
    }
    State* take() { return count_ == 0 ? new State() : kept_[--count_]; }
    // An empty one, as new.
    void give(State* state) {
      if (count_ >= most_) return delete state;
      kept_[count_++] = state;
    }

   private:
    uint32_t count_ = 0, most_ = kKeepsMemory ? kStates : 0;
    State* kept_[kStates];
  };
  static thread_local Cache cache;

  Block* first = nullptr;
  Block* last = nullptr;
  size_t offset = 0;  // of the first block's bytes that have left
  size_t size = 0;
  size_t shared = 0;  // bytes of whole blocks that others hold, too

  void append(const uint8_t* data, size_t length) {
    if (!last) addBlock(length);
    if (length <= last->room()) return put(data, length);
    while (length > 0) {
      if (last->room() == 0) addBlock(length);
      const size_t fits = std::min(length, last->room());
      put(data, fits);
      data += fits;
      length -= fits;
    }
  }

  void put(const uint8_t* data, size_t length) {
    std::memcpy(last->own() + last->size, data, length);
    last->size += length;
    size += length;
  }

  void addBlock(size_t length) {
    const size_t least = !last ? kFirstBytes : last->capacity == kFirstBytes ? kMiddleBytes : kBlockBytes;
    add(blocks.take(std::clamp(length, least, kMaxBlockBytes)));
  }

  void share(const SharedBytesRef& bytes) {
    Block* block = BlockCache::make(0);
    block->shared = bytes;
    block->size = block->capacity = bytes.size();
    add(block);
    size += bytes.size();
    shared += bytes.size();
  }

  void add(Block* block) {
    (last ? last->next : first) = block;
    last = block;
  }

  void consume(size_t sent) {
    size -= sent;
    offset += sent;
    while (first && offset >= first->size) {
      offset -= first->size;
      Block* done = std::exchange(first, first->next);
      if (done->shared) shared -= done->size;
      blocks.give(done);
    }
    if (!first) last = nullptr;
  }

  // All of it.
  void drop() {
    while (first) blocks.give(std::exchange(first, first->next));
    last = nullptr;
    offset = size = shared = 0;
  }

  int parts(iovec* out, size_t most) {
    int count = 0;
    size_t skip = offset;
    for (Block* block = first; block && count < kMaxParts && most != 0; block = block->next) {
      const size_t length = std::min(block->size - skip, most);
      out[count++] = {const_cast<uint8_t*>(block->data()) + skip, length};  // sending only reads
      most -= length;
      skip = 0;
    }
    return count;
  }

  Result<size_t> send(int fd, size_t most, size_t* offered) {
    if (first == last) {  // as most replies lie
      *offered = std::min(size, most);
      return sock::send(fd, first->data() + offset, *offered);
    }
    iovec parts[kMaxParts];
    const int count = this->parts(parts, most);
    for (int i = 0; i < count; ++i) *offered += parts[i].iov_len;
    return sock::sendVector(fd, parts, count);
  }
};

thread_local OutBuffer::State::Cache OutBuffer::State::cache;

OutBuffer::OutBuffer(OutBuffer&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}

OutBuffer& OutBuffer::operator=(OutBuffer&& other) noexcept {
  if (this != &other) {
    clear();
    state_ = std::exchange(other.state_, nullptr);
  }
  return *this;
}

OutBuffer::~OutBuffer() { clear(); }

void OutBuffer::clear() {
  if (!state_) return;
  state_->drop();
  State::cache.give(std::exchange(state_, nullptr));
}

void OutBuffer::append(const void* data, size_t size) {
  if (size == 0) return;
  if (!state_) state_ = State::cache.take();
  state_->append(static_cast<const uint8_t*>(data), size);
}

void OutBuffer::append(const SharedBytesRef& bytes, size_t from) {
  MR_CHECK(from == 0 || (empty() && from < bytes.size()), "the middle of a publication");
  const auto rest = bytes.span().subspan(from);
  if (rest.size() < kShareFrom) return append(rest.data(), rest.size());
  if (!state_) state_ = State::cache.take();
  state_->share(bytes);
  state_->consume(from);
}

size_t OutBuffer::take(uint8_t* to, size_t room) {
  size_t taken = 0;
  while (size() != 0 && taken < room) {
    Block* first = state_->first;
    const size_t step = std::min(first->size - state_->offset, room - taken);
    std::memcpy(to + taken, first->data() + state_->offset, step);
    taken += step;
    state_->consume(step);
  }
  if (size() == 0) clear();
  return taken;
}

size_t OutBuffer::held() const { return state_->size; }
size_t OutBuffer::sharedSize() const {
  if (!state_ || !state_->first) return 0;
  return state_->shared - (state_->first->shared ? state_->offset : 0);
}

Result<size_t> OutBuffer::flush(int fd, size_t most) {
  size_t total = 0;
  while (size() != 0 && total < most) {
    size_t offered = 0;
    const Result<size_t> sent = state_->send(fd, most - total, &offered);
    if (!sent.ok() && sent.error == EAGAIN) break;
    if (!sent.ok()) return sent;
    total += sent.value;
    if (sent.value == state_->size) {
      clear();
      break;
    }
    state_->consume(sent.value);
    // A short send means a full socket: asking again would only cost a syscall.
    if (sent.value < offered) break;
  }
  return Result<size_t>::success(total);
}

}  // namespace mr
