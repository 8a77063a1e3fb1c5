import type { Connection } from 'multireactor'
import { mostCommandBytes, numbered, types } from './protocol.js'

/** The state that travels with a connection to the next thread. */
export interface State {
  /** Undefined until it has logged in. */
  device: string | undefined
  /** Nanoseconds of the process's clock: of two connections of one device the later one counts. */
  since: bigint
  reading: number | undefined
}
export type Conn = Connection<State>

/** The outcome of a command. `busy`: too many of them wait for this device. */
export type Outcome = { result: Buffer } | 'elsewhere' | 'timeout' | 'gone' | 'busy'

interface Command {
  settle(outcome: Outcome): void
}

const mostWaiting = 16

/** The devices that have logged in on this reactor's thread, and the commands that wait for their results. */
export class Devices {
  readonly #byId = new Map<string, Conn>()
  readonly #waiting = new Map<Conn, Map<number, Command>>()
  readonly #onCommand: (conn: Conn) => void
  #lastNumber = 0

  /** `onCommand` is told of each command that is sent. */
  constructor(onCommand: (conn: Conn) => void) {
    this.#onCommand = onCommand
  }

  /** The connection that the device had here before goes. */
  add(device: string, conn: Conn): void {
    const before = this.#byId.get(device)
    this.#byId.set(device, conn)
    if (before && before !== conn) before.destroy()
  }

  /** The connection has closed, or goes to the next thread. */
  remove(conn: Conn): void {
    const { device } = conn.data
    // Its successor may have its place already.
    if (device !== undefined && this.#byId.get(device) === conn) this.#byId.delete(device)
    for (const command of this.#waiting.get(conn)?.values() ?? []) command.settle('gone')
    this.#waiting.delete(conn)
  }

  /** False: it has logged in here later than `since`. */
  replace(device: string, since: bigint): boolean {
    const conn = this.#byId.get(device)
    if (conn === undefined || conn.data.since === since) return true
    if (conn.data.since > since) return false
    conn.destroy()
    return true
  }

  command(device: string, bytes: Buffer, timeoutMs: number): Promise<Outcome> | Outcome {
    const conn = this.#byId.get(device)
    // One that was refused may take its time to go.
    if (!conn?.isOpen) return 'elsewhere'
    const waiting = this.#waiting.get(conn) ?? new Map<number, Command>()
    if (waiting.size >= mostWaiting) return 'busy'
    this.#waiting.set(conn, waiting)
    this.#lastNumber = (this.#lastNumber + 1) >>> 0
    const number = this.#lastNumber
    return new Promise((resolve) => {
      const settle = (outcome: Outcome): void => {
        clearTimeout(timer)
        waiting.delete(number)
        resolve(outcome)
      }
      const timer = setTimeout(() => settle('timeout'), timeoutMs)
      waiting.set(number, { settle })
      conn.write(numbered(types.command, number, bytes))
      this.#onCommand(conn)
    })
  }

  /** False: no command of this number waits. It may have run out of time. */
  result(conn: Conn, body: Buffer): boolean {
    if (body.length < 4 || body.length > 4 + mostCommandBytes) return false
    const command = this.#waiting.get(conn)?.get(body.readUInt32BE(0))
    // A copy: a frame keeps the block that it lies in.
    command?.settle({ result: Buffer.from(body.subarray(4)) })
    return command !== undefined
  }

  *list(): Iterable<{ device: string; listener: string; reading: number | undefined }> {
    for (const [device, { listener, data }] of this.#byId) yield { device, listener, reading: data.reading }
  }
}
