interface Order {
  id: number
  lines: { price: number; count: number }[]
}

/** The answer: a total with 200, the fault with 400 (no document at all) or 422. */
export interface Verdict {
  status: 200 | 400 | 422
  body: { id: number; total: number } | { errors: string[] }
}

/** A document of many megabytes can be wrong in a million places. */
const mostErrors = 20

/** An order's total, or its fault. Slow for a large one. Never throws, for any input. */
export function validate(bytes: Uint8Array): Verdict {
  let order: unknown
  try {
    order = JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString())
  } catch {
    return { status: 400, body: { errors: ['the body is not JSON'] } }
  }
  if (!isObject(order)) return { status: 400, body: { errors: ['the body must be an object'] } }
  const { id, lines } = order as Partial<Record<keyof Order, unknown>>
  const errors: string[] = []
  if (!Number.isInteger(id)) errors.push('id must be a whole number')
  if (!Array.isArray(lines) || lines.length === 0) errors.push('lines must be a list with something in it')
  let total = 0
  for (const [i, line] of Array.isArray(lines) ? lines.entries() : []) {
    if (errors.length >= mostErrors) break
    const { price, count } = (isObject(line) ? line : {}) as Partial<Record<string, unknown>>
    if (typeof price !== 'number' || price < 0) errors.push(`lines[${i}].price must be a number, and not negative`)
    else if (!Number.isInteger(count) || (count as number) < 1) errors.push(`lines[${i}].count must be a whole number from 1`)
    else total += price * (count as number)
  }
  return errors.length > 0 ? { status: 422, body: { errors } } : { status: 200, body: { id: id as number, total } }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
