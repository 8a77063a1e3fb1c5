/** What is done with one piece of a peer's bytes is to take about so long. */
const pieceMs = 1
export const leastPiece: number = 4 << 10
const mostPiece = 64 << 10

/** How many bytes may be handed out at once, where a peer decides what they cost: a parser may find ten thousand chunks in 64 KiB. */
export class PieceSize {
  bytes: number

  constructor(first: number = mostPiece) {
    this.bytes = first
  }

  took(bytes: number, ms: number): void {
    if (ms > pieceMs) this.bytes = Math.max(leastPiece, Math.floor((bytes * pieceMs) / ms))
    else if (ms < pieceMs / 4 && bytes === this.bytes) this.bytes = Math.min(mostPiece, bytes * 2)
  }
}
