import { closeSync, openSync, writeSync } from 'node:fs'

/**
 * Appends records to a file, one JSON line each, many at a time. Every worker has one of its own for the same file: an append of
 * the kernel is not torn by another one.
 */
export class Sink {
  static readonly #everyMs = 50
  static readonly #mostBytes = 256 << 10
  readonly #path: string
  #fd: number | undefined
  #lines: string[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor(path: string) {
    this.#path = path
  }

  write(record: object): void {
    const line = `${JSON.stringify(record)}\n`
    this.#lines.push(line)
    this.#bytes += line.length
    // A worker that writes takes no frames meanwhile: a slow disk slows the senders down, and fills no memory.
    if (this.#bytes >= Sink.#mostBytes) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), Sink.#everyMs)
  }

  close(): void {
    this.#flush()
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#lines.length === 0) return
    const bytes = Buffer.from(this.#lines.join(''))
    this.#lines = []
    this.#bytes = 0
    // Reactors load this module, too, and write nothing.
    this.#fd ??= openSync(this.#path, 'a')
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at)
  }
}
