import { metrics, shownValue } from './metric.js'
import type { Spread } from './statistics.js'
import type { Case, Row } from './summary.js'
import { planOf } from './workload.js'

export function caseTitle({ work, connections, inFlight, pinned }: Case): string {
  const { title, kind, fixed } = planOf(work)
  const shape = `; ${connections} connection${connections === 1 ? '' : 's'}, ${inFlight} in flight`
  const placement = kind === 'load' ? (pinned ? '; pinned' : '; not pinned') : ''
  return `${title}${fixed ? '' : shape}${placement}`
}

export function markdown(cases: readonly Case[]): string {
  return cases.map((one) => `### ${caseTitle(one)}\n\n${table(one)}`).join('\n')
}

/** Rows of a table, the first being its head; all but the first column to the right. */
export function tableOf(rows: readonly (readonly string[])[], left = 1): string {
  const rule = rows[0]!.map((_, column) => (column < left ? '---' : '---:'))
  return [rows[0]!, rule, ...rows.slice(1)].map((cells) => `| ${cells.join(' | ')} |\n`).join('')
}

function table(one: Case): string {
  const shown = planOf(one.work).metrics
  const [first] = shown
  const head = [
    'server',
    ...shown.flatMap((metric) => (metric === first ? [metrics[metric].title, '95 %'] : [metrics[metric].title])),
  ]
  const rows = one.rows.map((row) => [row.server, ...cells(row, one), ...ratioCells(row.ratio)])
  const failures = one.rows.flatMap(({ server, failures }) =>
    failures.map((failure) => `\n**${server} failed:** ${oneLine(failure)}\n`),
  )
  return tableOf([[...head, `${metrics[first].title.split(' ')[0]} / ${one.reference}`, '95 %'], ...rows]) + failures.join('')
}

function cells({ values }: Row, { work }: Case): string[] {
  const shown = planOf(work).metrics
  return shown.flatMap((metric) => {
    const spread = values[metric]
    const value = shownValue(metric, spread?.median)
    if (metric !== shown[0]) return [value]
    return [value, spread === undefined ? '-' : `${shownValue(metric, spread.low)}-${shownValue(metric, spread.high)}`]
  })
}

function ratioCells(ratio: Spread | undefined): string[] {
  return ratio === undefined ? ['-', '-'] : [fixed(ratio.median), `${fixed(ratio.low)}-${fixed(ratio.high)}`]
}

function fixed(value: number): string {
  return value.toFixed(2)
}

export function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').replaceAll('|', '\\|').trim()
}
