// The slots of connections, and the generations that tell one tenant of a slot from the next.
#include "reactor/connection_table.h"
#include "harness.h"

using namespace mr;

TEST("table: the generation behind the last one is 1, as 0 means a descriptor of the reactor's own") {
  ConnectionTable table(UINT32_MAX);
  const uint32_t last = table.open(), first = table.open();
  CHECK_EQ(table.at(last).generation, UINT32_MAX);
  CHECK_EQ(table.at(first).generation, 1u);
  CHECK(table.find(first, 1) == &table.at(first));
}
