import { custom, delimiter, fixed, type Connection, lengthPrefixed, lines, raw } from '@multireactor/reactor'
import type { Random } from '../support/random.js'
import { kind, placeOf, record, topicLetter, topicName, topics } from './records.js'
import { attempt, type Expected, nextNumber, type Story, tell, threadId } from './story.js'
import { compare, someJob, taskCodes } from './tasks.js'
import { someForm, someNoBytes, someNonsense } from './values.js'

export type Conn = Connection<Story>

/** Where a call is made. */
export interface Place {
  conn: Conn
  story: Story
  random: Random
  key: string
  /** Synchronously in `message`: the frame, and how many replies have a place there. */
  at: { frame: number; replies: number } | undefined
}

/** The abilities of an app, by its listener. */
export interface Abilities {
  pool: boolean
  /** Framings change, connections are piped and streamed: replies are not whole records any more. */
  wild: boolean
  echoPort: number
  /** Its thread may die in the last sequences of a thousand. */
  dies: boolean
}

type Operation = (place: Place, abilities: Abilities) => unknown

const lengths = [0, 1, 5, 40, 300, 3_000, 20_000]
const someLength = (random: Random): number => (random.below(60) === 0 ? 300_000 : random.pick(lengths))
const noPool = (abilities: Abilities): readonly string[] => (abilities.pool ? [] : ['ERR_MR_NO_POOL'])

const make = (place: Place, name: string, call: () => unknown, expected?: Expected): unknown =>
  attempt(place.story, place.key, name, call, expected)

/** A record with its place in the order, or without one. */
function nextRecord({ story, at, random }: Place, length = someLength(random)): string {
  const head = at
    ? { kind: kind.ordered, a: at.frame, b: at.replies++, last: true }
    : { kind: kind.loose, a: nextNumber(), b: threadId, last: true }
  return record(story.letter, story.sequence, head, length)
}

function count(story: Story, took: unknown): void {
  if (took === true) story.accepted++
}

const framings = [
  () => raw(),
  () => lines({ maxBytes: 400_000 }),
  () => delimiter(':'),
  () => fixed(7),
  () => lengthPrefixed({ type: 'u8' }),
  () => custom((bytes) => ({ consumed: Math.min(3, bytes.length), frame: bytes.subarray(0, Math.min(3, bytes.length)) })),
]

/** Those that leave replies whole. */
export const tame: Record<string, Operation> = {
  write(place) {
    const { data, spoil } = someForm(place.random, nextRecord(place))
    count(
      place.story,
      make(place, 'write', () => place.conn.write(data), { whenGone: false }),
    )
    spoil()
  },
  writeWrong(place) {
    const bytes = someNoBytes(place.random)
    make(place, 'write wrong', () => place.conn.write(bytes as never), { wrong: true })
  },
  reply(place) {
    const text = nextRecord(place)
    const ascii = place.random.below(2) === 0
    count(
      place.story,
      make(place, 'reply', () => place.conn.reply(text, { ascii }), { whenGone: false }),
    )
  },
  replyWrong(place) {
    const bytes = someNoBytes(place.random)
    // Bytes that are right are right.
    make(place, 'reply wrong', () => place.conn.reply(bytes as never, { ascii: place.random.below(2) === 0 }), { wrong: true })
  },
  defer(place, abilities) {
    const { story, random, conn, at } = place
    const reply = make(place, 'defer', () => conn.defer()) as ReturnType<Conn['defer']> | undefined
    if (!reply) return
    const a = at ? placeOf(at.frame, at.replies++) : nextNumber()
    const what = at ? kind.part : kind.free
    let part = 0
    const parts = random.below(4)
    let over = false
    const step = (): void => {
      const isOver = over
      const way = random.below(12)
      const inOrderOfThrows: Expected = {
        may: isOver ? ['ERR_MR_CONNECTION_CLOSED'] : [],
        ...(isOver ? {} : { whenGone: false }),
      }
      if (way === 0) {
        const bytes = someNoBytes(random)
        if (bytes === undefined) return
        make(place, 'deferred wrong', () => reply.write(bytes as never), { wrong: true })
      } else if (way === 1) {
        const bytes = someNoBytes(random)
        if (bytes === undefined) return
        make(place, 'deferred end wrong', () => reply.end(bytes as never), { wrong: true })
      } else if (part < parts && !over) {
        const { data, spoil } = someForm(
          random,
          record(story.letter, story.sequence, { kind: what, a, b: part++, last: false }, random.below(200)),
        )
        make(place, 'deferred write', () => reply.write(data), inOrderOfThrows)
        spoil()
      } else {
        const text = record(story.letter, story.sequence, { kind: what, a, b: part++, last: true }, random.below(200))
        const closes = random.below(8) === 0
        if (closes) story.endsInOrder = true
        over = true
        make(
          place,
          closes ? 'deferred close' : 'deferred end',
          () => (closes ? reply.close(text) : reply.end(text)),
          inOrderOfThrows,
        )
      }
    }
    for (let i = 0; i < parts + 1; i++) step()
    const more = random.below(4)
    for (let i = 0; i < more; i++) schedule(random, step)
    // One that is never ended holds everything back: so it does for some.
    if (random.below(8) !== 0)
      setTimeout(() => {
        while (!over) step()
      }, random.below(12))
    void abilities
  },
  submit(place, abilities) {
    const { conn, story, at, random } = place
    const a = at ? placeOf(at.frame, at.replies++) : nextNumber()
    const { data, spoil } = someForm(random, job(story, at ? kind.part : kind.free, a, random))
    make(place, 'submit', () => conn.submit(data), { may: noPool(abilities) })
    spoil()
  },
  submitWrong(place, abilities) {
    const bytes = someNoBytes(place.random)
    make(place, 'submit wrong', () => place.conn.submit(bytes as never), { wrong: true, may: noPool(abilities) })
  },
  run(place, abilities) {
    const { conn, story, random } = place
    const { data, spoil } = someForm(random, job(story, kind.free, nextNumber(), random))
    const result = attempt(
      story,
      place.key,
      'run',
      () =>
        conn.run(data).then((bytes) => {
          const text = bytes.toString()
          if (
            !new RegExp(`^[${story.letter}0-9.:\\n]*$`).test(text) ||
            (text !== '' && !text.startsWith(`${story.letter}${story.sequence}.`))
          )
            tell('wrong', story.sequence, `${place.key} call of ${story.listener}: resolves to ${text.slice(0, 200)}`)
          return bytes
        }),
      { may: [...callCodes, ...jobCodes, ...noPool(abilities)] },
    )
    spoil()
    return result
  },
  runTask(place, abilities) {
    const { conn, story, random, key } = place
    const { job, wanted, spoil } = someJob(random, story.letter, story.sequence)
    const result = make(
      place,
      'runTask',
      () => conn.runTask(job).then((got) => compare(`${key} task of ${story.listener}`, wanted, got)),
      { may: [...callCodes, ...taskCodes, ...noPool(abilities)] },
    )
    spoil()
    return result
  },
  runTaskWrong(place, abilities) {
    make(place, 'runTask wrong', () => place.conn.runTask(() => 5), { wrong: true, may: noPool(abilities) })
  },
  callWrong(place, abilities) {
    const bytes = someNoBytes(place.random)
    make(place, 'run wrong', () => place.conn.run(bytes as never), { wrong: true, may: noPool(abilities) })
  },
  end(place) {
    if (place.random.below(3) !== 0) return
    make(place, 'end', () => place.conn.end())
    place.story.ended = true
  },
  endWith(place) {
    if (place.random.below(3) !== 0) return
    const { data, spoil } = someForm(place.random, nextRecord(place))
    make(place, 'end with data', () => place.conn.end(data))
    spoil()
    place.story.ended = true
  },
  endWrong(place) {
    const bytes = someNoBytes(place.random)
    if (bytes === undefined) return
    make(place, 'end wrong', () => place.conn.end(bytes as never), { wrong: true })
  },
  destroy(place) {
    if (place.random.below(4) !== 0) return
    make(place, 'destroy', () => place.conn.destroy(place.random.pick(['destroyed', 'slow-consumer', 'reset'] as const)))
    place.story.gone = true
  },
  destroyWrong(place) {
    const value = someNonsense(place.random)
    make(place, 'destroy wrong', () => place.conn.destroy(value as never), { wrong: true })
  },
  pause: (place) => {
    make(place, 'pause', () => place.conn.pause())
    if (place.random.below(4) !== 0)
      setTimeout(() => make(place, 'resume later', () => place.conn.resume()), place.random.below(15))
  },
  resume: (place) => make(place, 'resume', () => place.conn.resume()),
  setTimeout: (place) =>
    make(place, 'setTimeout', () => place.conn.setTimeout(place.random.pick([0, 1, 20, 5_000, 0x7fff_ffff]))),
  setTimeoutWrong: (place) => {
    const value = place.random.below(2) === 0 ? 2 ** 31 : someNonsense(place.random)
    if (value === 5) return
    make(place, 'setTimeout wrong', () => place.conn.setTimeout(value as never), { wrong: true })
  },
  setNoDelay: (place) => make(place, 'setNoDelay', () => place.conn.setNoDelay(place.random.below(2) === 0)),
  setNoDelayWrong: (place) => {
    const value = someNonsense(place.random)
    if (value === true) return
    make(place, 'setNoDelay wrong', () => place.conn.setNoDelay(value as never), { wrong: true })
  },
  setKeepAlive: (place) =>
    make(place, 'setKeepAlive', () => place.conn.setKeepAlive(true, place.random.pick([0, 1, 1_500.5, 0x7fff_ffff]))),
  setKeepAliveWrong: (place) => {
    const value = someNonsense(place.random)
    if (value === 5 || value === 0.5) return
    make(place, 'setKeepAlive wrong', () => place.conn.setKeepAlive(true, value as never), { wrong: true })
  },
  setFramingWrong: (place) => {
    const value = someNonsense(place.random)
    // A value like a framing is checked when it cuts, and nothing is cut on a connection that is gone.
    const looksRight = typeof value === 'object' && Object.getOwnPropertyDescriptor(value ?? {}, 'native')?.value
    make(
      place,
      'setFraming wrong',
      () => place.conn.setFraming(value as never),
      looksRight ? { may: ['ERR_MR_OPTION_RANGE', 'ERR_MR_OPTION_TYPE'] } : { wrong: true },
    )
  },
  subscribe: (place) => {
    const { story, random, conn } = place
    const slow = random.pick(['close', 'drop', 'latest'] as const)
    make(place, 'subscribe', () => conn.subscribe(topicName(story.sequence, random.below(topics)), { slow }), {
      whenGone: false,
      may: ['ERR_MR_TOO_MANY_SUBSCRIPTIONS'],
    })
  },
  subscribeWrong: (place) => {
    const value = place.random.below(3) === 0 ? 'x'.repeat(1_025) : someNonsense(place.random)
    make(place, 'subscribe wrong', () => place.conn.subscribe(value as never), { wrong: true })
    make(place, 'subscribe with wrong options', () => place.conn.subscribe('x', { slow: someNonsense(place.random) } as never), {
      wrong: true,
    })
  },
  unsubscribe: (place) =>
    make(place, 'unsubscribe', () => place.conn.unsubscribe(topicName(place.story.sequence, place.random.below(topics))), {
      whenGone: false,
    }),
  unsubscribeWrong: (place) => {
    const value = someNonsense(place.random)
    make(place, 'unsubscribe wrong', () => place.conn.unsubscribe(value as never), { wrong: true })
  },
  publish: (place) => {
    const { conn, story, random } = place
    const topic = random.below(topics)
    const { data, spoil } = someForm(random, publication(story.sequence, topic, random))
    make(place, 'publish', () => conn.publish(topicName(story.sequence, topic), data), { whenGone: false })
    spoil()
  },
  publishWrong: (place) => {
    const { conn, random } = place
    const bytes = someNoBytes(random)
    make(place, 'publish wrong', () => conn.publish('x', bytes as never), { wrong: true })
    const topic = someNonsense(random)
    make(place, 'publish to a wrong topic', () => conn.publish(topic as never, 'x'), { wrong: true })
  },
  pipeWrong: (place) => {
    const value = someNonsense(place.random)
    make(place, 'pipe wrong', () => place.conn.pipe(value as never), { wrong: true })
  },
  moveTo: (place) => {
    if (place.random.below(3) !== 0) return
    // A reactor stands alone; a client connection stays; the number may not be there.
    make(place, 'moveTo', () => place.conn.moveTo(place.random.below(2)), { may: ['ERR_MR_OPTION_RANGE', 'ERR_MR_STATE'] })
    place.story.placed = true
  },
  moveToWrong: (place) => {
    const value = someNonsense(place.random)
    // A number that no reactor has: a connection that is gone does not look it up.
    if (value === 5 || value === 1e300 || value === 2 ** 32 + 1) return
    make(place, 'moveTo wrong', () => place.conn.moveTo(value as never), { wrong: true })
  },
  toDuplexWrong: (place) => {
    const { random, conn } = place
    const value = someNonsense(random)
    make(
      place,
      'toDuplex wrong',
      () => conn.toDuplex({ highWaterMark: random.pick([Number.NaN, -1, 0.5, 2 ** 40, '1', null]) } as never),
      { wrong: true },
    )
    make(place, 'toDuplex wrong', () => conn.toDuplex({ no: value } as never), { wrong: true })
  },
  reportError: (place) => make(place, 'reportError', () => place.conn.reportError(someNonsense(place.random))),
  look: (place) =>
    make(place, 'look', () => {
      const { conn } = place
      return [
        conn.id,
        conn.reactor,
        conn.listener,
        conn.remoteAddress,
        conn.remoteFamily,
        conn.localAddress,
        conn.localPort,
        conn.bytesRead,
        conn.bytesWritten,
        conn.writableLength,
        conn.inFlight,
        conn.destroyed,
        conn.draining,
        conn.encrypted,
        conn.tls,
        conn.subscriptions,
        conn.isOpen,
      ].length
    }),
  connectWrong: (place) => {
    const { conn, random } = place
    const value = someNonsense(random)
    if (value === 5) return
    const target = random.pick([
      value,
      { port: value },
      { port: 1, path: '/x' },
      { port: 1, family: 5 },
      { port: 1, localAddress: value },
    ])
    make(place, 'connect wrong', () => conn.reactor.connect(target as never), { wrong: true })
    make(
      place,
      'connect with wrong hooks',
      () => conn.reactor.connect({ port: 9 }, { message: random.pick([5, {}, 'x']), framing: undefined } as never),
      { wrong: true },
    )
  },
  connectNowhere: (place) => {
    if (place.random.below(5) !== 0) return
    const abort = new AbortController()
    make(
      place,
      'connect to nobody',
      () => place.conn.reactor.connect({ path: `/nobody-${place.story.sequence}` }, {}, { signal: abort.signal, timeoutMs: 50 }),
      { may: ['ERR_MR_CONNECT', 'ERR_MR_CLOSED', 'ERR_MR_LIMIT', 'ABORTED'] },
    )
    if (place.random.below(2) === 0) abort.abort(Object.assign(new Error('aborted'), { code: 'ABORTED' }))
  },
}

/** Ends its thread, in the middle of a move or without one. */
export function die(place: Place): void {
  const { conn, story, random, key } = place
  const way = random.below(5)
  const go = (): never => {
    tell('died', story.sequence, `${key} reactor @${threadId}`)
    process.exit(1)
  }
  // In the middle of a move: before it has begun, while its suspend hook is asked, and behind it.
  if (way < 3) {
    make(place, 'moveTo and die', () => conn.moveTo(random.below(2)), { may: ['ERR_MR_OPTION_RANGE', 'ERR_MR_STATE'] })
    story.placed = true
  }
  if (way === 0) setImmediate(go)
  else if (way === 1) setTimeout(go, random.below(4))
  else if (way === 3)
    queueMicrotask(() => {
      tell('died', story.sequence, `${key} reactor @${threadId}`)
      throw new Error('of the misuse: nobody catches it')
    })
  else go()
}

/** Those that may tear records. */
export const wild: Record<string, Operation> = {
  setFraming: (place) =>
    make(place, 'setFraming', () => place.conn.setFraming(place.random.pick(framings)()), { may: ['ERR_MR_LIMIT'] }),
  toDuplex(place) {
    const { conn, story, random } = place
    if (random.below(3) !== 0) return
    const duplex = make(place, 'toDuplex', () =>
      conn.toDuplex({ allowHalfOpen: random.below(2) === 0, highWaterMark: random.pick([1, 100, 70_000]) }),
    )
    if (!duplex) return
    story.placed = true
    const stream = duplex as ReturnType<Conn['toDuplex']>
    const own = {
      may: [
        'ERR_STREAM_DESTROYED',
        'ERR_STREAM_WRITE_AFTER_END',
        'ERR_INVALID_ARG_TYPE',
        'ERR_STREAM_NULL_VALUES',
        'ERR_METHOD_NOT_IMPLEMENTED',
        'ERR_STREAM_PREMATURE_CLOSE',
        'ERR_UNKNOWN_ENCODING',
      ],
    }
    stream.on('error', () => {})
    stream.on('timeout', () => {})
    const text = () =>
      record(story.letter, story.sequence, { kind: kind.loose, a: nextNumber(), b: threadId, last: true }, someLength(random))
    const steps: (() => unknown)[] = [
      () => stream.write(text()),
      () => stream.write(Buffer.from(text())),
      () => stream.write(someNonsense(random) as never),
      () => stream.end(random.below(2) === 0 ? text() : undefined),
      () => stream.destroy(),
      () => stream.destroySoon(),
      () => stream.resetAndDestroy(),
      () => stream.setTimeout(random.pick([0, 1, 10, Number.NaN, -5, 1e12])),
      () => stream.setTimeout(someNonsense(random) as never),
      () => stream.setNoDelay(someNonsense(random) as never),
      () => stream.setKeepAlive(true, random.pick([0, 5, Number.NaN, -1, 1e12])),
      () => stream.pause(),
      () => stream.resume(),
      () => stream.read(),
      () => stream.read(3),
      () => stream.cork(),
      () => stream.uncork(),
      () => stream.on('data', (chunk: Buffer) => stream.write(chunk)),
      () => {
        // An ended stream refuses piped bytes, and nothing reads then: a stream of `net` stays open, too.
        stream.on('unpipe', () => stream.resume())
        stream.pipe(stream)
      },
      () => stream.unshift(Buffer.alloc(0)),
      () => [stream.remoteAddress, stream.localPort, stream.bytesRead, stream.bytesWritten, stream.readyState, stream.address()],
    ]
    for (let i = random.below(8); i > 0; i--) {
      const step = random.pick(steps)
      // The streams of Node speak for themselves, and the nonsense may be a trap.
      schedule(random, () => void attemptStream(place, step, own))
    }
  },
  pipe(place, { echoPort }) {
    const { conn, story, random } = place
    if (random.below(2) !== 0 || echoPort === 0) return
    make(place, 'pause to connect', () => conn.pause())
    const late = random.below(4) === 0
    const connected = conn.reactor.connect<Story>(
      { host: '127.0.0.1', port: echoPort },
      {
        open: () => ({ ...story, index: story.index + 100, placed: false, ended: false, gone: false }),
        message: (up, chunk) => {
          if (!/^[a-z0-9.:\n\r]*$/.test(chunk.toString('latin1'))) tell('wrong', story.sequence, `a stray in the echo: ${chunk}`)
          if (!late) void up
        },
      },
      { timeoutMs: 2_000 },
    )
    connected.then(
      (up) => {
        const other = random.below(6)
        const peer = other === 0 ? conn : up
        const done = make(place, 'pipe', () => conn.pipe(peer as never), { may: ['ERR_MR_STATE', 'ERR_MR_CONNECTION_CLOSED'] })
        if (done === true) {
          story.placed = true
          if (random.below(3) === 0)
            schedule(random, () =>
              make(place, 'end of a piped one', () => up.end(), { may: ['ERR_MR_STATE', 'ERR_MR_CONNECTION_CLOSED'] }),
            )
          if (random.below(3) === 0)
            make(place, 'pipe again', () => up.pipe(conn), { may: ['ERR_MR_STATE', 'ERR_MR_CONNECTION_CLOSED'] })
        } else up.destroy()
      },
      (error: { code?: string }) => {
        if (!['ERR_MR_CONNECT', 'ERR_MR_CLOSED', 'ERR_MR_LIMIT'].includes(error.code ?? ''))
          tell('wrong', story.sequence, `${place.key} connect: ${String(error)}`)
      },
    )
  },
}

function attemptStream(place: Place, step: () => unknown, own: Expected): void {
  const { story, key } = place
  attempt(
    story,
    key,
    `stream: ${String(step).slice(6, 50)}`,
    () => {
      try {
        return step()
      } catch (error) {
        if ((error as Error).name === 'Trap' || (error as { code?: string }).code?.startsWith('ERR_')) return undefined
        // Number() and the like of a value that is not a number: the error is the caller's.
        if (/Cannot convert|Cannot mix|primitive/.test(String(error))) return undefined
        throw error
      }
    },
    own,
  )
}

/** Now, in a microtask, in the next turn, in a timer. */
export function schedule(random: Random, call: () => void): void {
  const when = random.below(8)
  if (when === 0) queueMicrotask(call)
  else if (when === 1) setImmediate(call)
  else if (when === 2) setTimeout(call, random.below(20))
  else call()
}

export const publication = (sequence: number, topic: number, random: Random): string =>
  record(
    topicLetter(sequence, topic),
    sequence,
    { kind: kind.published, a: nextNumber(), b: threadId, last: true },
    random.pick([0, 10, 500, 5_000]),
  )

export const ways = [
  'whole',
  'list',
  'stream',
  'write',
  'nothing',
  'later',
  'throw',
  'number',
  'end',
  'destroy',
  'odd',
  'lying',
] as const
/** Work for `parse`: whose, at which place, and how to answer. */
export function job(story: Story, what: number, a: number, random: Random): string {
  const way = random.below(3) === 0 ? random.pick(ways) : random.pick(ways.slice(0, 6))
  if (way === 'end') story.endsInOrder = true
  return `job ${story.letter} ${story.sequence} ${what} ${a} ${way} ${random.pick([0, 3, 100, 4_000])}`
}
/** Errors of a call with any job. */
export const callCodes = ['ERR_MR_CONNECTION_CLOSED', 'ERR_MR_TASK_LOST', 'ERR_MR_QUEUE_FULL', 'ERR_MR_OVERLOADED']
/** With which the ways fail. */
const jobCodes = ['ERR_MR_PARSE_RESULT', 'ERR_MR_TASK_FAILED', 'ERR_MR_DATA', 'JOB']
