import { readFileSync, writeFileSync } from 'node:fs'
import { countingLibrary } from './native.js'

/** In the order of native/counting.cc. */
const counterNames = [
  'epollWait',
  'epollCtl',
  'receive',
  'send',
  'read',
  'write',
  'accept',
  'shutdown',
  'close',
  'allocate',
] as const

export type CallCounts = Record<(typeof counterNames)[number], number>

/** Counts of a server's system calls and allocations, in a file that its processes map. */
export class CallCounter {
  readonly #path: string

  constructor(path: string) {
    this.#path = path
    writeFileSync(path, new Uint8Array(counterNames.length * BigUint64Array.BYTES_PER_ELEMENT))
  }

  /** The environment that the server must be started with. */
  get env(): Record<string, string> {
    return { LD_PRELOAD: countingLibrary, BENCH_COUNTS: this.#path }
  }

  read(): CallCounts {
    const bytes = new Uint8Array(readFileSync(this.#path))
    const values = new BigUint64Array(bytes.buffer)
    return Object.fromEntries(counterNames.map((name, index) => [name, Number(values[index])])) as CallCounts
  }
}
