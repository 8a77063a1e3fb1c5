const newline = 10

/** Chunks in, lines out. Keeps only the part of a line whose end has not arrived. */
export class LineSplitter {
  #partial: Buffer | undefined

  push(chunk: Buffer, line: (text: string) => void): void {
    const bytes = this.#partial === undefined ? chunk : Buffer.concat([this.#partial, chunk])
    let start = 0
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, start)) {
      line(bytes.toString('utf8', start, end))
      start = end + 1
    }
    this.#keep(bytes, start)
  }

  /** The same without making text: the answers to the lines, which come with their ends, as one. Undefined: no line is whole. */
  answer(chunk: Buffer, handle: (line: Buffer) => Uint8Array): Uint8Array | undefined {
    const replies: Uint8Array[] = []
    const bytes = this.#partial === undefined ? chunk : Buffer.concat([this.#partial, chunk])
    let start = 0
    for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, start)) {
      replies.push(handle(bytes.subarray(start, end + 1)))
      start = end + 1
    }
    this.#keep(bytes, start)
    return replies.length > 1 ? Buffer.concat(replies) : replies[0]
  }

  #keep(bytes: Buffer, start: number): void {
    this.#partial = start === bytes.length ? undefined : bytes.subarray(start)
  }
}
