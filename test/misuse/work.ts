import type { TaskContext } from '@multireactor/pool'
import type { Reply } from '@multireactor/core'
import { kind, placeOf, record } from './records.js'
import { mayDie, randomOf, storyOf, tell, threadId } from './story.js'

const pause = () => new Promise<void>((resolve) => setImmediate(resolve))

/** The answer to a frame that the server refuses. */
export const refuse = (frame: Uint8Array, ctx: TaskContext): Promise<Reply> => work(frame, ctx, true)

/** Does a job of operations.ts, or answers a frame of a peer. */
export async function work(frame: Uint8Array, ctx: TaskContext, isRefused = false): Promise<Reply> {
  const text = Buffer.from(frame).toString('latin1')
  let [, letter, sequence, what, a, way, length] = text.split(' ') as string[]
  if (!text.startsWith('job ')) {
    const story = storyOf(ctx.remoteAddress, ctx.remotePort, ctx.listener)
    const number = Number(/^[a-z]\d+\.5\.(\d+)/.exec(text)?.[1] ?? -1)
    if (!text.startsWith(`${story.letter}${story.sequence}.`))
      throw Object.assign(new Error(`a frame of another: ${text.slice(0, 100)}`), { code: 'ASTRAY' })
    letter = story.letter
    sequence = String(story.sequence)
    what = String(kind.part)
    a = String(placeOf(number, 0))
    way = ['whole', 'list', 'stream', 'write', 'nothing', 'later', 'whole', 'whole', 'whole', 'destroy', 'throw', 'end'][
      (number * 7 + story.sequence) % 12
    ]!
    length = String([20, 20, 300, 20, 3_000, 20, 20_000][(number * 31 + story.sequence) % 7])
  }
  if (isRefused) {
    way = 'whole'
    length = '1'
  }
  // z: a task of Pool.run(), whose number is no sequence.
  if (letter !== 'z' && mayDie(Number(sequence)) && randomOf(text, 'death').below(60) === 0) {
    tell('died', Number(sequence), `worker @${threadId}`)
    process.exit(1)
  }
  const one = (part: number, last: boolean): string =>
    record(letter!, Number(sequence), { kind: Number(what), a: Number(a), b: part, last }, Number(length))
  switch (way) {
    case 'list':
      return [one(0, false), Buffer.from(one(1, false)), one(2, true)]
    case 'stream':
      return (async function* () {
        yield one(0, false)
        await pause()
        yield Buffer.from(one(1, false))
        yield one(2, true)
      })()
    case 'write':
      await ctx.write(one(0, false)).catch(() => {})
      await pause()
      await ctx.write(5 as never).then(
        () => {
          throw new Error('ctx.write() took a number')
        },
        () => {},
      )
      return one(1, true)
    case 'nothing':
      return undefined
    case 'later':
      await pause()
      return Buffer.from(one(0, true))
    case 'throw':
      throw Object.assign(new Error('as told'), { code: 'JOB' })
    case 'number':
      return 7 as never
    case 'end':
      ctx.end()
      return one(0, true)
    case 'destroy':
      ctx.destroy()
      return one(0, true)
    case 'odd':
      return [one(0, false), {} as never]
    case 'lying':
      return Object.defineProperty(Buffer.from('$$$'), 'length', { value: 900 })
    default:
      return one(0, true)
  }
}
