// The settings of the connections that a reactor has made itself: the same as of a listener's, by number. Profiles of
// equal content are one, and a number is given out again when it is unused. No socket.
#pragma once

#include <cstdint>
#include <vector>

#include "reactor/listener.h"

namespace mr {

class ClientProfiles {
 public:
  static constexpr uint16_t kNone = UINT16_MAX;

  // `framing`: the number of its framing in the reactor. One more user; kNone when there are too many different ones.
  uint16_t use(const ListenerConfig& config, uint16_t framing) {
    uint16_t free = kNone;
    for (uint16_t i = 0; i < profiles_.size(); ++i) {
      Profile& profile = profiles_[i];
      if (profile.users == 0) {
        free = i;
      } else if (profile.framing == framing && profile.config == config) {
        ++profile.users;
        return i;
      }
    }
    if (free == kNone) {
      if (profiles_.size() == kMost) return kNone;
      free = static_cast<uint16_t>(profiles_.size());
      profiles_.emplace_back();
    }
    profiles_[free] = {config, framing, 1};
    return free;
  }
  void release(uint16_t number) { --profiles_[number].users; }

  const ListenerConfig& config(uint16_t number) const { return profiles_[number].config; }
  uint16_t framing(uint16_t number) const { return profiles_[number].framing; }
  template <typename Look>
  void eachFraming(Look&& look) const {
    for (const Profile& profile : profiles_) {
      if (profile.users != 0) look(profile.framing);
    }
  }

 private:
  static constexpr size_t kMost = 1024;

  struct Profile {
    ListenerConfig config;
    uint16_t framing = 0;
    uint32_t users = 0;
  };
  std::vector<Profile> profiles_;
};

}  // namespace mr
