import { closeSync, openSync, writeSync } from 'node:fs'

export interface SinkOptions {
  /** Bytes that wait for a file that cannot be written. Records beyond them are lost. */
  mostWaiting?: number
  /** Time between two attempts at a file that cannot be written. */
  retryMs?: number
  /** Told of each record that is lost. */
  onLost(records: number): void
  /** Told when the file cannot be written, when that is over, and how much it has cost. */
  say(line: string): void
}

const everyMs = 50
const batchBytes = 256 << 10

/**
 * Appends records to a file, one JSON line each, many at a time. Every worker has one of its own for the same file: an append of
 * the kernel is not torn by another one.
 *
 * When the file cannot be written, records wait, up to `mostWaiting` bytes; further records are lost, counted and reported. The file is opened
 * again for each attempt, so one that was moved, or a file system that was mounted again, is found.
 */
export class Sink {
  readonly #path: string
  readonly #options: Required<SinkOptions>
  #fd: number | undefined
  #lines: Buffer[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  /** Why the file cannot be written. */
  #failure: string | undefined
  #lost = 0
  #lostTold = 0

  constructor(path: string, options: SinkOptions) {
    this.#path = path
    this.#options = { mostWaiting: 4 << 20, retryMs: 1_000, ...options }
  }

  write(record: object): void {
    const line = Buffer.from(`${JSON.stringify(record)}\n`)
    if (this.#failure !== undefined && this.#bytes + line.length > this.#options.mostWaiting) return this.#lose(1)
    this.#lines.push(line)
    this.#bytes += line.length
    if (this.#failure !== undefined) return
    // A worker that writes takes no frames meanwhile: a slow disk slows the senders down, and fills no memory.
    if (this.#bytes >= batchBytes) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), everyMs)
  }

  /** One last attempt. */
  close(): void {
    this.#flush()
    clearTimeout(this.#timer)
    if (this.#lines.length > 0) {
      this.#lose(this.#lines.length)
      this.#lines = []
      this.#tellLost()
    }
    this.#closeFile()
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#lines.length === 0) return
    const bytes = Buffer.concat(this.#lines)
    let written = 0
    try {
      // Reactors load this module, too, and write nothing.
      this.#fd ??= openSync(this.#path, 'a')
      while (written < bytes.length) written += writeSync(this.#fd, bytes, written)
    } catch (error) {
      this.#keepFrom(written)
      this.#fail(error as NodeJS.ErrnoException)
      return
    }
    this.#lines = []
    this.#bytes = 0
    if (this.#failure === undefined) return
    this.#failure = undefined
    this.#options.say(`${this.#path} is written again`)
    this.#tellLost()
  }

  /** A record cut off by a full disk is written once more, as a line of its own: other workers may have written behind its first part. */
  #keepFrom(written: number): void {
    let whole = 0
    while (this.#lines[0] && whole + this.#lines[0].length <= written) whole += this.#lines.shift()!.length
    if (whole < written) this.#lines[0] = Buffer.concat([Buffer.from('\n'), this.#lines[0]!])
    this.#bytes = this.#lines.reduce((sum, line) => sum + line.length, 0)
  }

  #fail({ code, message }: NodeJS.ErrnoException): void {
    this.#closeFile()
    const failure = code ?? message
    if (failure !== this.#failure) {
      const { mostWaiting, retryMs } = this.#options
      const room = `${Math.round(mostWaiting / 2 ** 20)} MiB of records wait`
      this.#options.say(`${this.#path} cannot be written (${failure}): ${room}, more are lost; next attempt in ${retryMs} ms`)
    }
    this.#failure = failure
    this.#tellLost()
    this.#timer = setTimeout(() => this.#flush(), this.#options.retryMs)
  }

  #lose(records: number): void {
    this.#lost += records
    this.#options.onLost(records)
  }

  #tellLost(): void {
    if (this.#lost === this.#lostTold) return
    this.#options.say(`${this.#lost - this.#lostTold} records are lost, ${this.#lost} by now`)
    this.#lostTold = this.#lost
  }

  #closeFile(): void {
    if (this.#fd !== undefined) {
      try {
        closeSync(this.#fd)
      } catch {
        // Some file systems report here a failed write. There is no second attempt at a close.
      }
    }
    this.#fd = undefined
  }
}
