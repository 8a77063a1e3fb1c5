/**
 * What every server does with one line, so that servers differ in how they carry work and never in the work.
 *
 * `echo` returns bytes and needs no function. `lines` returns each line; `json` parses it and answers with a smaller document.
 */
export type Work = 'echo' | 'lines' | 'json'

export type LineHandler = (text: string) => string

export const lineHandlers: Record<Exclude<Work, 'echo'>, LineHandler> = {
  lines: (text) => `${text}\n`,
  json: answer,
}

/** An order gets its total; any other document gets its size: how many values it holds, and how much text. */
export function answer(text: string): string {
  const document = JSON.parse(text)
  if (typeof document.price === 'number') {
    return `${JSON.stringify({ id: document.id, total: document.price * document.count })}\n`
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
