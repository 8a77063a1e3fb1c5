/** The work on one piece of a peer's bytes should take about this long. */
const pieceMs = 1
export const leastPiece: number = 4 << 10
const mostPiece = 64 << 10

/** How many bytes may be handed out at once, where a peer decides their cost: a parser may find ten thousand chunks in 64 KiB. */
export class PieceSize {
  bytes: number
  readonly #pardons: number
  #slow = 0

  /**
   * `pardons`: so many slow pieces in a row change nothing. The clock also runs while another thread has the core, which befalls one piece and
   * hardly the next one.
   */
  constructor(first: number = mostPiece, pardons: number = 0) {
    this.bytes = first
    this.#pardons = pardons
  }

  took(bytes: number, ms: number): void {
    if (ms > pieceMs) {
      if (++this.#slow > this.#pardons) this.bytes = Math.max(leastPiece, Math.floor((bytes * pieceMs) / ms))
      return
    }
    this.#slow = 0
    if (ms < pieceMs / 4 && bytes === this.bytes) this.bytes = Math.min(mostPiece, bytes * 2)
  }
}
