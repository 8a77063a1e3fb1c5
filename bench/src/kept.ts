import type { Sample } from './rounds.js'

/** The file that a run leaves behind, and that `--from` reads. */
export interface Kept {
  command: string
  conditions: string
  absent: [server: string, reason: string][]
  samples: Sample[]
}

/** Several runs as one. Each keeps its own rounds: measurements of different runs are not paired. */
export function together(runs: readonly Kept[]): Kept {
  const samples: Sample[] = []
  let rounds = 0
  for (const run of runs) {
    for (const sample of run.samples) samples.push({ ...sample, round: sample.round + rounds })
    rounds += 1 + run.samples.reduce((most, { round }) => Math.max(most, round), -1)
  }
  const absent = new Map(runs.flatMap((run) => run.absent))
  for (const { server } of samples) absent.delete(server)
  return {
    command: runs.map(({ command }) => command).join('\n'),
    conditions: [...new Set(runs.map(({ conditions }) => conditions))].join('\n\n'),
    absent: [...absent],
    samples,
  }
}
