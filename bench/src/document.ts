import { readFileSync, writeFileSync } from 'node:fs'

/**
 * Puts texts into a document between their markers, `<!-- bench:NAME -->` and `<!-- /bench:NAME -->`. The rest of the document stays.
 * Throws when the document does not have a marker; then nothing is written.
 */
export function fillDocument(path: string, parts: Readonly<Record<string, string>>): void {
  writeFileSync(path, filled(readFileSync(path, 'utf8'), parts, path))
}

export function filled(document: string, parts: Readonly<Record<string, string>>, name: string): string {
  let text = document
  for (const [part, content] of Object.entries(parts)) {
    const begin = `<!-- bench:${part} -->`
    const end = `<!-- /bench:${part} -->`
    const from = text.indexOf(begin)
    const to = text.indexOf(end)
    if (from === -1 || to < from) throw new Error(`${name} has no place for "${part}": it needs ${begin} and, below it, ${end}`)
    text = `${text.slice(0, from + begin.length)}\n${content.trim()}\n${text.slice(to)}`
  }
  return text
}
