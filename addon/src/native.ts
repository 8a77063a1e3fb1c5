/**
 * The native classes and functions, declared once. Everything here is internal to the packages: users meet it through
 * `@multireactor/reactor`, `@multireactor/pool` and `@multireactor/core`.
 */

import type {
  balancePolicies,
  closeReasons,
  framingKind,
  framingResult,
  pipeResult,
  reactorCounterNames,
  runModes,
  subscribeResult,
  workerCounterNames,
  writeResult,
} from './wire.js'

type Of<Table> = Table[keyof Table]
export type WriteResult = Of<typeof writeResult>

/** The native form of a framing; see `native/src/codec/framer.h`. */
export interface NativeFraming {
  kind: FramingKind
  maxBytes: number
  delimiter?: Uint8Array
  trimCarriageReturn?: boolean
  fixedBytes?: number
  lengthType?: number
  lengthOffset?: number
  lengthAdjustment?: number
  lengthIncludesHeader?: boolean
  strip?: number
  maxElements?: number
  maxBulkBytes?: number
  maxLineBytes?: number
  maxDepth?: number
  batch?: boolean
  mqttTypes?: number
  frameMs?: number
  windowBits?: number
  maxHeadBytes?: number
  maxHeaders?: number
  wholeBytes?: number
  streamsBody?: boolean
}

/** A listener on the native side: `ListenerConfig` of `native/src/reactor/listener.h`, whose names and ranges it checks. */
export interface NativeListener {
  framing: NativeFraming
  outHighBytes: number
  outMaxBytes: number
  readonly [option: string]: unknown
}

/** Where to connect to, or from: a literal address with its port, or a Unix path. */
export type NativeTarget = { host: string; port: number } | { path: string }

/**
 * A reactor, as the thread that drives it sees it. Connections are named by slot and generation. In a thread that has ended, whose last
 * microtasks Node may still run when one of them has thrown, every method does nothing and returns undefined; the types say so where
 * that would be taken for something else.
 */
export interface NativeReactorDriver {
  /** The events of the batch at hand, 1,024 rows at most, and how far the thread has got with them in the last word. Native memory. */
  readonly eventRows: Uint32Array
  /** Writes that wait for the end of the batch, or for the next call: rows of slot, generation, offset, length. They outlive the thread. */
  readonly boxCount: Uint32Array
  readonly boxRows: Uint32Array
  readonly boxBytes: Uint8Array
  close(): void
  setReferenced(referenced: boolean): void
  addListener(listener: NativeListener): number
  listenerCount(): number
  updateListener(number: number, listener: NativeListener): void
  restoreConnections(lost: boolean): void
  quiesce(): void
  /** Rows of connections that have closed, for a thread that is about to `close()`; none inside of a turn. */
  lastRows(): Uint32Array
  keepState(slot: number, generation: number, state: Uint8Array): boolean
  setHasData(slot: number, generation: number, on: boolean): boolean
  /** The place in the order that a frame would have now, or -1. */
  hold(slot: number, generation: number, on: boolean): number
  moveTo(slot: number, generation: number, reactor: number, rawEnd: number): boolean
  moveNow(slot: number, generation: number, state: Uint8Array | undefined): boolean
  retire(abandoned: boolean): void
  assign(slot: number, generation: number, reactor: number): boolean
  loads(): number[]
  /** Its number, or the errno's name: ECANCELED the reactor is closing, ENOSPC the process has as many as it may. */
  connect(
    target: NativeTarget,
    local: NativeTarget | undefined,
    client: NativeListener,
    timeoutMs: number,
  ): number | string | undefined
  cancelConnect(request: number): void
  pipe(
    slotA: number,
    generationA: number,
    rawEndA: number,
    slotB: number,
    generationB: number,
    rawEndB: number,
  ): Of<typeof pipeResult> | undefined
  staysHere(slot: number, generation: number): boolean
  stream(slot: number, generation: number): boolean
  finish(slot: number, generation: number): boolean
  /** Fresh connections go to siblings; those that cannot wait for the next thread, */
  relieve(): void
  /** and no longer. */
  welcome(): void
  /** Connections with TLS answer the requests they have read, send close_notify and close; idle ones close after `graceMs`. */
  endSecure(graceMs: number): void
  feed(slot: number, generation: number, plain: Uint8Array): boolean
  feedEnd(slot: number, generation: number): boolean
  decrypted(slot: number, generation: number, readBytes: number): boolean
  established(slot: number, generation: number): boolean
  writeCipher(slot: number, generation: number, bytes: Uint8Array): boolean
  encrypted(slot: number, generation: number, bytes: number): boolean
  cipherEnd(slot: number, generation: number): boolean
  secureFailed(slot: number, generation: number): boolean
  listen(listener: number, group: number, member: number, spread: boolean): void
  leaveListeners(graceMs: number): void
  drain(lingerMs: number): void
  destroyAll(reason: number): number
  flush(): void
  write(slot: number, generation: number, data: string | Uint8Array, inOrder: boolean): WriteResult
  /** The write of the stream that owns the connection. */
  writeStream(slot: number, generation: number, data: string | Uint8Array): WriteResult
  end(slot: number, generation: number, inOrder: boolean): boolean
  destroy(slot: number, generation: number, reason: number): boolean
  /** Its close is a reset: RST instead of FIN. */
  resetOnClose(slot: number, generation: number): boolean
  /** Closes it behind the replies to the frames before `place`; -1: behind all. */
  fail(slot: number, generation: number, reason: number, place: number): boolean
  pause(slot: number, generation: number, rawEnd: number): boolean
  /** Frames cut behind `rawEnd` wait until the out buffer has drained. False: it need not. */
  stopBehind(slot: number, generation: number, rawEnd: number): boolean
  resume(slot: number, generation: number): boolean
  setFraming(slot: number, generation: number, framing: NativeFraming, rawEnd: number): Of<typeof framingResult>
  setTimeoutMs(slot: number, generation: number, milliseconds: number): boolean
  setNoDelay(slot: number, generation: number, on: boolean): boolean
  setKeepAlive(slot: number, generation: number, on: boolean, delaySeconds: number): boolean
  /** `how`: of `submitHow`. */
  submit(slot: number, generation: number, frame: string | Uint8Array, how: number): number | undefined
  defer(slot: number, generation: number): number | undefined
  countLateCall(): void
  /** A message of a hook that was not sent, its peer being slow. */
  countDropped(): void
  settleDeferred(
    slot: number,
    generation: number,
    sequence: number,
    data: string | Uint8Array,
    flags: number,
  ): WriteResult | undefined
  inlineBox(): NativeInlineBox
  settleInline(): void
  replyInline(
    slot: number,
    generation: number,
    sequence: number,
    flags: number,
    data: string | Uint8Array,
    frameBytes: number,
    credit: number,
    stream: number,
  ): void
  /** Sequence in the high half, cost key in the low one, for a frame that runs here at once; -1: the pool or another hook answers it. */
  place(slot: number, generation: number, frame: Uint8Array): number
  /** A frame of the batch at hand, before it runs. True: there is no room for its reply, and it comes again. */
  setAside(slot: number, generation: number, sequence: number, frame: Uint8Array): boolean
  connectionId(slot: number, generation: number): bigint | undefined
  watchGone(on: boolean): void
  isGone(id: bigint): boolean
  judgeOverrun(key: number, wasOne: boolean): void
  /** `holds`: this thread keeps the rest, and gets only the bytes behind it. */
  consumed(slot: number, generation: number, bytes: number, needed: number, holds: boolean): boolean
  /** The bytes behind `rawEnd` are cut again in the next turn: the hooks of this batch have had their time. */
  handBack(slot: number, generation: number, rawEnd: number, begun: number): boolean
  details(slot: number, generation: number): NativeDetails | undefined
  /** Also of a connection that has closed in this turn. */
  peer(slot: number, generation: number): [remoteAddress: string, remotePort: number, family: 0 | 4 | 6] | undefined
  localAddress(slot: number, generation: number): [address: string, port: number] | undefined
  subscribe(slot: number, generation: number, topic: string, policy: number): Of<typeof subscribeResult>
  unsubscribe(slot: number, generation: number, topic: string): boolean | undefined
  subscriptions(slot: number, generation: number): string[] | undefined
  /** `deflated`: the same for WebSockets that inflate with a window of `windowBits` or more. */
  publish(topic: string, data: string | Uint8Array, deflated?: Uint8Array, windowBits?: number): number
  answerCall(number: number, outcome: number, data: string | Uint8Array): boolean
}

/** Frames and replies of a reactor that runs `parse` itself; see `native/src/reactor/inline_box.h`. Outlives the thread. */
export interface NativeInlineBox {
  /** A frame is running (odd), whether this batch is to be measured, rows, samples. */
  readonly words: Uint32Array
  readonly rows: Uint32Array
  readonly samples: Uint32Array
  readonly bytes: Uint8Array
}

export type NativeDetails = [
  remoteAddress: string,
  remotePort: number,
  family: 0 | 4 | 6,
  bytesRead: number,
  bytesWritten: number,
  waiting: number,
  inFlight: number,
]

/** A pool worker, as its thread sees it. */
export interface NativeWorkerDriver {
  /** Cursor in the low half, limit in the high half; counted in with `Atomics`. */
  readonly batchState: Uint32Array
  /** Replies that wait for `settle()`: rows of token, flags, offset, length. They outlive the thread. */
  readonly outWords: Uint32Array
  /** Costs of frames: key, runs, ns, flags. */
  readonly samples: Uint32Array
  readonly outRows: Uint32Array
  readonly outBytes: Uint8Array
  close(): void
  take(rows: Uint32Array, slab: Uint8Array, used: number, most: number): number
  frameBytes(token: number): Buffer | undefined
  peer(token: number): [address: string, port: number] | undefined
  isGone(id: bigint): boolean
  settle(): void
  part(token: number, flags: number, data: string | Uint8Array, credit: number, stream: number): void
  finish(started: number): void
  goOn(): void
  hold(token: number): void
  watchGone(on: boolean): void
  park(forWork: boolean): boolean
}

/** A thread that sends to connections or calls the pool. */
export interface NativePort {
  close(): void
  setReferenced(referenced: boolean): void
  send(id: bigint, data: string | Uint8Array): number
  destroy(id: bigint): number
  /** `deflated`: the same for WebSockets that inflate with a window of `windowBits` or more. */
  publish(topic: string, data: string | Uint8Array, deflated?: Uint8Array, windowBits?: number): number
  callReactor(reactor: number, data: string | Uint8Array): number
  run(listener: number, data: string | Uint8Array, isValue: boolean): number
  forget(run: number): void
  awaitRoom(): void
}

export interface NativeCounters {
  reactors: number[][]
  closed: number[][]
  workers: number[][]
  queueTasks: number
  queueFrames: number
  queueBytes: number
  memory: MemoryUse
  repliesUnrouted: number
  publicationsRefused: number
}

/** Memory that a server holds for its connections, in bytes; see `MemoryUse` in `native/src/exchange/exchange.h`. */
export interface MemoryUse {
  /** By reactors: frames in part, unsent bytes, replies held for the order. */
  buffered: number
  /** Frames on their way through the pool: queued, claimed, or being worked on. */
  tasks: number
  /** In mailboxes: replies and sends on their way. */
  messages: number
  /** Received bytes that JavaScript holds, or has not collected yet. */
  received: number
}

export interface NativeRuntimeOptions {
  reactors: number
  workers: number
  /** How far the runtime can be resized. */
  maxReactors: number
  maxWorkers: number
  maxTasks: number
  maxBytes: number
  /** 0 pause, 1 reject, 2 close. */
  onQueueFull: number
  maxWaitMs: number
  maxConnections: number
  maxPerAddress: number
  /** 0: no limit. */
  acceptsPerSecond: number
  maxMemoryBytes: number
}

export interface NativeListenerSpec {
  host: string
  port: number
  path?: string
  members: number
  backlog: number
  ipv6Only: boolean
  shared: boolean
  /** A PROXY header comes first, from these addresses only. */
  proxyFrom?: readonly string[]
  /** Of a Unix path; without it, as the umask says. */
  mode?: number
}

/** A group of listening sockets, or the errno's name. `culprit`: the descriptor that does not fit. */
export type NativeOpenListener =
  | { error: string; culprit?: number }
  | { error?: undefined; group: number; address: string; port: number; members: number; fixed: boolean }

/** A descriptor that came from another process; see `native/src/net/fd_passing.h`. The receiver owns it. */
export interface NativePassedSocket {
  role: number
  key: string
  path: string
  fd: number
  address: string
  port: number
}

/** One end of the control socket. Owns its descriptor. */
export interface NativeControlSocket {
  accept(): number
  peerUser(): number
  send(kind: number): string | undefined
  sendListener(runtime: number, group: number, key: string): string | undefined
  receive(): undefined | string | { kind: number; sockets: NativePassedSocket[] }
  close(): void
  setReferenced(referenced: boolean): void
}

export interface Native {
  ReactorDriver: new (
    runtime: number,
    index: number,
    onEvents: (count: number, oldestSlab: number, currentSlab: number, more: number) => void,
    newSlab: (size: number, id: number) => Uint8Array,
    ownsRuntime?: boolean,
  ) => NativeReactorDriver
  WorkerDriver: new (
    runtime: number,
    index: number,
    onReady: () => void,
    onCredit: (stream: number, amount: number, gone: boolean) => void,
    onGone: (id: bigint) => void,
  ) => NativeWorkerDriver
  Port: new (
    runtime: number,
    onSent: (request: number, outcome: number) => void,
    onAnswer: (request: number, outcome: number, bytes: Buffer) => void,
    onResult: (run: number, flags: number, bytes: Buffer) => void,
    onRoom: () => void,
    ownsRuntime?: boolean,
  ) => NativePort
  createRuntime(options: NativeRuntimeOptions): number
  removeRuntime(runtime: number): void
  describe(runtime: number, text: string): void
  description(runtime: number): string
  activeReactors(runtime: number): number
  openListener(runtime: number, spec: NativeListenerSpec): NativeOpenListener
  /** On failure the sockets stay the caller's; the guard does not. */
  adoptListener(
    runtime: number,
    fds: readonly number[],
    spec: {
      guard: number
      path: string
      borrowed: boolean
      members: number
      backlog: number
      ipv6Only: boolean
      shared: boolean
      proxyFrom?: readonly string[]
    },
  ): NativeOpenListener
  /** Of a group that no reactor is going to take. */
  closeListener(runtime: number, group: number): void
  ownPath(runtime: number, group: number, on: boolean): void
  ControlSocket: new (fd: number, onReadable: () => void) => NativeControlSocket
  connectControl(path: string): number | string
  takeListener(runtime: number, group: number): number
  /** The soft limit of open files of this process. */
  fileLimit(): number
  /** Memory for received bytes, of whole pages that go back to the kernel; with anything in it. Counts until it is collected. */
  newSlab(runtime: number, size: number): ArrayBuffer
  /** Of the calling thread; false when the kernel refuses. */
  setThreadNice(nice: number): boolean
  isAddressRange(text: string): boolean
  readCounters(runtime: number): NativeCounters
  /** Returns freed memory that is not needed any more to the system. Called every few seconds, from one thread. */
  giveBackMemory(runtime: number, isRound: boolean): void
  /** Collects the garbage of the calling thread. */
  collectGarbage(): void
  runningMs(runtime: number, worker: number): number
  /** A worker that looked now would find something. */
  workWaits(runtime: number): boolean
  inlineRunningMs(runtime: number, reactor: number): number
  endForTime(runtime: number, reactor: number): void
  reapWorker(
    runtime: number,
    worker: number,
    retry: boolean,
    timedOut: boolean,
  ): { requeued: number; retried: number; lost: number }
  makeReactors(runtime: number, count: number): void
  resizeWorkers(runtime: number, count: number): void
  growListener(runtime: number, group: number, more: number): number | string
  keepListeners(runtime: number, group: number, count: number): void
  /** The number of the CPU that each socket's reactor is pinned to; the error's name when it failed. */
  steerByCpu(runtime: number, group: number, cpus: readonly number[]): string | undefined
  /** The CPUs that the calling thread may run on. */
  allowedCpus(): number[]
  /** The calling thread, to one CPU; the error's name when it failed. */
  pinThread(cpu: number): string | undefined
  forwardMail(runtime: number, reactor: number): void
  wakeReactor(runtime: number, reactor: number): void
  setReactorActive(runtime: number, reactor: number, on: boolean): void
  forgetReactorThread(runtime: number, reactor: number): void
  /** Everything that `wire.ts` has, as C++ has it. */
  wireTables(): Record<string, unknown>
}

/** Options of `createRuntime` beside the numbers of threads, without any limit: for a reactor or a pool that stands alone. */
export const unlimited: Omit<NativeRuntimeOptions, 'reactors' | 'workers' | 'maxReactors' | 'maxWorkers'> = {
  maxTasks: 1,
  maxBytes: 1,
  onQueueFull: 0,
  maxWaitMs: 0,
  maxConnections: 0xffff_ffff,
  maxPerAddress: 0xffff_ffff,
  acceptsPerSecond: 0,
  maxMemoryBytes: Number.MAX_SAFE_INTEGER,
}

/** The policies that a user may choose; `'app'` follows from a `balance` hook. */
export type BalancePolicy = Exclude<(typeof balancePolicies)[number], 'app'>
/** Where `parse` runs: in the pool, on the reactor, or wherever it costs less (docs/placement.md). */
export type RunMode = (typeof runModes)[number]
/** Why a connection closed: the argument of the `close` hook and a counter of `stats()`; see docs/errors.md. */
export type CloseReason = (typeof closeReasons)[number]
export type ReactorCounterName = (typeof reactorCounterNames)[number]
export type WorkerCounterName = (typeof workerCounterNames)[number]
export type FramingKind = (typeof framingKind)[keyof typeof framingKind]

/** Gives the columns of a counter row their names. */
export function named<Name extends string>(names: readonly Name[], row: readonly number[]): Record<Name, number> {
  return Object.fromEntries(names.map((name, i) => [name, row[i] ?? 0])) as Record<Name, number>
}
