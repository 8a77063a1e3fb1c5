// The numbers of framings: equal ones are one, and an unused one gives its number away.
#include <set>

#include "harness.h"
#include "reactor/framings.h"

using namespace mr;

namespace {

FramingConfig fixed(uint64_t bytes) {
  FramingConfig framing;
  framing.kind = FramingKind::kFixed;
  framing.fixedBytes = bytes;
  return framing;
}

}  // namespace

TEST("framings: equal ones are one, but for those of listeners") {
  Framings framings;
  const auto nobody = [](Framings::Used&) {};
  const uint16_t own = framings.addOwn(fixed(1)), other = framings.addOwn(fixed(1));
  const uint16_t shared = framings.add(fixed(1), 0, nobody);
  CHECK_EQ(std::set({own, other, shared}).size(), 3u);
  CHECK_EQ(framings.add(fixed(1), 0, nobody), shared);
  framings.change(own, fixed(2));
  CHECK_EQ(framings[own].fixedBytes, 2u);
  CHECK_EQ(framings[other].fixedBytes, 1u);
  CHECK_EQ(framings[shared].fixedBytes, 1u);
}

TEST("framings: one after the other without end, beside those that are in use") {
  Framings framings;
  const uint16_t own = framings.addOwn(fixed(7));
  const uint16_t kept = framings.add(fixed(8), 0, [](Framings::Used&) {});
  uint64_t asked = 0;
  for (uint64_t bytes = 100; bytes < 300'100; ++bytes) {
    const uint16_t number = framings.add(fixed(bytes), 0, [&](Framings::Used& used) {
      ++asked;
      used.mark(kept);
    });
    CHECK(number != Framings::kNone && number != kept && number != own);
    CHECK_EQ(framings[number].fixedBytes, bytes);
  }
  CHECK_EQ(framings[own].fixedBytes, 7u);
  CHECK_EQ(framings[kept].fixedBytes, 8u);
  CHECK(asked < 300);
}

TEST("framings: when all are in use there is none, until one is not") {
  Framings framings;
  uint32_t used = 0;
  std::set<uint16_t> left;
  const auto add = [&](uint64_t bytes) {
    return framings.add(fixed(bytes), 0, [&](Framings::Used& marks) {
      for (uint32_t number = 0; number < used; ++number) {
        if (!left.contains(static_cast<uint16_t>(number))) marks.mark(static_cast<uint16_t>(number));
      }
    });
  };
  while (add(100 + used) != Framings::kNone) ++used;
  CHECK_EQ(used, Framings::kNone - Framings::kOwn);
  CHECK_EQ(add(1), Framings::kNone);
  CHECK_EQ(add(100), 0u);
  left = {17};
  CHECK_EQ(add(1), 17u);
  left = {};
  CHECK_EQ(add(2), Framings::kNone);
  // A listener finds its number also then.
  CHECK_EQ(framings.addOwn(fixed(3)), used);
}
