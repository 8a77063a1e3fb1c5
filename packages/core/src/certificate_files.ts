import { type FSWatcher, readFileSync, statSync, watch } from 'node:fs'
import { dirname } from 'node:path'
import type { ListenTls } from '@multireactor/reactor'

/** How long the files must have been quiet before they are read: two of them change, one after the other. */
const quietMs = 200
/** A pair that does not fit may be half of a change: it is tried once more, and reported then. */
const secondTryMs = 2_000
/** How often the files are looked at where no event tells of a change: on network file systems, or in the folder that a link leads to. */
const pollMs = 10_000

export interface CertificateFile {
  flag: string
  file: string
}

/** The two files of `--tls-cert` and `--tls-key`: read at the start, and again when they change. */
export class CertificateFiles {
  readonly #cert: CertificateFile
  readonly #key: CertificateFile
  /** The pair that was read last, usable or not. */
  #current: { cert: Buffer; key: Buffer } | undefined
  #marks = ''
  readonly #watchers: FSWatcher[] = []
  #poll: NodeJS.Timeout | undefined
  #quiet: NodeJS.Timeout | undefined
  #watches = false

  constructor(cert: CertificateFile, key: CertificateFile) {
    this.#cert = cert
    this.#key = key
  }

  /** Throws the error of the file system, with the option's name. */
  read(): ListenTls {
    this.#marks = this.#marksNow()
    this.#current = { cert: contentOf(this.#cert), key: contentOf(this.#key) }
    return { ...this.#current }
  }

  /**
   * Calls `renew` with each new pair, until `close()`. The folders are watched, since new files take the place of the old ones: by
   * their name, by a link of theirs, or by a link of their folder. A rejection of `renew` goes to `refused`, once for each pair.
   */
  watch(renew: (tls: ListenTls) => Promise<void>, refused: (error: Error) => void): void {
    this.#watches = true
    const look = (waitMs: number, isSecond: boolean): void => {
      if (!this.#watches) return
      clearTimeout(this.#quiet)
      this.#quiet = setTimeout(() => void this.#look(renew, refused, look, isSecond), waitMs).unref()
    }
    for (const folder of new Set([dirname(this.#cert.file), dirname(this.#key.file)])) {
      try {
        const watcher = watch(folder, { persistent: false }, () => look(quietMs, false))
        // Such as a folder that has been removed: the poll goes on.
        watcher.on('error', () => watcher.close())
        this.#watchers.push(watcher)
      } catch {
        // There may be too many watchers on this machine.
      }
    }
    this.#poll = setInterval(() => {
      if (this.#marksNow() !== this.#marks) look(quietMs, false)
    }, pollMs).unref()
    // A change between the first look and this one.
    look(0, false)
  }

  close(): void {
    this.#watches = false
    clearTimeout(this.#quiet)
    clearInterval(this.#poll)
    for (const watcher of this.#watchers) watcher.close()
  }

  async #look(
    renew: (tls: ListenTls) => Promise<void>,
    refused: (error: Error) => void,
    look: (waitMs: number, isSecond: boolean) => void,
    isSecond: boolean,
  ): Promise<void> {
    const before = this.#current!
    try {
      const tls = this.read()
      const { cert, key } = this.#current!
      if (cert.equals(before.cert) && key.equals(before.key)) return
      await renew(tls)
    } catch (error) {
      if (!this.#watches) return
      if (isSecond) return refused(error as Error)
      this.#current = before
      look(secondTryMs, true)
    }
  }

  /** Changes when one of the files, or a link to it, changes. */
  #marksNow(): string {
    return [this.#cert.file, this.#key.file].map(markOf).join()
  }
}

function markOf(file: string): string {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(file)
    return [dev, ino, size, mtimeMs, ctimeMs].join()
  } catch {
    return 'none'
  }
}

function contentOf({ flag, file }: CertificateFile): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new Error(`${flag}: ${(error as Error).message}`, { cause: error })
  }
}
