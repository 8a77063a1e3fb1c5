// The doors of this room to each other.
#pragma once

#include <napi.h>

#include <memory>

#include "reactor/registry.h"

namespace mr {

// The runtime whose number is the first argument; null after throwing ERR_MR_CLOSED.
std::shared_ptr<Runtime> runtimeOf(const Napi::CallbackInfo& info);

// When the thread ends that alone could close it: a standalone reactor or pool.
void removeOwnRuntime(uint32_t id);

void exportRuntime(Napi::Env env, Napi::Object exports);
void exportReactor(Napi::Env env, Napi::Object exports);
void exportWorker(Napi::Env env, Napi::Object exports);
void exportPort(Napi::Env env, Napi::Object exports);
void exportControl(Napi::Env env, Napi::Object exports);
void exportWireTables(Napi::Env env, Napi::Object exports);

}  // namespace mr
