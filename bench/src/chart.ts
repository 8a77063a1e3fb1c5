import { caseTitle } from './markdown.js'
import { type Metric, metrics, moreIsBetter, shownValue } from './metric.js'
import type { Spread } from './statistics.js'
import type { Case } from './summary.js'

const width = 820
const labelWidth = 190
const valueWidth = 110
const barHeight = 16
const rowHeight = 22
const titleHeight = 34
const margin = 16
const ours = '#2f6fde'
const others = '#9aa4b2'

/** The first figure of each work as bars, one panel a case, each panel with its own scale. The whisker is the 95 % interval. */
export function chart(cases: readonly Case[]): string {
  const panels: string[] = []
  let top = margin + titleHeight
  for (const one of cases) {
    const bars = one.rows.flatMap(({ server, values, ratio }) => {
      const spread = values[one.metric]
      return spread === undefined ? [] : [{ server, spread, ratio }]
    })
    if (bars.length === 0) continue
    const { title } = metrics[one.metric]
    const better = moreIsBetter.has(one.metric) ? 'longer is better' : 'shorter is better'
    panels.push(text(margin, top + 16, `${caseTitle(one)}: ${title} (${better})`, 'font-weight="600"'))
    panels.push(...drawn(bars, one.metric, top + titleHeight - 8))
    top += titleHeight + bars.length * rowHeight + margin
  }
  const heading = text(
    margin,
    margin + 12,
    'multireactor beside others: medians and 95 % intervals',
    'font-size="15" font-weight="600"',
  )
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${top}" viewBox="0 0 ${width} ${top}"`,
    ' font-family="system-ui, sans-serif" font-size="12" fill="#1f2733">\n',
    '<title>multireactor beside others: medians and 95 % intervals</title>\n',
    `<rect width="${width}" height="${top}" fill="#ffffff"/>\n`,
    [heading, ...panels].join('\n'),
    '\n</svg>\n',
  ].join('')
}

interface Bar {
  server: string
  spread: Spread
  ratio: Spread | undefined
}

function drawn(bars: readonly Bar[], metric: Metric, top: number): string[] {
  const longest = Math.max(...bars.map(({ spread }) => spread.high), Number.MIN_VALUE)
  const scale = (width - labelWidth - valueWidth - 2 * margin) / longest
  return bars.flatMap(({ server, spread, ratio }, index) => {
    const y = top + index * rowHeight
    const x = margin + labelWidth
    const at = (value: number): string => (x + Math.max(0, value) * scale).toFixed(1)
    const value = `${shownValue(metric, spread.median)}${ratio === undefined ? '' : `  (${ratio.median.toFixed(2)} x)`}`
    const middle = y + barHeight / 2
    return [
      text(x - 8, y + 12, server, 'text-anchor="end"'),
      `<rect x="${x}" y="${y}" width="${(Math.max(0, spread.median) * scale).toFixed(1)}" height="${barHeight}" rx="2" fill="${
        server.startsWith('multireactor') ? ours : others
      }"/>`,
      `<path d="M${at(spread.low)} ${middle}H${at(spread.high)}" stroke="#1f2733" stroke-width="1.5"/>`,
      text(Number(at(Math.max(spread.median, spread.high))) + 6, y + 12, value),
    ]
  })
}

function text(x: number, y: number, content: string, attributes = ''): string {
  const escaped = content.replaceAll('&', '&amp;').replaceAll('<', '&lt;')
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${escaped}</text>`
}
