// The control socket as JS sees it: the path where a server waits for its successor, and the conversation of the two. Its
// order is decided in packages/core.
#include <uv.h>

#include <algorithm>
#include <memory>

#include "bindings/arguments.h"
#include "bindings/bindings.h"
#include "bindings/convert.h"
#include "bindings/loop_driver.h"
#include "net/fd_passing.h"
#include "net/socket.h"

namespace mr {

namespace {

class ControlSocket final : public Napi::ObjectWrap<ControlSocket> {
 public:
  static Napi::Function define(Napi::Env env);
  explicit ControlSocket(const Napi::CallbackInfo& info);
  ~ControlSocket() override { stop(); }

 private:
  MR_CHECKED_METHODS(ControlSocket)
  void onReady();
  void stop();

  Napi::Value accept(const Napi::CallbackInfo& info);
  Napi::Value peerUser(const Napi::CallbackInfo& info);
  Napi::Value send(const Napi::CallbackInfo& info);
  Napi::Value sendListener(const Napi::CallbackInfo& info);
  Napi::Value receive(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);
  Napi::Value setReferenced(const Napi::CallbackInfo& info);

  Fd fd_;
  MessageReader reader_;
  std::unique_ptr<LoopDriver> driver_;
  Napi::FunctionReference onReadable_;
  napi_async_context context_ = nullptr;
  bool inCallback_ = false;
  bool closeAfterCallback_ = false;
  bool dying_ = false;
};

Napi::Value answer(Napi::Env env, int error) {
  return error == 0 ? env.Undefined() : Napi::String::New(env, uv_err_name(-error)).As<Napi::Value>();
}

// new ControlSocket(fd, onReadable): owns the descriptor.
ControlSocket::ControlSocket(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ControlSocket>(info) {
  if (!checkArguments<kDescriptor, kFunction>(info, "ControlSocket")) return;
  // Any other descriptor stays its owner's.
  if (!sock::isUnixSocket(info[0].As<Napi::Number>().Int32Value())) {
    throwCoded(info.Env(), "ERR_MR_OPTION_RANGE", "native ControlSocket(): the descriptor must be one of a Unix socket");
    return;
  }
  fd_.reset(info[0].As<Napi::Number>().Int32Value());
  onReadable_ = Napi::Persistent(info[1].As<Napi::Function>());
  napi_async_init(info.Env(), nullptr, Napi::String::New(info.Env(), "multireactor:control"), &context_);
  driver_ = std::make_unique<LoopDriver>(
      info.Env(), fd_.get(), [this] { onReady(); },
      [this] {
        dying_ = true;
        stop();
      });
  if (!driver_->open()) {
    stop();
    throwCoded(info.Env(), "ERR_MR_SYSTEM", "the event loop does not take the descriptor");
    return;
  }
  Ref();  // while it is open, the loop holds it
}

void ControlSocket::stop() {
  driver_.reset();
  fd_.reset();
  if (context_) napi_async_destroy(Env(), context_);  // works in a thread that is ending, too
  context_ = nullptr;
}

void ControlSocket::onReady() {
  if (!fd_.valid() || dying_) return;
  Napi::HandleScope scope(Env());
  inCallback_ = true;
  const bool alive = callJs(Env(), onReadable_, context_, {});
  inCallback_ = false;
  if (!alive || !closeAfterCallback_) return;
  stop();
  Unref();
}

// accept() -> a descriptor, or -1 when no process waits
Napi::Value ControlSocket::accept(const Napi::CallbackInfo& info) {
  Result<sock::Accepted> accepted = sock::accept(fd_.get());
  return Napi::Number::New(info.Env(), accepted.ok() ? accepted.value.fd.release() : -1);
}

// peerUser() -> its user id, or -1
Napi::Value ControlSocket::peerUser(const Napi::CallbackInfo& info) {
  const Result<uint32_t> user = sock::peerUser(fd_.get());
  return Napi::Number::New(info.Env(), user.ok() ? static_cast<double>(user.value) : -1);
}

// send(kind) -> the error's name
Napi::Value ControlSocket::send(const Napi::CallbackInfo& info) {
  ControlMessage message;
  message.kind = static_cast<ControlMessage::Kind>(u32(info, 0));
  return answer(info.Env(), sendMessage(fd_.get(), message));
}

// sendListener(runtime, group, key) -> the error's name
Napi::Value ControlSocket::sendListener(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  auto group = runtime ? runtime->group(u32(info, 1)) : nullptr;
  if (!group) return answer(info.Env(), EBADF);
  Result<ListenerShare> share = group->share();
  if (!share.ok()) return answer(info.Env(), share.error);
  const std::string key = info[2].As<Napi::String>().Utf8Value();
  std::vector<PassedSocket> all;
  for (Fd& fd : share.value.sockets) {
    all.push_back({PassedSocket::Role::kListening, key, share.value.path, std::move(fd)});
  }
  if (share.value.guard.valid()) all.push_back({PassedSocket::Role::kGuard, key, "", std::move(share.value.guard)});
  for (size_t from = 0; from < all.size(); from += kMaxSocketsOfMessage) {
    ControlMessage message;
    message.kind = ControlMessage::Kind::kSockets;
    const size_t to = std::min(all.size(), from + kMaxSocketsOfMessage);
    for (size_t i = from; i < to; ++i) message.sockets.push_back(std::move(all[i]));
    if (const int error = sendMessage(fd_.get(), message)) return answer(info.Env(), error);
  }
  return info.Env().Undefined();
}

// receive() -> nothing yet: undefined; the error's name; or { kind, sockets: [{ role, key, path, fd, address, port }] }, whose
// descriptors belong to the caller
Napi::Value ControlSocket::receive(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!fd_.valid()) return env.Undefined();
  auto read = reader_.next(fd_.get());
  if (!read.ok()) return answer(env, read.error);
  if (!read.value) return env.Undefined();
  Napi::Object message = Napi::Object::New(env);
  message.Set("kind", Napi::Number::New(env, static_cast<uint32_t>(read.value->kind)));
  Napi::Array sockets = Napi::Array::New(env);
  for (PassedSocket& socket : read.value->sockets) {
    const Result<Address> local = sock::localAddress(socket.fd.get());
    Napi::Object one = Napi::Object::New(env);
    one.Set("role", Napi::Number::New(env, static_cast<uint32_t>(socket.role)));
    one.Set("key", Napi::String::New(env, socket.key));
    one.Set("path", Napi::String::New(env, socket.path));
    one.Set("address", Napi::String::New(env, local.ok() ? local.value.host() : ""));
    one.Set("port", Napi::Number::New(env, local.ok() ? local.value.port() : 0));
    one.Set("fd", Napi::Number::New(env, socket.fd.release()));
    sockets.Set(sockets.Length(), one);
  }
  message.Set("sockets", sockets);
  return message;
}

Napi::Value ControlSocket::close(const Napi::CallbackInfo& info) {
  if (!fd_.valid() || closeAfterCallback_) return info.Env().Undefined();
  closeAfterCallback_ = true;
  if (inCallback_) return info.Env().Undefined();
  stop();
  Unref();
  return info.Env().Undefined();
}

Napi::Value ControlSocket::setReferenced(const Napi::CallbackInfo& info) {
  if (driver_) driver_->setReferenced(info[0].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

Napi::Function ControlSocket::define(Napi::Env env) {
  return DefineClass(
      env, "ControlSocket",
      {method<&ControlSocket::accept>("accept"), method<&ControlSocket::peerUser>("peerUser"),
       method<&ControlSocket::send, numberFrom(static_cast<int64_t>(ControlMessage::Kind::kHello),
                                               static_cast<int64_t>(ControlMessage::Kind::kReleased))>("send"),
       method<&ControlSocket::sendListener, kU32, kU32, kText>("sendListener"), method<&ControlSocket::receive>("receive"),
       method<&ControlSocket::close>("close"), method<&ControlSocket::setReferenced, kBool>("setReferenced")});
}

// connectControl(path) -> a descriptor, or the error's name
Napi::Value connectControl(const Napi::CallbackInfo& info) {
  const Result<Address> address = Address::unixPath(info[0].As<Napi::String>().Utf8Value());
  if (!address.ok()) return answer(info.Env(), address.error);
  Result<Fd> connected = sock::connect(address.value);
  if (!connected.ok()) return answer(info.Env(), connected.error);
  return Napi::Number::New(info.Env(), connected.value.release());
}

// takeListener(runtime, group) -> the descriptor of its only socket
Napi::Value takeListener(const Napi::CallbackInfo& info) {
  auto runtime = runtimeOf(info);
  auto group = runtime ? runtime->group(u32(info, 1)) : nullptr;
  return Napi::Number::New(info.Env(), group && group->has(0) ? group->take(0).release() : -1);
}

}  // namespace

void exportControl(Napi::Env env, Napi::Object exports) {
  exports.Set("ControlSocket", ControlSocket::define(env));
  exportFunction<&connectControl, kText>(env, exports, "connectControl");
  exportFunction<&takeListener, kU32, kU32>(env, exports, "takeListener");
}

}  // namespace mr
