import { closeSync } from 'node:fs'
import { type NativePassedSocket, passedRole } from '@multireactor/addon'

export interface InheritedListener {
  fds: number[]
  /** The start guard, -1 without one. */
  guard: number
  /** The Unix path to unlink in the end; empty when it is not ours. */
  path: string
}

/** Listening sockets of a predecessor, until a listener takes them. The taker owns them. */
export class InheritedSockets {
  #left: NativePassedSocket[]

  constructor(sockets: readonly NativePassedSocket[]) {
    this.#left = [...sockets]
  }

  /**
   * Those of the first listener that was asked for in the same words; else those that listen at one of the same `addresses`
   * and `port`. Keys begin with the number of their listener, as in `0|port:*:7000`.
   */
  take(asked: string, addresses: string | readonly string[] = [], port = 0): InheritedListener | undefined {
    const listening = this.#left.filter(({ role }) => role === passedRole.listening)
    const isAt = (socket: NativePassedSocket) => addresses.includes(socket.address) && socket.port === port
    const isPath = typeof addresses === 'string'
    const found =
      listening.find(({ key }) => key.slice(key.indexOf('|') + 1) === asked) ??
      listening.find((socket) => (isPath ? socket.address === addresses : port !== 0 && isAt(socket)))
    if (!found) return undefined
    const mine = this.#left.filter(({ key }) => key === found.key)
    this.#left = this.#left.filter(({ key }) => key !== found.key)
    return {
      fds: mine.filter(({ role }) => role === passedRole.listening).map(({ fd }) => fd),
      guard: mine.find(({ role }) => role === passedRole.guard)?.fd ?? -1,
      path: found.path,
    }
  }

  /** Sockets without a listener close; connections queued there go on with another holder of the socket. */
  closeRest(): void {
    for (const { fd } of this.#left.splice(0)) closeSync(fd)
  }
}
