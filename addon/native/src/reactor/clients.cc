#include "reactor/clients.h"

#include <cerrno>

#include "reactor/framings.h"

namespace mr {

Result<uint32_t> Clients::connect(const Address& address, const Address* local, const ListenerConfig& config, uint16_t framing,
                                  uint64_t nowMs, uint32_t timeoutMs) {
  const uint16_t profile = framing != Framings::kNone ? profiles_.use(config, framing) : ClientProfiles::kNone;
  Result<uint32_t> begun = profile == ClientProfiles::kNone ? Result<uint32_t>::failure(ENOBUFS)
                                                            : connector_.begin(address, local, profile, nowMs, timeoutMs);
  if (begun.ok()) {
    counters_.connecting.add(1);
    return begun;
  }
  counters_.connectFailures.add(1);
  if (profile != ClientProfiles::kNone) profiles_.release(profile);
  exchange_.admission().leave();
  return begun;
}

bool Clients::cancel(uint32_t request) {
  Connector::Ended ended;
  if (!connector_.cancel(request, &ended)) return false;
  counters_.connecting.sub(1);
  profiles_.release(ended.attempt.profile);
  exchange_.admission().leave();
  return true;
}

void Clients::failed(const Connector::Ended& ended) {
  counters_.connectFailures.add(1);
  profiles_.release(ended.attempt.profile);
  exchange_.admission().leave();
}

uint16_t Clients::change(uint16_t profile, const ListenerConfig& config) {
  const uint16_t next = profiles_.use(config, profiles_.framing(profile));
  if (next != ClientProfiles::kNone) profiles_.release(profile);
  return next;
}

}  // namespace mr
