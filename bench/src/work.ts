/**
 * The work of every server, so that servers differ in how they carry work and never in the work.
 *
 * `echo` returns bytes and needs no function. `bytes` returns each line and makes no text of it, as the C server does; `lines` returns its
 * text; `orders` and `json` parse it and answer with a smaller document. `orders` are so small and so regular that the C server knows
 * them too. `idle` never gets a byte.
 */
export type Work = 'echo' | 'bytes' | 'lines' | 'orders' | 'json' | 'idle'

export const works: readonly Work[] = ['echo', 'bytes', 'lines', 'orders', 'json', 'idle']

export type LineHandler = (text: string) => string

/** Returns the bytes of a line, its end included. */
export const returnBytes = (line: Uint8Array): Uint8Array => line

/** Works in which every line becomes text. */
export type TextWork = Exclude<Work, 'echo' | 'bytes'>

export const lineHandlers: Record<TextWork, LineHandler> = {
  lines: (text) => `${text}\n`,
  orders: answer,
  json: answer,
  idle: answer,
}

/** An order gets its total; any other document gets its size: how many values it holds, and how much text. */
export function answer(text: string): string {
  const document = JSON.parse(text)
  if (typeof document.price === 'number') {
    return `${JSON.stringify({ id: document.id, total: document.price * document.count })}\n`
  }
  if (Array.isArray(document.positions)) {
    let total = 0
    for (const { price, count } of document.positions) total += price * count
    return `${JSON.stringify({ id: document.id, positions: document.positions.length, total })}\n`
  }
  const size = { values: 0, characters: 0 }
  measure(document, size)
  return `${JSON.stringify({ id_str: document.id_str, ...size })}\n`
}

function measure(value: unknown, size: { values: number; characters: number }): void {
  size.values++
  if (typeof value === 'string') size.characters += value.length
  else if (Array.isArray(value)) for (const item of value) measure(item, size)
  else if (typeof value === 'object' && value !== null) for (const item of Object.values(value)) measure(item, size)
}
