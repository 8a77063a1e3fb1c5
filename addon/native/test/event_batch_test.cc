// Rows, and the memory that they name.
#include "reactor/event_batch.h"

#include <memory>
#include <string>
#include <string_view>

#include "base/slab_pool.h"
#include "harness.h"
#include "reactor/event_columns.h"

using namespace mr;

namespace {

struct Sink final : EventSink {
  std::vector<std::unique_ptr<uint8_t[]>> slabs;
  bool hasMemory = true;
  std::vector<EventRow> delivered;

  Delivered deliver(const std::vector<EventRow>& rows) override {
    delivered = rows;
    return {true, rows.size(), false};
  }
  Slab newSlab(size_t atLeast) override {
    if (!hasMemory) return {};
    slabs.push_back(std::make_unique<uint8_t[]>(atLeast));
    return {slabs.back().get(), atLeast, static_cast<uint32_t>(slabs.size())};
  }
};

std::span<const uint8_t> bytesOf(std::string_view text) { return {reinterpret_cast<const uint8_t*>(text.data()), text.size()}; }

EventRow rowOf(Event event, uint32_t a = 0) { return {event, 0, 1, 2, a, 0, 0, 7, 8}; }

struct Fixture {
  Fixture() { batch.attach(&sink); }
  std::string textOf(const EventRow& row) const {
    return {reinterpret_cast<const char*>(sink.slabs.at(row.a - 1).get()) + row.b, row.c};
  }
  TurnBudget budget;
  Sink sink;
  EventBatch batch{budget};
};

}  // namespace

TEST("the oldest slab is that of the rows that name one, whatever `a` says in others") {
  CHECK_EQ(oldestSlab({}), UINT32_MAX);
  const std::vector<EventRow> others = {rowOf(Event::kOpen, 0), rowOf(Event::kClose, 1), rowOf(Event::kCredit, 2)};
  CHECK_EQ(oldestSlab(others), UINT32_MAX);
  for (const EventColumns& columns : kEventColumns) {
    const bool named = columns.values[0] && columns.values[0] == std::string_view("slab");
    CHECK_EQ(carriesSlab(columns.event), named);
    const Event event = columns.event;
    const std::vector<EventRow> rows = {rowOf(event, 9), rowOf(event, 5), rowOf(Event::kOpen, 1), rowOf(event, 7)};
    CHECK_EQ(oldestSlab(rows), named ? 5u : UINT32_MAX);
  }
}

TEST("bytes are copied behind those of the row before, aligned, and their row says where") {
  Fixture fixture;
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf("first"), false));
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf("second"), false));
  CHECK_EQ(fixture.batch.size(), size_t{2});
  const EventRow &first = fixture.batch.rows()[0], &second = fixture.batch.rows()[1];
  CHECK_EQ(fixture.textOf(first), "first");
  CHECK_EQ(fixture.textOf(second), "second");
  CHECK_EQ(second.a, first.a);
  CHECK_EQ(second.b, 8u);
  CHECK_EQ(second.d, 7u);
  CHECK_EQ(second.e, 8u);
}

TEST("bytes that were received into the slab stay where they are") {
  Fixture fixture;
  CHECK(fixture.batch.ensureRoom(EventBatch::kLeastRoom));
  const auto room = fixture.batch.room(100);
  CHECK_EQ(room.size(), size_t{100});
  std::copy_n("received", 8, room.begin());
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), room.subspan(2, 6), true));
  CHECK_EQ(fixture.textOf(fixture.batch.last()), "ceived");
  fixture.batch.use(8);
  CHECK_EQ(fixture.batch.offsetOf(fixture.batch.room(1).data()), 8u);
}

TEST("a mask is taken off, copied or in place, and the text is looked at meanwhile") {
  Fixture fixture;
  const uint32_t mask = 0x20202020;
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf("ABCDE"), false, &mask));
  CHECK_EQ(fixture.textOf(fixture.batch.last()), "abcde");
  CHECK(fixture.batch.wasAscii());
  const auto room = fixture.batch.room(4);
  std::copy_n("\xc3\x84XY", 4, room.begin());
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), room, true, &mask));
  CHECK(!fixture.batch.wasAscii());
}

TEST("large bytes get a slab of their own, and the current one is gone on with") {
  Fixture fixture;
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf("small"), false));
  const std::string large(SlabPool::kSlabBytes, 'x');
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf(large), false));
  CHECK_EQ(fixture.batch.last().a, 2u);
  CHECK_EQ(fixture.textOf(fixture.batch.last()), large);
  CHECK_EQ(fixture.batch.slab(), 1u);
}

TEST("without memory, or without a thread, nothing is added") {
  Fixture fixture;
  fixture.sink.hasMemory = false;
  const std::string large(SlabPool::kSlabBytes, 'x');
  CHECK(!fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf("small"), false));
  CHECK(!fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf(large), false));
  fixture.batch.detach();
  CHECK(!fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf("small"), false));
  CHECK(!fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf(large), false));
  CHECK(fixture.batch.empty());
  CHECK(fixture.batch.room(10).empty());
}

TEST("the next thread has other slabs") {
  Fixture fixture;
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf("old"), false));
  fixture.batch.detach();
  Sink next;
  fixture.batch.attach(&next);
  CHECK(fixture.batch.room(10).empty());
  CHECK(fixture.batch.addBytes(rowOf(Event::kFrame), bytesOf("new"), false));
  CHECK_EQ(next.slabs.size(), size_t{1});
  CHECK_EQ(fixture.batch.last().b, 0u);
}

TEST("rows that are added during a delivery wait for the next one") {
  Fixture fixture;
  fixture.batch.add(rowOf(Event::kOpen));
  fixture.batch.begin();
  fixture.batch.add(rowOf(Event::kEnd));
  CHECK(fixture.batch.deliver().alive);
  CHECK_EQ(fixture.sink.delivered.size(), size_t{1});
  CHECK(fixture.sink.delivered[0].event == Event::kOpen);
  fixture.batch.end();
  CHECK(fixture.batch.delivering().empty());
  CHECK_EQ(fixture.batch.size(), size_t{1});
}

TEST("of a thread that dies, frames that it has not begun are found with their bytes, and once") {
  Fixture fixture;
  const auto parse = [&](const std::string& text) {
    CHECK(fixture.batch.addBytes(rowOf(Event::kParse), bytesOf(text), false));
    fixture.batch.keepBytes();
  };
  parse("begun");
  fixture.batch.add(rowOf(Event::kOpen));
  parse("second");
  fixture.batch.begin();
  fixture.batch.add(rowOf(Event::kClose));
  parse("third");
  CHECK_EQ(fixture.batch.parses(), size_t{1});
  std::vector<std::string> kept;
  const auto keep = [&](const EventRow& row, const uint8_t* bytes) {
    kept.emplace_back(reinterpret_cast<const char*>(bytes), row.c);
  };
  fixture.batch.keepParses(1, keep);
  CHECK(kept == std::vector<std::string>({"second", "third"}));
}
