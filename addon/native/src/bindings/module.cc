// The addon's entry. One registry serves every environment of the process, so a second copy of the addon is refused: its
// reactors and queues would be invisible to the first.
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "bindings/bindings.h"
#include "bindings/convert.h"

namespace mr {

namespace {

std::string pathOfThisCopy(Napi::Env env) {
  const char* url = nullptr;
  return node_api_get_module_file_name(env, &url) == napi_ok ? url : "";
}

// The process's own environment is the one place that every copy sees, however it was linked.
bool isOnlyCopy(Napi::Env env) {
  constexpr const char* kName = "MULTIREACTOR_ADDON_LOADED";
  const std::string mine = std::to_string(getpid()) + ":" + pathOfThisCopy(env);
  const char* loaded = getenv(kName);
  const std::string other = loaded ? loaded : "";
  const bool sameProcess = other.rfind(std::to_string(getpid()) + ":", 0) == 0;
  if (sameProcess && other != mine) {
    throwCoded(env, "ERR_MR_ADDON_DUPLICATE",
               "two copies of @multireactor/addon are loaded in this process (" + other.substr(other.find(':') + 1) + " and " +
                   pathOfThisCopy(env) + "): they cannot see each other's reactors. Run `npm dedupe`.");
    return false;
  }
  setenv(kName, mine.c_str(), 1);
  return true;
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  if (!isOnlyCopy(env)) return exports;
  exportRuntime(env, exports);
  exportReactor(env, exports);
  exportWorker(env, exports);
  exportPort(env, exports);
  exportControl(env, exports);
  exportWireTables(env, exports);
  return exports;
}

}  // namespace

}  // namespace mr

static Napi::Object initAddon(Napi::Env env, Napi::Object exports) { return mr::init(env, exports); }

NODE_API_MODULE(multireactor, initAddon)
