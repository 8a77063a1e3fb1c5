import { isDeepStrictEqual } from 'node:util'
import type { TaskContext } from '@multireactor/pool'
import type { Random } from '../support/random.js'
import { mayDie, randomOf, tell, threadId } from './story.js'

/** A value for `task`: its owner, its fate, and a part that has to come back unchanged. */
export interface Job {
  letter: string
  sequence: number
  number: number
  way: string
  extra: unknown
}

/** With which a task fails. */
export const taskCodes = ['JOB', 'ERR_MR_DATA', 'ERR_MR_TASK_FAILED']

const ways = ['whole', 'whole', 'whole', 'later', 'throw', 'function', 'symbol']
const extras: ((random: Random) => unknown)[] = [
  () => undefined,
  () => -0,
  () => 2n ** 70n,
  () => new Date(5),
  () => /x{3}/giu,
  () => 'text of two bytes: \u0416',
  (random) => Buffer.alloc(random.below(100_000), 'x').toString(),
  (random) => new Uint8Array(random.below(3_000)).fill(33),
  () => new Map<unknown, unknown>([[1, new Set([2, [3, { four: null }]])]]),
  () => new Float64Array([Number.NaN, 0.5]),
  () => Object.assign(new RangeError('a value'), { code: 'NONE' }).message,
  () => {
    // biome-ignore lint/suspicious/noSparseArray: a hole crosses, too
    const ring: Record<string, unknown> = { list: [1, , 3] }
    ring['itself'] = ring
    return ring
  },
]

/** `spoil()`: the value is the caller's again as soon as the call has returned. */
export function someJob(random: Random, letter: string, sequence: number): { job: Job; wanted: Job; spoil(): void } {
  const make = random.pick(extras)
  const seed = random.below(1e9)
  const of = (): Job => ({ letter, sequence, number: seed, way, extra: make(randomOf(seed)) })
  const way = random.pick(ways)
  const job = of()
  return { job, wanted: of(), spoil: () => void Object.assign(job, { letter: '$', sequence: -2, extra: '$$$' }) }
}

/** The `task` of every app. */
export async function task(job: Job, ctx: TaskContext): Promise<unknown> {
  if (mayDie(job.sequence) && randomOf(job.number, 'death').below(60) === 0) {
    tell('died', job.sequence, `worker @${threadId}`)
    process.exit(1)
  }
  if (ctx.signal.aborted) return job
  switch (job.way) {
    case 'later':
      await new Promise((resolve) => setImmediate(resolve))
      return job
    case 'throw':
      throw Object.assign(new Error('as told'), { code: 'JOB' })
    case 'function':
      return { job, no: () => 5 }
    case 'symbol':
      return Symbol('no data')
    default:
      return job
  }
}

/** Reports a result that differs from the input. */
export function compare(key: string, wanted: Job, result: unknown): void {
  const got = result as Job
  if (isDeepStrictEqual(got, wanted)) return
  tell(
    'wrong',
    wanted.sequence,
    `${key}: ${wanted.letter} ${wanted.number} resolves to ${got?.letter} ${got?.number} ${got?.way}`,
  )
}
