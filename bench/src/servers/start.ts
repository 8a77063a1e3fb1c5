import { parseArgs } from 'node:util'
import { type Work, works } from '../work.js'

interface ServerOptions {
  work: Work
  reactors: number
  pool: number
  /** Where `parse` runs; undefined: as the runtime does by default. */
  run: string | undefined
  /** Lines shorter than this are handled where they arrive. */
  inlineBelow: number
  /** End as soon as it listens. */
  tryOnly: boolean
  /** Ports, 0 for a free one, and paths of Unix sockets. */
  listen: (number | { path: string })[]
}

/** A server's counters, on request. */
export interface ServerCounts {
  /** Connections that are open now. */
  open: number
  /** Frames that each reactor has read since the start. */
  frames: number[]
  /** Replies that came before their turn and were held until it came. */
  held: number
  /** Calls between native code and JavaScript, where `count-crossings` is loaded. */
  crossings?: Crossings
}

export interface Crossings {
  toJs: number
  toNative: number
}

/** The message of a server that listens. */
export interface Announcement {
  addresses: (number | string)[]
  /** From the call that starts the server to its return. */
  serveMs?: number
}

/** The options of a server process: `--work NAME --reactors N --pool N --listen PORT|PATH,...`, and options of single servers. */
export function serverOptions(): ServerOptions {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    options: {
      work: text,
      reactors: text,
      pool: text,
      listen: text,
      run: text,
      'inline-below': text,
      try: { type: 'boolean' },
    },
  })
  const work = works.find((one) => one === (values.work ?? 'echo'))
  if (work === undefined) throw new Error(`unknown work ${values.work}`)
  return {
    work,
    reactors: Number(values.reactors ?? 1),
    pool: Number(values.pool ?? 0),
    run: values.run,
    inlineBelow: Number(values['inline-below'] ?? 0),
    tryOnly: values.try ?? false,
    listen: (values.listen ?? '0').split(',').map((one) => (one.startsWith('/') ? { path: one } : Number(one))),
  }
}

/** Tells the bench that the server listens, and where. SIGUSR2 then asks for its counts, one line of JSON each time. */
export function announce(
  addresses: (number | string)[],
  counts?: () => ServerCounts | Promise<ServerCounts>,
  serveMs?: number,
): void {
  // Without a listener the signal would end the process.
  process.on('SIGUSR2', async () => {
    if (counts) print({ ...(await counts()), ...crossingsSoFar() })
  })
  print({ addresses, ...(serveMs === undefined ? {} : { serveMs }) } satisfies Announcement)
}

function crossingsSoFar(): { crossings?: Crossings } {
  const { benchCrossings } = globalThis as { benchCrossings?: () => Crossings }
  return benchCrossings === undefined ? {} : { crossings: benchCrossings() }
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
