import { caseTitle } from './markdown.js'
import type { Case, Row } from './summary.js'

const width = 760
const labelWidth = 170
const valueWidth = 110
const barHeight = 16
const rowHeight = 22
const titleHeight = 34
const margin = 16
const ours = '#2f6fde'
const others = '#9aa4b2'

/** Server CPU per message as bars, one panel a case, each panel with its own scale. Shorter is better. */
export function chart(cases: readonly Case[], titles: ReadonlyMap<string, string>): string {
  const panels: string[] = []
  let top = margin + titleHeight
  for (const one of cases) {
    const rows = one.rows.filter(({ cpuPerMessage }) => Number.isFinite(cpuPerMessage))
    panels.push(text(margin, top + 16, caseTitle(one, titles), 'font-weight="600"'), ...bars(rows, top + titleHeight - 8))
    top += titleHeight + rows.length * rowHeight + margin
  }
  const heading = text(margin, margin + 12, 'Server CPU per message, µs (shorter is better)', 'font-size="15" font-weight="600"')
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}"`,
    ' font-family="system-ui, sans-serif" font-size="12" fill="#1f2733">\n',
    `<rect width="${width}" height="${top}" fill="#ffffff"/>\n`,
    [heading, ...panels].join('\n'),
    '\n</svg>\n',
  ].join('')
}

function bars(rows: readonly Row[], top: number): string[] {
  const longest = Math.max(...rows.map(({ cpuPerMessage }) => cpuPerMessage))
  const scale = (width - labelWidth - valueWidth - 2 * margin) / longest
  return rows.flatMap(({ server, cpuPerMessage, ratio }, index) => {
    const y = top + index * rowHeight
    const x = margin + labelWidth
    const length = cpuPerMessage * scale
    const value = `${cpuPerMessage.toFixed(2)}${ratio === undefined ? '' : `  (${ratio.median.toFixed(2)} x)`}`
    const colour = server.startsWith('multireactor') ? ours : others
    return [
      text(x - 8, y + 12, server, 'text-anchor="end"'),
      `<rect x="${x}" y="${y}" width="${length.toFixed(1)}" height="${barHeight}" rx="2" fill="${colour}"/>`,
      text(x + length + 6, y + 12, value),
    ]
  })
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped}</text>`
}
