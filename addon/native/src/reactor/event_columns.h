// The meaning of the words a to e of each event's row, by name, for everything outside of the reactor: TypeScript reads rows by
// these names, and a test compares the places.
#pragma once

#include <array>

#include "reactor/event_batch.h"

namespace mr {

struct EventColumns {
  Event event;
  const char* name;
  std::array<const char*, 5> values;
};

inline constexpr EventColumns kEventColumns[] = {
    {Event::kOpen, "open", {"listener"}},
    {Event::kFrame, "frame", {"slab", "offset", "length", "rawEnd", "info"}},
    {Event::kReceived, "received", {"slab", "offset", "length", "unread"}},
    {Event::kEnd, "end", {}},
    {Event::kDrain, "drain", {}},
    {Event::kTimeout, "timeout", {}},
    // reason: errno in the bits above the lowest eight
    {Event::kClose, "close", {"reason", "readLow", "readHigh", "writtenLow", "writtenHigh"}},
    {Event::kRunResult, "callResult", {"slab", "offset", "length", "run", "flags"}},
    {Event::kDrained, "drained", {}},
    {Event::kAcceptError, "acceptError", {"listener", "errno"}},
    // flags: RestoreFlag in the high half, the listener in the low one. Without bytes (length 0) slab and offset are the id's
    // halves
    {Event::kRestore, "restore", {"slab", "offset", "length", "flags"}},
    {Event::kHandover, "handover", {}},
    {Event::kMoved, "moved", {}},
    {Event::kQuiet, "quiet", {}},
    {Event::kParse, "parse", {"slab", "offset", "length", "sequence", "key"}},
    {Event::kCredit, "credit", {"stream", "amount", "gone"}},
    {Event::kGone, "gone", {"idLow", "idHigh"}},
    {Event::kOverrun, "overrun", {"key", "ns"}},
    {Event::kBalance, "balance", {"listener"}},
    {Event::kBadFrame, "badFrame", {"reason", "code", nullptr, "rawEnd"}},
    {Event::kShrink, "shrink", {}},
    {Event::kCipher, "cipher", {"slab", "offset", "length", "listener"}},
    {Event::kPlain, "plain", {"slab", "offset", "length"}},
    {Event::kConnected, "connected", {"request"}},
    {Event::kConnectFailed, "connectFailed", {"request", "errno"}},
    {Event::kCalled, "called", {"slab", "offset", "length", "number"}},
};

}  // namespace mr
