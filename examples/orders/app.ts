import { defineApp, lines } from 'multireactor'

interface Order {
  id: number
  price: number
  count: number
}

// Newline-delimited JSON. The reactors cut the lines without running any JavaScript; parse() runs in the pool, and the
// replies of a connection leave in the order in which its lines came.
export default defineApp({
  framing: lines({ maxBytes: 1 << 20 }),
  parse(line) {
    const order: unknown = JSON.parse(line.toString())
    if (!isOrder(order)) throw new TypeError('an order needs a price and a count')
    return `${JSON.stringify({ id: order.id, total: order.price * order.count })}\n`
  },
  // Returns the answer when parse() failed. Without this hook the connection would be closed.
  error(err) {
    return `${JSON.stringify({ error: err instanceof Error ? err.message : String(err) })}\n`
  },
})

/** A peer may send anything: `null` is JSON, too. */
function isOrder(value: unknown): value is Order {
  const { price, count } = (value ?? {}) as Partial<Order>
  return Number.isFinite(price) && Number.isFinite(count)
}
