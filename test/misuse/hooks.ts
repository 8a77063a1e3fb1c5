import type { App, ServerHandle } from '@multireactor/core'
import type { CloseReason } from '@multireactor/reactor'
import { type Abilities, type Conn, die, type Place, schedule, tame, wild } from './operations.js'
import { kind, record } from './records.js'
import {
  attempt,
  checkReason,
  mayDie,
  newStory,
  nextNumber,
  randomOf,
  type Story,
  storyOf,
  tell,
  threadId,
  trace,
  turnOf,
} from './story.js'
import { someForm, someNoBytes, someNonsense } from './values.js'

/** Calls are finite, though a hook may lead to itself. */
const mostCalls = 60

/** For the calls behind the close. */
const late = new WeakMap<Story, (() => void)[]>()

let server: ServerHandle | undefined

/** Connections of this thread whose `close` hook has not been called. */
const live = new Map<Conn, Story>()

/** This thread's open connections, for a run that fails because some stay open. */
export function describeOpen(): string {
  return [...live]
    .filter(([conn]) => !conn.destroyed || conn.isOpen)
    .map(
      ([conn, { sequence, index, listener, ended, placed, gone }]) =>
        `${sequence} ${index} of ${listener}: ${JSON.stringify({
          isOpen: conn.isOpen,
          inFlight: conn.inFlight,
          waiting: conn.writableLength,
          read: conn.bytesRead,
          written: conn.bytesWritten,
          ended,
          placed,
          gone,
        })}`,
    )
    .join('\n')
}

/** The hooks of an app, which make random calls: which ones depends on the seed, the sequence, the connection and the hook alone. */
export function misuse(abilities: Abilities): App<Story> {
  const operations = Object.entries(abilities.wild ? { ...tame, ...wild } : tame)

  const callSome = (conn: Conn, story: Story, hook: string, frame?: number): unknown => {
    const turn = turnOf(story, hook)
    trace('hook', story.sequence, `${story.index} ${hook}:${turn} of ${story.listener}`)
    if (turn * 4 > mostCalls) return undefined
    const key = `${story.sequence}:${story.index}:${hook}:${turn}`
    const random = randomOf(key)
    const at = frame === undefined ? undefined : { frame, replies: 0 }
    const pending: Promise<unknown>[] = []
    for (let n = random.below(5); n > 0; n--) {
      const [, operation] = random.pick(operations)
      const place: Place = { conn, story, key: `${key}:${n}`, random: randomOf(key, n), at }
      const when = random.below(10)
      const go = (where: typeof at) => void operation({ ...place, at: where }, abilities)
      if (when === 0) queueMicrotask(() => go(undefined))
      else if (when === 1) setImmediate(() => go(undefined))
      else if (when === 2) setTimeout(() => go(undefined), random.below(20))
      else if (when === 3) pending.push(new Promise<void>((resolve) => setImmediate(resolve)).then(() => go(undefined)))
      else if (when === 4) late.set(story, [...(late.get(story) ?? []), () => go(undefined)])
      else operation({ ...place, at }, abilities)
    }
    if (abilities.dies && mayDie(story.sequence) && random.below(25) === 0)
      schedule(random, () => die({ conn, story, key: `${key}:die`, random, at: undefined }))
    if (server && random.below(12) === 0) sendSome(server, conn, story, random, key)
    return pending.length > 0 ? Promise.all(pending).then(() => undefined) : undefined
  }

  return {
    open(conn) {
      const story = storyOf(conn.remoteAddress, conn.remotePort, conn.listener)
      // A peer that has gone before the first look has no address any more.
      if (story.index >= 0) tell('opened', story.sequence, String(story.index))
      live.set(conn as unknown as Conn, story)
      callSome(conn as unknown as Conn, story, 'open')
      return story
    },
    message(conn, frame) {
      const story = conn.data
      if (story.closed > 0) tell('wrong', story.sequence, 'message after close')
      const own = new RegExp(`^[${story.letter}0-9.:\\r\\n]*$`)
      // The owner of a connection that went before the first look is unknown: see `open` and `restore`.
      if (story.index >= 0 && !own.test(frame.toString('latin1')))
        tell(
          'wrong',
          story.sequence,
          `bytes astray in a frame of ${story.index} of ${story.listener}: ${frame.toString('latin1').slice(0, 300)}`,
        )
      // By its own number, which outlives a thread that counts; where framings change there may be none.
      const number = /^[a-z]\d+\.5\.(\d+)\./.exec(frame.toString('latin1'))?.[1]
      return callSome(conn, story, 'message', number === undefined ? story.frames++ : Number(number)) as Promise<void>
    },
    drain: (conn) => callSome(conn, conn.data, 'drain') as Promise<void>,
    end: (conn) => callSome(conn, conn.data, 'end') as Promise<void>,
    timeout: (conn) => callSome(conn, conn.data, 'timeout') as Promise<void>,
    badFrame(conn) {
      callSome(conn, conn.data, 'badFrame')
    },
    suspend(conn) {
      callSome(conn, conn.data, 'suspend')
      return conn.data
    },
    restore(conn, state) {
      // The data of a thread that died is lost; whose it is, its address says.
      const story = (state as Story | undefined) ?? storyOf(conn.remoteAddress, conn.remotePort, conn.listener)
      if (state === undefined) {
        story.placed = true
        story.endsInOrder = true
      }
      live.set(conn, story)
      callSome(conn, story, 'restore')
      return story
    },
    close(conn, reason: CloseReason) {
      const story = conn.data ?? newStory(0, 0, conn.listener)
      live.delete(conn)
      checkReason(story, reason)
      if (story.closed++ > 0) tell('wrong', story.sequence, 'closed twice')
      story.gone = true
      if (story.index >= 0) tell('closed', story.sequence, `${story.index} ${reason} ${story.endsInOrder ? 0 : story.accepted}`)
      for (const call of late.get(story) ?? []) schedule(randomOf(story.sequence, story.index, 'late'), call)
      return callSome(conn, story, 'close') as Promise<void>
    },
  }
}

/** Sends that any thread may do. */
function sendSome(to: ServerHandle, conn: Conn, story: Story, random: ReturnType<typeof randomOf>, key: string): void {
  const closed = { may: ['ERR_MR_CLOSED'] }
  const { data, spoil } = someForm(
    random,
    record(story.letter, story.sequence, { kind: kind.sent, a: nextNumber(), b: threadId, last: true }, random.below(300)),
  )
  attempt(story, `${key}:send`, 'send', () => to.send(conn.id, data), closed)
  spoil()
  const bytes = someNoBytes(random)
  attempt(story, `${key}:send wrong`, 'send wrong', () => to.send(conn.id, bytes as never), { wrong: true, ...closed })
  const id = someNonsense(random)
  if (typeof id !== 'bigint')
    attempt(story, `${key}:send to nothing`, 'send to nothing', () => to.send(id as never, 'x'), { wrong: true, ...closed })
  attempt(
    story,
    `${key}:send to nobody`,
    'send to nobody',
    () => to.send(random.pick([-1n, 1n << 70n, 0n, 1n << 63n]), '$'),
    closed,
  )
}

/** Of an app whose threads may send. */
export const start: NonNullable<App['start']> = ({ server: own }) => {
  server = own
}
