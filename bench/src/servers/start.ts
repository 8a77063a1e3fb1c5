import { parseArgs } from 'node:util'
import type { Work } from '../work.js'

interface ServerOptions {
  work: Work
  reactors: number
  pool: number
}

/** What the bench asks of a server process: `--work echo|lines|json --reactors N --pool N`. */
export function serverOptions(): ServerOptions {
  const { values } = parseArgs({ options: { work: { type: 'string' }, reactors: { type: 'string' }, pool: { type: 'string' } } })
  const work = values.work ?? 'echo'
  if (work !== 'echo' && work !== 'lines' && work !== 'json') throw new Error(`unknown work ${work}`)
  return { work, reactors: Number(values.reactors ?? 1), pool: Number(values.pool ?? 0) }
}

/** Tells the bench that the server listens. With --expose-gc, SIGUSR2 then collects garbage, for honest memory figures. */
export function announce(port: number): void {
  process.on('SIGUSR2', () => globalThis.gc?.())
  process.stdout.write(`${JSON.stringify({ port })}\n`)
}
