interface Order {
  id: number
  lines: { price: number; count: number }[]
}

/** An order's total, or everything that is wrong with it. Takes its time with a large one. */
export function validate(bytes: Uint8Array): { id: number; total: number } | string[] {
  let order: Partial<Order>
  try {
    order = JSON.parse(Buffer.from(bytes).toString()) as Partial<Order>
  } catch {
    return ['the body is no JSON']
  }
  const wrong: string[] = []
  if (!Number.isInteger(order.id)) wrong.push('id must be a whole number')
  if (!Array.isArray(order.lines) || order.lines.length === 0) return [...wrong, 'lines must be a list with something in it']
  let total = 0
  for (const [i, { price, count }] of order.lines.entries()) {
    if (!(price >= 0)) wrong.push(`lines[${i}].price must not be negative`)
    if (!Number.isInteger(count) || count < 1) wrong.push(`lines[${i}].count must be a whole number from 1`)
    total += price * count
  }
  return wrong.length > 0 ? wrong : { id: order.id!, total }
}
