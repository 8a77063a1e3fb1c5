// What hooks leave in the write box, as JS would: rows and bytes, without a call.
#include <cstring>

#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

void put(WriteBox& box, const EventRow& row, std::string_view text) {
  size_t used = 0;
  for (uint32_t i = 0; i < box.count; ++i) used += box.rows[i].length;
  std::memcpy(box.bytes.data() + used, text.data(), text.size());
  box.rows[box.count++] = {row.slot, row.generation, static_cast<uint32_t>(text.size())};
}

// A hook that answers each frame with itself, through the box.
void answerThroughBox(Reactors& server) {
  server.js().hook = [&server](const EventRow& row, std::string_view frame) {
    if (row.event == Event::kFrame) put(*server.reactor().writeBox(), row, std::string(frame) + "\n");
  };
}

}  // namespace

TEST("writes left in the box leave with the turn, each on its connection, in order") {
  Reactors server(lines(false));
  answerThroughBox(server);
  const Fd a = server.connect(), b = server.connect();
  say(a, "a1\na2\n");
  say(b, "b1\n");
  CHECK_EQ(server.read(a, 6), "a1\na2\n");
  CHECK_EQ(server.read(b, 3), "b1\n");
  CHECK_EQ(server.reactor().writeBox()->count, 0u);
}

TEST("writes left in the box outlive a thread that dies later in the same batch") {
  Reactors server(lines(false));
  answerThroughBox(server);
  const Fd a = server.connect(), b = server.connect();
  say(a, "a1\n");
  say(b, "b1\n");
  server.js().diesIn = "1 frame b1";
  server.until([&] { return server.js().dead; });
  server.replaceDead();
  CHECK_EQ(server.read(a, 3), "a1\n");
  CHECK_EQ(server.read(b, 1), "");
  CHECK_EQ(server.closed(CloseReason::kThreadLost), 1u);
}

TEST("what is written by a call comes after what lay in the box") {
  Reactors server(lines(false));
  const Fd a = server.connect();
  server.js().hook = [&server](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame) return;
    put(*server.reactor().writeBox(), row, "boxed " + std::string(frame) + ", ");
    server.reactor().emptyWriteBox();
    (void)server.reactor().write(row.slot, row.generation, spanOf("called\n"), Reactor::Place::kInOrder);
  };
  say(a, "1\n2\n");
  CHECK_EQ(server.read(a, 32), "boxed 1, called\nboxed 2, called\n");
}

TEST("a write left in the box for a connection that closed in the same batch goes nowhere, and the rest arrives") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect();
  server.js().hook = [&server](const EventRow& row, std::string_view) {
    if (row.event != Event::kFrame) return;
    put(*server.reactor().writeBox(), row, "x\n");
    if (row.slot == 0) (void)server.reactor().destroy(row.slot, row.generation, CloseReason::kDestroyed);
  };
  say(a, "a\n");
  say(b, "b\n");
  CHECK_EQ(server.read(a, 1), "");
  CHECK_EQ(server.read(b, 2), "x\n");
}

TEST("rows that claim more than the box holds are cut, not followed") {
  Reactors server(lines(false));
  const Fd a = server.connect();
  server.js().hook = [&server](const EventRow& row, std::string_view) {
    if (row.event != Event::kFrame) return;
    WriteBox& box = *server.reactor().writeBox();
    box.rows[0] = {row.slot, row.generation, UINT32_MAX};
    box.rows[1] = {row.slot, row.generation, 1};
    box.count = 2;
  };
  say(a, "a\n");
  CHECK_EQ(server.read(a, WriteBox::kBytes).size(), static_cast<size_t>(WriteBox::kBytes));
}
