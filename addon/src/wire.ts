/**
 * Every table that the C++ and the TypeScript side both have: numbers of enums, bits, columns of rows, limits. C++ exports its side as
 * `native.wireTables()`, by these names, and a test compares the two. TypeScript keeps constants of its own since hot paths must not look
 * numbers up. Nothing else in the packages may spell such a number.
 */

// ---------------------------------------------------------------- rows of 32-bit words

/** Events of a reactor; see `native/src/reactor/event_batch.h`. */
export const event = {
  open: 1,
  frame: 2,
  received: 3,
  end: 4,
  drain: 5,
  timeout: 6,
  close: 7,
  callResult: 8,
  drained: 9,
  acceptError: 10,
  restore: 11,
  handover: 12,
  moved: 13,
  quiet: 14,
  parse: 15,
  credit: 16,
  gone: 17,
  overrun: 18,
  balance: 19,
  badFrame: 20,
  shrink: 21,
  cipher: 24,
  plain: 25,
  connected: 32,
  connectFailed: 33,
  called: 34,
} as const

/** The first words of every row of an event batch: the event and `waiting` share the first word. */
export const eventRow = {
  words: 8,
  event: 0,
  slot: 1,
  generation: 2,
  /** In the first word, above the event: the unsent bytes of the connection, in units of `waitingUnit`. */
  waitingShift: 16,
  waitingUnit: 4096,
  /** In place of `waiting`: the connection has closed, and the frame cannot be cut again. */
  lastChance: 0xffff,
} as const

/** Where the values of an event stand in its row; see `native/src/reactor/event_columns.h`. */
export const column = {
  open: { listener: 3 },
  frame: { slab: 3, offset: 4, length: 5, rawEnd: 6, info: 7 },
  received: { slab: 3, offset: 4, length: 5, unread: 6 },
  end: {},
  drain: {},
  timeout: {},
  /** `reason`: an errno in the bits above the lowest eight. */
  close: { reason: 3, readLow: 4, readHigh: 5, writtenLow: 6, writtenHigh: 7 },
  callResult: { slab: 3, offset: 4, length: 5, run: 6, flags: 7 },
  drained: {},
  acceptError: { listener: 3, errno: 4 },
  /** `flags`: `restoreFlag`s in the high half, the listener in the low one. Length 0: `slab` and `offset` are the halves of the id. */
  restore: { slab: 3, offset: 4, length: 5, flags: 6 },
  handover: {},
  moved: {},
  quiet: {},
  parse: { slab: 3, offset: 4, length: 5, sequence: 6, key: 7 },
  credit: { stream: 3, amount: 4, gone: 5 },
  gone: { idLow: 3, idHigh: 4 },
  overrun: { key: 3, ns: 4 },
  balance: { listener: 3 },
  badFrame: { reason: 3, code: 4, rawEnd: 6 },
  shrink: {},
  cipher: { slab: 3, offset: 4, length: 5, listener: 6 },
  plain: { slab: 3, offset: 4, length: 5 },
  connected: { request: 3 },
  connectFailed: { request: 3, errno: 4 },
  called: { slab: 3, offset: 4, length: 5, number: 6 },
} as const

/** A write that waits in the reactor's write box; see `native/src/reactor/write_box.h`. */
export const writeRow = { words: 4, slot: 0, generation: 1, offset: 2, length: 3 } as const

/** Words of the box of frames that run on a reactor's thread; see `native/src/reactor/inline_box.h`. */
export const inlineWord = { running: 0, measured: 1, count: 2, samples: 3, full: 4 } as const

/** A reply in that box. */
export const inlineRow = {
  words: 8,
  slot: 0,
  generation: 1,
  sequence: 2,
  flags: 3,
  offset: 4,
  length: 5,
  frameBytes: 6,
} as const

/** Words of a pool worker's out box; see `native/src/exchange/worker_slot.h`. */
export const outWord = { count: 0, samples: 1, measured: 2 } as const

/** A reply in that box. */
export const outRow = { words: 4, token: 0, flags: 1, offset: 2, length: 3 } as const

/** A frame that a pool worker has claimed; see `native/src/exchange/task_row.h`. */
export const taskRow = {
  words: 8,
  token: 0,
  key: 1,
  offset: 2,
  length: 3,
  idLow: 4,
  idHigh: 5,
  sequence: 6,
  flags: 7,
  /** In place of an offset: the bytes are not in the slab. */
  elsewhere: 0xffff_ffff,
  /** Rows of one batch. */
  most: 128,
} as const

/** The measured cost of frames of one kind. */
export const sampleRow = { words: 4, key: 0, runs: 1, ns: 2, flags: 3 } as const

// ---------------------------------------------------------------- bits

/** Flags of a restore row. */
export const restoreFlag = { hasState: 1, dataLost: 2, ended: 4, webSocket: 8 } as const
/** Above them, of a WebSocket: `windowBits` of its framing. */
export const restoreWindowShift = 8

/** Which hooks an app has; see `native/src/reactor/listener.h`. */
export const hookBit = { open: 1, message: 2, drain: 4, end: 8, timeout: 16, close: 32, restore: 64, badFrame: 1024 } as const

/** Flags of a reply; see `native/src/exchange/message.h`. `wasHeld`: of one of the inline box, `hold` had been called for its frame. */
export const replyFlag = {
  last: 1,
  end: 2,
  destroy: 4,
  error: 8,
  run: 16,
  lost: 32,
  timedOut: 64,
  overloaded: 256,
  wasHeld: 0x8000,
} as const

/** Flags of a frame, for the thread that runs it; see `Task` in `native/src/exchange/task.h`. */
export const frameFlag = { run: 1, refused: 2, value: 8, setAside: 16 } as const
/** Above them: how often the frame has been begun before. */
export const frameAttemptShift = 8

/** Flags of a sample: some of its frames returned a promise, so that the rest of their work is not measured; they ran on cold code. */
export const sampleFlag = { asynchronous: 1, cold: 2 } as const

/**
 * The key of a frame's cost, by listener and size class; see `native/src/exchange/cost_table.h`. Beside it: the frame is to be timed alone;
 * it had been set aside, and was let go. `placed`: `place()` answers with the sequence times this, and the key.
 */
export const costKey = { listenerShift: 8, timedAlone: 0x8000_0000, permitted: 0x4000_0000, placed: 0x1_0000 } as const

/** `info` of a frame of `http1()`; see `native/src/codec/http1.h`. */
export const http1Info = {
  headMask: 0xf_ffff,
  close: 0x10_0000,
  http10: 0x20_0000,
  head: 0x40_0000,
  chunked: 0x80_0000,
  contentFollows: 0x100_0000,
  expects: 0x200_0000,
  upgrade: 0x400_0000,
  content: 0x1000_0000,
  lastContent: 0x2000_0000,
} as const

/** `info` of a frame of a WebSocket; see `native/src/codec/websocket.h`. */
export const webSocketInfo = { opcode: 15, fin: 16, ascii: 32, compressed: 64 } as const

// ---------------------------------------------------------------- kinds

/** How bytes are cut into frames; see `native/src/codec/framer.h`. */
export const framingKind = {
  raw: 0,
  delimiter: 1,
  fixed: 2,
  lengthPrefixed: 3,
  custom: 4,
  respCommand: 10,
  respValue: 11,
  mqtt: 12,
  http1: 13,
  webSocket: 14,
} as const

/** How the length of a frame is written. */
export const lengthTypes = ['u8', 'u16be', 'u16le', 'u32be', 'u32le', 'u64be', 'varint'] as const
/** In place of a number of bytes to strip: the header, however long it is. */
export const stripHeader = 0xffff_ffff

/** Where frames run that pass no hook; see `Run` in `native/src/reactor/listener.h`. */
export const runModes = ['pool', 'inline', 'auto'] as const

/** Which reactor gets a fresh connection; see `native/src/exchange/balance.h`. `'app'`: its balance hook says. */
export const balancePolicies = ['kernel', 'least-connections', 'address', 'app'] as const

/** The fate of a publication for a slow subscriber; see `native/src/reactor/subscription.h`. */
export const slowPolicies = ['close', 'drop', 'latest'] as const

/** The effect of a full task queue; see `QueueFull` in `native/src/exchange/exchange.h`. */
export const queueFullPolicies = ['pause', 'reject', 'close'] as const

/** The purpose of a frame in the pool: a reply to its connection, or a result for the caller, of `parse` or of `task`. */
export const submitHow = { reply: 0, run: 1, value: 2 } as const

/** How a pool worker measures a batch. `mayBeDear`: a frame of it may cost more than a hop, or has never run. */
export const measured = { asWhole: 0, byKind: 1, mayBeDear: 2 } as const

/** `PassedSocket::Role`; see `native/src/net/fd_passing.h`. */
export const passedRole = { listening: 1, guard: 2 } as const

/** `ControlMessage::Kind` */
export const controlKind = { hello: 1, sockets: 2, all: 3, ready: 4, released: 5 } as const

/** `Peer::Family` */
export const peerFamily = { unnamed: 0, ipv4: 4, ipv6: 6 } as const

// ---------------------------------------------------------------- results

/** Why a connection closed; see `native/src/exchange/close_reason.h`. */
export const closeReasons = [
  'end',
  'destroyed',
  'reset',
  'frame-too-large',
  'malformed-frame',
  'slow-consumer',
  'handler-error',
  'parse-error',
  'task-lost',
  'task-timeout',
  'timeout',
  'server-closing',
  'thread-lost',
  'system-error',
  'idle-timeout',
  'first-byte-timeout',
  'frame-timeout',
  'write-timeout',
  'connection-limit',
  'address-limit',
  'memory-limit',
  'overloaded',
  'proxy-header',
  'tls-error',
] as const

/** Outcomes of a send from any thread; see `SendOutcome` in `native/src/exchange/message.h`. */
export const sendOutcomes = ['sent', 'buffered', 'gone', 'full'] as const

/** Outcomes of a call of a reactor's app; see `native/src/exchange/call.h`. */
export const callOutcome = { answered: 0, failed: 1, lost: 2, noReactor: 3, noHook: 4 } as const

/** Results of a write; see `native/src/reactor/reactor.h`, as for those below. */
export const writeResult = { gone: 0, full: 1, belowHigh: 2 } as const
export const pipeResult = { gone: 0, busy: 1, done: 2 } as const
export const framingResult = { gone: 0, done: 1, tooMany: 2 } as const
export const subscribeResult = { gone: 0, done: 1, already: 2, tooMany: 3, tooLong: 4 } as const

// ---------------------------------------------------------------- limits and counters

/** Limits that both sides check. The id of a connection: home, slot and 32 bits of generation, from the top. */
export const wireLimit = {
  idHomeBits: 12,
  idSlotBits: 20,
  topicBytes: 1024,
  listeners: 256,
  /** A run on a reactor that takes longer held it up. */
  overrunNs: 1_000_000,
} as const

/** The numbers of one reactor, in the order in which they cross; see `native/src/exchange/counters.h`. */
export const reactorCounterNames = [
  'open',
  'accepted',
  'handedOver',
  'acceptErrors',
  'bytesRead',
  'bytesWritten',
  'framesRead',
  'framesSubmitted',
  'repliesWritten',
  'repliesLate',
  'repliesHeld',
  'sends',
  'pausesByQueue',
  'pausesByPeer',
  'turns',
  'moved',
  'framesShed',
  'acceptsDelayed',
  'buffered',
  'framesInline',
  'inlineOverruns',
  'subscriptions',
  'publications',
  'publicationsDropped',
  'connecting',
  'connected',
  'connectFailures',
  'piped',
  'callsAfterClose',
  'turnsBounded',
  'framesSetAside',
  'framesCancelled',
  'turnBytesMost',
  'turnCpuNsMost',
  'messagesDropped',
] as const

/** The numbers of one pool worker, in the order in which they cross. */
export const workerCounterNames = [
  'framesStarted',
  'framesSettled',
  'framesFailed',
  'framesStolen',
  'framesCancelled',
  'framesLost',
  'framesRetried',
  'busyNs',
  'framesShed',
] as const
