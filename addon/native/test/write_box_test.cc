// Writes of hooks in the write box, as JS leaves them: rows and bytes, without a call.
#include <cstring>

#include "reactors.h"

using namespace mr;
using namespace mr::test;

namespace {

void put(WriteBox& box, const EventRow& row, std::string_view text) {
  uint32_t used = 0;
  for (uint32_t i = 0; i < box.count; ++i) used += box.rows[i].length;
  std::memcpy(box.bytes.data() + used, text.data(), text.size());
  box.rows[box.count++] = {row.slot, row.generation, used, static_cast<uint32_t>(text.size())};
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
  // The bytes of its last hook leave too, and then it ends.
  CHECK_EQ(server.read(b, 4), "b1\n");
  CHECK_EQ(::shutdown(b.get(), SHUT_WR), 0);
  server.until([&] { return server.closed(CloseReason::kThreadLost) == 1; });
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

// Leaves a broken row behind the first of two good ones, each for a client of its own.
void leaveBroken(Reactors& server, const std::function<void(WriteBox&)>& breakIt) {
  const Fd a = server.connect(), b = server.connect(), c = server.connect();
  server.js().hook = [&server, &breakIt](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame) return;
    WriteBox& box = *server.reactor().writeBox();
    put(box, row, std::string(frame) + "\n");
    if (box.count == 3) breakIt(box);
  };
  say(a, "for a");
  say(b, "for bb");
  say(c, "for ccc");
  // One batch: a frame is whole with its last byte.
  for (const Fd* each : {&a, &b, &c}) say(*each, "\n");
  CHECK_EQ(server.read(a, 6), "for a\n");
  CHECK_EQ(server.read(b, 1), "");  // it closes without a byte
  CHECK_EQ(server.read(c, 1), "");
  CHECK_EQ(server.closed(CloseReason::kSystem), 2u);
  CHECK_EQ(server.open(), 1u);
}

TEST("write box: a corrupt row and those behind it reach nobody, and whom they name closes") {
  const std::function<void(WriteBox&)> broken[] = {
      [](WriteBox& box) { box.rows[1].length = UINT32_MAX; },
      [](WriteBox& box) { box.rows[1].offset = UINT32_MAX; },
      [](WriteBox& box) { box.rows[1].offset = 0; },  // the bytes of another connection
      [](WriteBox& box) { box.rows[1].offset = WriteBox::kBytes; },
      [](WriteBox& box) { box.rows[1].length = WriteBox::kBytes - box.rows[1].offset + 1; },
  };
  for (const auto& breakIt : broken) {
    Reactors server(lines(false));
    leaveBroken(server, breakIt);
  }
}

TEST("write box: a row that begins elsewhere than the one before it ended is corrupt") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect();
  server.js().hook = [&server](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame) return;
    WriteBox& box = *server.reactor().writeBox();
    put(box, row, std::string(frame) + "\n");
    if (box.count == 2) box.rows[1].offset = 0;
  };
  say(a, "alice\n");
  say(b, "bob\n");
  CHECK_EQ(server.read(a, 6), "alice\n");
  CHECK_EQ(server.read(b, 1), "");
  CHECK_EQ(server.closed(CloseReason::kSystem), 1u);
}

TEST("write box: a corrupt row behind others of its connection closes it, and what came before has left") {
  Reactors server(lines(false));
  const Fd a = server.connect();
  server.js().hook = [&server](const EventRow& row, std::string_view) {
    if (row.event != Event::kFrame) return;
    WriteBox& box = *server.reactor().writeBox();
    put(box, row, "whole\n");
    put(box, row, "broken\n");
    box.rows[1].length = UINT32_MAX;
  };
  say(a, "a\n");
  CHECK_EQ(server.read(a, 7), "whole\n");
  CHECK_EQ(server.closed(CloseReason::kSystem), 1u);
}

TEST("write box: no count, slot or generation that JS could write reaches beyond the box or another connection") {
  Reactors server(lines(false));
  const Fd a = server.connect(), b = server.connect();
  server.js().hook = [&server](const EventRow& row, std::string_view frame) {
    if (row.event != Event::kFrame) return;
    WriteBox& box = *server.reactor().writeBox();
    put(box, row, std::string(frame) + "\n");
    if (row.slot != 0) return;
    for (uint32_t i = box.count; i < WriteBox::kRows; ++i) box.rows[i] = {UINT32_MAX, 0, 7, UINT32_MAX};
    for (const auto& [slot, generation] : {std::pair{UINT32_MAX, 1u}, {63u, 0u}, {64u, row.generation}, {1u, row.generation}}) {
      box.rows[box.count] = {slot, generation, box.rows[box.count - 1].offset + box.rows[box.count - 1].length, 1};
      ++box.count;
    }
    box.count = UINT32_MAX;
  };
  say(a, "a\n");
  CHECK_EQ(server.read(a, 2), "a\n");
  say(b, "b\n");
  CHECK_EQ(server.read(b, 2), "b\n");
  CHECK_EQ(server.open(), 2u);
  CHECK_EQ(server.reactor().writeBox()->count, 0u);
}
