import type { Case, Row } from './summary.js'

export function caseTitle({ work, connections, inFlight }: Case, titles: ReadonlyMap<string, string>): string {
  return `${titles.get(work) ?? work}; ${connections} connection${connections === 1 ? '' : 's'}, ${inFlight} in flight`
}

export function markdown(cases: readonly Case[], titles: ReadonlyMap<string, string>, against: string): string {
  return cases.map((one) => `### ${caseTitle(one, titles)}\n\n${table(one.rows, against)}`).join('\n')
}

function table(rows: readonly Row[], against: string): string {
  const head = ['server', 'messages/s', 'p50 µs', 'p99 µs', 'CPU µs/message', `CPU / ${against}`, '95 %']
  const lines = [head, head.map((_, i) => (i === 0 ? '---' : '---:')), ...rows.map(cells)]
  const failures = rows.flatMap(({ server, failures }) =>
    failures.map((failure) => `**${server} failed:** ${oneLine(failure)}\n`),
  )
  return [...lines.map((line) => `| ${line.join(' | ')} |\n`), ...failures.map((line) => `\n${line}`)].join('')
}

function cells({ server, throughput, p50, p99, cpuPerMessage, ratio }: Row): string[] {
  const measured = Number.isFinite(throughput)
  if (!measured) return [server, ...Array<string>(6).fill('-')]
  const ratios = ratio === undefined ? ['-', '-'] : [fixed(ratio.median), `${fixed(ratio.low)}-${fixed(ratio.high)}`]
  return [server, Math.round(throughput).toLocaleString('en-US'), p50.toFixed(0), p99.toFixed(0), fixed(cpuPerMessage), ...ratios]
}

function fixed(value: number): string {
  return value.toFixed(2)
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ')
}
