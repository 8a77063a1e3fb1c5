import { caseTitle, tableOf } from './markdown.js'
import { moreIsBetter, type Metric, metrics, shownValue } from './metric.js'
import type { Case, Row } from './summary.js'

const ours = 'multireactor'

/** Every work on which another server is better than the best of ours, by the median of its first figure. */
export function lossesTable(cases: readonly Case[]): string {
  const rows = cases.flatMap((one) => {
    const best = bestOf(
      one.rows.filter(({ server }) => server.startsWith(ours)),
      one.metric,
    )
    if (best === undefined) return []
    return one.rows
      .filter((row) => !row.server.startsWith(ours) && isBetter(row, best, one.metric))
      .map((row) => [
        caseTitle(one),
        metrics[one.metric].title,
        cell(row, one.metric),
        cell(best, one.metric),
        factor(row, best, one.metric),
      ])
  })
  if (rows.length === 0) return 'In this run no other server was better than the best of ours on any work.\n'
  return tableOf([['work', 'figure', 'the other server', 'the best of ours', 'ours / the other'], ...rows], 2)
}

function value({ values }: Row, metric: Metric): number | undefined {
  return values[metric]?.median
}

function bestOf(rows: readonly Row[], metric: Metric): Row | undefined {
  const measured = rows.filter((row) => value(row, metric) !== undefined)
  return measured.reduce<Row | undefined>(
    (best, row) => (best === undefined || isBetter(row, best, metric) ? row : best),
    undefined,
  )
}

function isBetter(row: Row, than: Row, metric: Metric): boolean {
  const [a, b] = [value(row, metric), value(than, metric)]
  if (a === undefined || b === undefined) return false
  return moreIsBetter.has(metric) ? a > b : a < b
}

function cell(row: Row, metric: Metric): string {
  return `${row.server}: ${shownValue(metric, value(row, metric))}`
}

function factor(row: Row, best: Row, metric: Metric): string {
  return (value(best, metric)! / value(row, metric)!).toFixed(2)
}
