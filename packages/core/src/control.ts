import { closeSync } from 'node:fs'
import {
  controlKind,
  MultireactorError,
  type NativeControlSocket,
  type NativePassedSocket,
  native,
  OptionReader,
} from '@multireactor/addon'
import { InheritedSockets } from '@multireactor/reactor/listen'

/** Where and how a later process takes over the listeners: docs/hot-restart.md. */
export interface ControlSettings {
  /** The Unix socket where a server waits for its successor. */
  path: string
  /** How long the old server may take to finish its connections. Default 5,000. */
  timeoutMs?: number
}

export function readControl(where: string, value: unknown): Required<ControlSettings> | undefined {
  if (value === undefined) return undefined
  const forms = 'the path of a Unix socket, or an object such as { path, timeoutMs }'
  const spec = typeof value === 'string' ? { path: value } : value
  const read = new OptionReader(`${where} control`, spec, ['path', 'timeoutMs'], forms)
  const path = read.string('path')
  if (path === undefined) throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where} control: needs the path of a Unix socket`)
  return { path, timeoutMs: read.integer('timeoutMs', 5_000, 0, 0x7fff_ffff) }
}

/** How long the other side may take for an answer that costs it nothing. */
const patienceMs = 10_000

interface ControlMessage {
  kind: number
  sockets: NativePassedSocket[]
}

/** The messages of the other process, in order. Reads all bytes at once: an unread socket would keep the loop turning. */
class Channel {
  readonly #socket: NativeControlSocket
  readonly #messages: ControlMessage[] = []
  #ended: string | undefined
  #wake: (() => void) | undefined

  constructor(fd: number) {
    this.#socket = new native.ControlSocket(fd, () => this.#read())
  }

  /** Only this user, and root, may hand over sockets or get them. */
  get isTrusted(): boolean {
    const user = this.#socket.peerUser()
    return user === 0 || user === process.geteuid?.()
  }

  get ended(): string | undefined {
    return this.#ended
  }

  #read(): void {
    while (this.#ended === undefined) {
      const received = this.#socket.receive()
      if (received === undefined) return
      if (typeof received === 'string') this.#end(received)
      else this.#messages.push(received)
      this.#wake?.()
    }
  }

  /** False when the other side cannot hear it any more. */
  send(kind: number): boolean {
    return this.#ended === undefined && this.#socket.send(kind) === undefined
  }

  sendListener(runtime: number, group: number, key: string): string | undefined {
    return this.#ended ?? this.#socket.sendListener(runtime, group, key)
  }

  /** Nothing when the other side has gone, or says nothing in time. */
  async next(timeoutMs?: number): Promise<ControlMessage | undefined> {
    let late = false
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            late = true
            this.#wake?.()
          }, timeoutMs)
    while (this.#messages.length === 0 && this.#ended === undefined && !late) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    clearTimeout(timer)
    return this.#messages.shift()
  }

  close(): void {
    this.#end('ECANCELED')
    this.#wake?.()
    for (const { sockets } of this.#messages.splice(0)) for (const { fd } of sockets) closeSync(fd)
  }

  #end(reason: string): void {
    if (this.#ended !== undefined) return
    this.#ended = reason
    this.#socket.close()
  }
}

/** The server whose sockets this process takes over. */
export class Predecessor {
  readonly sockets: InheritedSockets
  readonly #channel: Channel

  private constructor(channel: Channel, sockets: NativePassedSocket[]) {
    this.#channel = channel
    this.sockets = new InheritedSockets(sockets)
  }

  /**
   * Connects to the server on the control socket and gets its listening sockets; undefined when the socket does not exist or a dead server left
   * it.
   */
  static async find(path: string): Promise<Predecessor | undefined> {
    const deadline = performance.now() + patienceMs
    for (;;) {
      const fd = native.connectControl(path)
      if (fd === 'ENOENT' || fd === 'ECONNREFUSED') return undefined
      if (typeof fd === 'string') throw failure(path, `cannot connect: ${fd}`)
      const channel = new Channel(fd)
      const answer = await ask(channel, path)
      if (answer) return new Predecessor(channel, answer)
      channel.close()
      // It was handing over to another process, which answers next, or it refuses this one each time.
      if (performance.now() > deadline) throw failure(path, 'the process there closes the connection at once')
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }

  /** Every reactor accepts: the old server may stop. Resolves when it has, or is gone. */
  async ready(): Promise<void> {
    this.#channel.send(controlKind.ready)
    await this.#channel.next(patienceMs)
    this.close()
  }

  close(): void {
    this.#channel.close()
    this.sockets.closeRest()
  }
}

async function ask(channel: Channel, path: string): Promise<NativePassedSocket[] | undefined> {
  const sockets: NativePassedSocket[] = []
  const refuse = (what: string): never => {
    for (const { fd } of sockets) closeSync(fd)
    channel.close()
    throw failure(path, what)
  }
  if (!channel.isTrusted) refuse('another user’s process answers there')
  channel.send(controlKind.hello)
  for (;;) {
    const message = await channel.next(patienceMs)
    if (!message) {
      if (channel.ended === undefined) refuse(`no answer within ${patienceMs / 1000} seconds`)
      if (channel.ended === 'EPROTO') refuse('the process there is not a multireactor server')
      if (channel.ended === 'EPROTONOSUPPORT') refuse('the running server is of a version that cannot hand over to this one')
      if (channel.ended === 'EMFILE') refuse('this process has no room for the sockets of the old one: raise `ulimit -n`')
      for (const { fd } of sockets) closeSync(fd)
      return undefined
    }
    if (message.kind === controlKind.all) return sockets
    sockets.push(...message.sockets)
  }
}

function failure(path: string, what: string): MultireactorError {
  return new MultireactorError(
    'ERR_MR_CONTROL',
    `serve() control: no hand-over through ${path}: ${what}. Stop the server that runs, or choose another control path`,
  )
}

export interface ControlServerOptions {
  runtime: number
  /** The listening control socket. */
  group: number
  /** The listener groups to hand over, and their keys. */
  listeners: () => { group: number; key: string }[]
  /** Waits for changes under way, and lets none begin before `during` is done. */
  exclusively: (during: () => Promise<void>) => Promise<void>
  /** A successor accepts: nothing is to be accepted here any more. */
  onReleased: () => void
  onFailed: (what: string) => void
}

/** Where a server waits for its successor. */
export class ControlServer {
  readonly #options: ControlServerOptions
  readonly #socket: NativeControlSocket
  readonly #channels = new Set<Channel>()
  /** One successor at a time. */
  #turn: Promise<void> = Promise.resolve()
  #shared = false
  #closed = false

  constructor(options: ControlServerOptions) {
    this.#options = options
    this.#socket = new native.ControlSocket(native.takeListener(options.runtime, options.group), () => this.#accept())
    this.#socket.setReferenced(false)
  }

  /** A waiting process asks again, and finds the successor. Says whether another process has the listening sockets, too. */
  close(): boolean {
    if (this.#closed) return this.#shared
    this.#closed = true
    this.#socket.close()
    for (const channel of this.#channels) channel.close()
    return this.#shared
  }

  #accept(): void {
    for (;;) {
      const fd = this.#socket.accept()
      if (fd === -1) return
      const channel = new Channel(fd)
      if (!channel.isTrusted) {
        channel.close()
        this.#options.onFailed('a process of another user asked for the listening sockets, and was refused')
        continue
      }
      this.#channels.add(channel)
      this.#turn = this.#turn.then(async () => {
        try {
          if (!this.#closed) await this.#handOver(channel)
        } catch (error) {
          if (!this.#closed) this.#options.onFailed((error as Error).message)
        } finally {
          this.#channels.delete(channel)
          channel.close()
        }
      })
    }
  }

  async #handOver(channel: Channel): Promise<void> {
    const hello = await channel.next(patienceMs)
    if (hello?.kind !== controlKind.hello || this.#closed) return
    let released = false
    await this.#options.exclusively(async () => {
      if (this.#closed) return
      released = await this.#share(channel)
    })
    if (released) this.#options.onReleased()
  }

  async #share(channel: Channel): Promise<boolean> {
    const { runtime, group, listeners } = this.#options
    const all = [...listeners().map((one, i) => ({ ...one, key: `${i}|${one.key}` })), { group, key: controlKey }]
    for (const one of all) {
      const error = channel.sendListener(runtime, one.group, one.key)
      if (error !== undefined) throw new Error(`a successor could not be given the listening sockets: ${error}`)
    }
    // From here on the paths are the successor's, unless it dies before it accepts.
    for (const one of all) native.ownPath(runtime, one.group, false)
    this.#shared = true
    channel.send(controlKind.all)
    // Without a limit: its app may take long to start, and the kernel says when it ends.
    const answer = await channel.next()
    if (this.#closed) return false
    if (answer?.kind === controlKind.ready) {
      // First the control socket, then the word: the successor listens there next.
      this.#closed = true
      this.#socket.close()
      channel.send(controlKind.released)
      return true
    }
    this.#shared = false
    for (const one of all) native.ownPath(runtime, one.group, true)
    this.#options.onFailed('a successor ended before it accepted connections; this server goes on')
    return false
  }
}

/** The name of the control socket among the sockets handed over. */
export const controlKey = '|control'
