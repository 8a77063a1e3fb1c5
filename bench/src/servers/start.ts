import { parseArgs } from 'node:util'
import type { Work } from '../work.js'

interface ServerOptions {
  work: Work
  reactors: number
  pool: number
  /** Ports, 0 for a free one, and paths of Unix sockets. */
  listen: (number | { path: string })[]
}

/** What a server says of itself when it is asked. */
export interface ServerCounts {
  /** Connections that are open now. */
  open: number
  /** Frames that each reactor has read since the start. */
  frames: number[]
  /** Replies that came before their turn and were held until it came. */
  held: number
}

/** What the bench asks of a server process: `--work echo|lines|json --reactors N --pool N --listen PORT|PATH,...`. */
export function serverOptions(): ServerOptions {
  const { values } = parseArgs({
    options: { work: { type: 'string' }, reactors: { type: 'string' }, pool: { type: 'string' }, listen: { type: 'string' } },
  })
  const work = values.work ?? 'echo'
  if (work !== 'echo' && work !== 'lines' && work !== 'json') throw new Error(`unknown work ${work}`)
  const listen = (values.listen ?? '0').split(',').map((one) => (one.startsWith('/') ? { path: one } : Number(one)))
  return { work, reactors: Number(values.reactors ?? 1), pool: Number(values.pool ?? 0), listen }
}

/** Tells the bench that the server listens, and where. SIGUSR2 then asks for its counts, one line of JSON each time. */
export function announce(addresses: (number | string)[], counts?: () => ServerCounts | Promise<ServerCounts>): void {
  // Without a listener the signal would end the process.
  process.on('SIGUSR2', async () => {
    if (counts) print(await counts())
  })
  print({ addresses })
}

function print(value: object): void {
  process.stdout.write(`${JSON.stringify(value)}\n`)
}
