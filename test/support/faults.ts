import { execFileSync } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const native = fileURLToPath(new URL('../../../addon/native', import.meta.url))

/**
 * The calls that addon/native/test/faults/faults.cc intercepts when the addon calls it. `read` and `write` are the wakers'; `steer` is the
 * setsockopt that sends new connections past a listening socket, and `abrupt` fails it and closes that socket at once, with the
 * connections queued on it. `mmap` is only that of memory for received bytes. `wall_clock` is process-wide: `atMost` seconds are taken off it.
 */
export type FaultyCall =
  | 'abrupt'
  | 'accept4'
  | 'epoll_add'
  | 'epoll_create1'
  | 'epoll_mod'
  | 'epoll_wait'
  | 'eventfd'
  | 'mmap'
  | 'read'
  | 'recv'
  | 'send'
  | 'sendmsg'
  | 'setsockopt'
  | 'socket'
  | 'steer'
  | 'wall_clock'
  | 'write'

export interface FaultRule {
  call: FaultyCall
  /** The errno to fail with. */
  error?: keyof typeof constants.errno
  /** Or: how many bytes (for epoll_wait: events) one call may carry. */
  atMost?: number
  /** Each so-manyth call. Default 1: every one. `EINTR` needs at least 2, for such a call is repeated at once. */
  every?: number
  /** How often it happens. Default: until `stop()`. */
  times?: number
}

export interface Fault {
  readonly rule: FaultRule
  /** How often it really took place. */
  readonly happened: number
  stop(): void
  /** Once more, after `stop()`. */
  start(): void
}

// The layout of addon/native/test/faults/rules.h.
const pageBytes = 4096
const ruleBytes = 64
const nameBytes = 16
const at = { error: 16, atMost: 24, every: 32, left: 40, happened: 56 }

/** A control page, through which faults are switched on and off in servers that run. */
export class Faults {
  readonly #folder = mkdtempSync(join(tmpdir(), 'mr-faults-'))
  readonly #path = join(this.#folder, 'rules')
  readonly #file = openSync(this.#path, 'w+')
  #rules = 0

  constructor() {
    writeSync(this.#file, Buffer.alloc(pageBytes))
  }

  /** Builds the library, as far as it changed. */
  static build(): void {
    execFileSync('make', ['--no-print-directory', '-C', native, 'faults'], { stdio: ['ignore', 'ignore', 'inherit'] })
  }

  /** For a process whose addon is to meet them. */
  get env(): Record<string, string> {
    return { LD_PRELOAD: join(native, 'build-test/faults/faults.so'), MULTIREACTOR_FAULTS: this.#path }
  }

  /** Takes effect at once. A page has room for 64, and none is used twice: the counts of the stopped ones stay. */
  inject(rule: FaultRule): Fault {
    const base = this.#rules++ * ruleBytes
    if (base >= pageBytes) throw new Error('the control page is full')
    const { call, error, atMost = 0, every = 1, times = Number.MAX_SAFE_INTEGER } = rule
    const name = Buffer.alloc(nameBytes)
    name.write(call, 'latin1')
    writeSync(this.#file, name, 0, nameBytes, base)
    this.#write(base + at.error, error === undefined ? 0 : constants.errno[error])
    this.#write(base + at.atMost, atMost)
    this.#write(base + at.left, times)
    this.#write(base + at.every, every) // last: it switches the rule on
    const count = () => this.#read(base + at.happened)
    return {
      rule,
      get happened() {
        return count()
      },
      stop: () => this.#write(base + at.every, 0),
      start: () => this.#write(base + at.every, every),
    }
  }

  close(): void {
    closeSync(this.#file)
    rmSync(this.#folder, { recursive: true })
  }

  #write(offset: number, value: number): void {
    writeSync(this.#file, new BigInt64Array([BigInt(value)]), 0, 8, offset)
  }

  #read(offset: number): number {
    const word = new BigInt64Array(1)
    readSync(this.#file, word, 0, 8, offset)
    return Number(word[0])
  }
}
