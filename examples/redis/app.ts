import { CommandReader, decodeValue, encodeCommand, ReplyWriter, resp, type RespValue } from '@multireactor/codecs'
import { type Connection, defineApp, type ServerHandle } from 'multireactor'
import { type Command, commands } from './commands.ts'
import { answer, database, replies, request, run } from './shard.ts'
import { shardOf, shards } from './slots.ts'

interface Session {
  protocol: 2 | 3
  name: string
  /** What MULTI has collected, as it came; and why EXEC will fail. */
  queued: Buffer[] | undefined
  refused: boolean
  shard: number
}

/** Bytes of a reply, now or later. Those of a connection leave in the order of its commands. */
type Part = Buffer | Promise<Buffer>

const reader = new CommandReader()
const out = new ReplyWriter()
const startedAt = Date.now()
let server: ServerHandle
let here = 0
let served = 0

/** What waits, by connection: a subscription must not be told of before the replies that come before it. */
const tails = new WeakMap<Connection<Session>, Promise<unknown>>()

/** The commands of one frame: replies that are there are collected in `out`, until one of them has to wait. */
class Frame {
  readonly parts: Part[] = []
  /** Commands for other shards, to be sent together. */
  readonly #remote = new Map<number, { raw: Buffer[]; settle: ((reply: Buffer | Promise<never>) => void)[] }>()
  readonly #session: Session

  constructor(session: Session) {
    this.#session = session
  }

  later(part: Promise<Buffer>): void {
    // What was written so far comes before it.
    if (out.size !== 0) this.parts.push(Buffer.from(out.take()))
    part.catch(() => {})
    this.parts.push(part)
  }

  /** The reply of another shard. Commands of one frame for one shard travel together, in their order. */
  remote(shard: number, raw: Buffer): Promise<Buffer> {
    let batch = this.#remote.get(shard)
    if (!batch) {
      batch = { raw: [], settle: [] }
      this.#remote.set(shard, batch)
    }
    const { settle } = batch
    batch.raw.push(raw)
    return new Promise((resolve) => settle.push(resolve))
  }

  send(): void {
    for (const [shard, { raw, settle }] of this.#remote) {
      const answered = ask(shard, request('commands', this.#session.protocol, raw))
      answered.then(
        (bytes) => {
          for (const [i, reply] of replies(bytes).entries()) settle[i]!(reply)
        },
        (error: Error) => {
          for (const one of settle) one(Buffer.from(`-ERR shard ${shard} did not answer: ${error.message}\r\n`))
        },
      )
    }
  }
}

/** Of the message that is being handled; most need none. */
let current: Frame | undefined

function frameOf(session: Session): Frame {
  current ??= new Frame(session)
  return current
}

/** On this thread, a shard is asked without any way through another one. */
function ask(shard: number, bytes: Buffer): Promise<Buffer> {
  return server.call(shard, bytes)
}

export default defineApp({
  framing: resp({ batch: true, maxBytes: 64 << 20 }),
  idleTimeoutMs: 0,
  firstByteTimeoutMs: 0,

  start(context) {
    server = context.server
    if (context.role !== 'reactor') return
    here = context.index
    database.start()
  },
  stop() {
    database.stop()
  },
  onCall: (bytes) => answer(bytes),

  open(): Session {
    return { protocol: 2, name: '', queued: undefined, refused: false, shard: -1 }
  },

  message(conn, bytes) {
    const session = conn.data
    out.protocol = session.protocol
    reader.start(bytes)
    current = undefined
    while (reader.next()) {
      served++
      const part = execute(conn, session)
      if (part) frameOf(session).later(part)
      if (!conn.isOpen) break
    }
    const frame = current as Frame | undefined
    if (!frame || frame.parts.length === 0) {
      if (out.size !== 0 && conn.isOpen) conn.write(out.take())
      return
    }
    if (out.size !== 0) frame.parts.push(Buffer.from(out.take()))
    frame.send()
    const reply = conn.defer()
    const all = Promise.all(frame.parts)
    tails.set(
      conn,
      all.catch(() => {}),
    )
    return all.then(
      (parts) => {
        reply.end(Buffer.concat(parts))
      },
      (error: Error) => {
        reply.end(`-ERR ${error.message}\r\n`)
      },
    )
  },
})

/** Writes the reply of the reader's command to `out`, or returns the reply that comes later. */
function execute(conn: Connection<Session>, session: Session): Promise<Buffer> | undefined {
  const name = reader.name()
  const command = commands.get(name)
  if (!command) return other(conn, session, name)
  if (reader.count !== command.arity && (command.arity > 0 || reader.count < -command.arity)) {
    return refuse(session, `ERR wrong number of arguments for '${name.toLowerCase()}' command`)
  }
  if (session.queued) return queue(session, command)
  if (shards === 1) {
    run(reader, out)
    return undefined
  }
  return sharded(session, command)
}

function refuse(session: Session, error: string): undefined {
  if (session.queued) session.refused = true
  out.error(error)
}

function keysOf(command: Command): string[] {
  const [first, last, step] = command.keys
  if (first === 0) return []
  const keys: string[] = []
  for (let i = first; i <= (last < 0 ? reader.count + last : last); i += step) keys.push(reader.text(i))
  return keys
}

function sharded(session: Session, command: Command): Promise<Buffer> | undefined {
  const { keys, gather } = command
  if (keys[0] === 0) return everywhere(session, command)
  // Most commands have one key.
  const shard = shardOf(reader.text(keys[0]))
  if (keys[1] === keys[0] || keysOf(command).every((key) => shardOf(key) === shard)) {
    if (shard !== here) return frameOf(session).remote(shard, reader.raw())
    run(reader, out)
    return undefined
  }
  if (gather === undefined || reader.count % keys[2] !== 1 % keys[2]) {
    out.error(gather === undefined ? crossSlot : `ERR wrong number of arguments for '${reader.name().toLowerCase()}' command`)
    return undefined
  }
  return gathered(session, command)
}

const crossSlot = "CROSSSLOT Keys in request don't hash to the same slot"

/** One command for each shard that has any of the keys, and one reply of theirs. */
function gathered(session: Session, { gather, keys }: Command): Promise<Buffer> {
  const frame = frameOf(session)
  const name = reader.name()
  const [, , step] = keys
  const perShard = new Map<number, { words: string[]; places: number[] }>()
  const groups = (reader.count - 1) / step
  for (let i = 0; i < groups; i++) {
    const words = Array.from({ length: step }, (_, k) => reader.text(1 + i * step + k))
    const shard = shardOf(words[0]!)
    let one = perShard.get(shard)
    if (!one) {
      one = { words: [name], places: [] }
      perShard.set(shard, one)
    }
    one.words.push(...words)
    one.places.push(i)
  }
  const asked = [...perShard].map(async ([shard, { words, places }]) => {
    const raw = encodeCommand(words.map((word) => Buffer.from(word, 'latin1')))
    return { places, reply: await (shard === here ? locally(raw) : frame.remote(shard, raw)) }
  })
  return Promise.all(asked).then((all) => {
    const error = all.find(({ reply }) => reply[0] === 0x2d)
    if (error) return error.reply
    if (gather === 'ok') return all[0]!.reply
    if (gather === 'sum') {
      return Buffer.from(`:${all.reduce((sum, { reply }) => sum + (decodeValue(reply) as number), 0)}\r\n`)
    }
    const values: RespValue[] = new Array(groups)
    for (const { places, reply } of all) {
      for (const [i, value] of (decodeValue(reply) as RespValue[]).entries()) values[places[i]!] = value
    }
    return written(session.protocol, (writer) => {
      writer.array(groups)
      for (const value of values) {
        if (value === null) writer.null()
        else writer.bulk(value as Buffer)
      }
    })
  })
}

const local = new CommandReader()

function locally(raw: Buffer): Buffer {
  local.start(raw)
  local.next()
  return written(out.protocol, (writer) => run(local, writer))
}

function written(protocol: 2 | 3, write: (writer: ReplyWriter) => void): Buffer {
  const writer = new ReplyWriter()
  writer.protocol = protocol
  write(writer)
  return Buffer.from(writer.take())
}

/** Commands on all keys: DBSIZE, FLUSHALL, KEYS and SCAN. */
function everywhere(session: Session, { gather }: Command): Promise<Buffer> | undefined {
  if (gather === undefined) return scan(session, frameOf(session))
  const raw = Buffer.from(reader.raw())
  const asked = Array.from({ length: shards }, (_, shard) =>
    shard === here ? locally(raw) : frameOf(session).remote(shard, raw),
  )
  return Promise.all(asked).then((all) => {
    const error = all.find((reply) => reply[0] === 0x2d)
    if (error || gather === 'ok') return error ?? all[0]!
    if (gather === 'sum') return Buffer.from(`:${all.reduce((sum, reply) => sum + (decodeValue(reply) as number), 0)}\r\n`)
    const keys = all.flatMap((reply) => decodeValue(reply) as Buffer[])
    return written(2, (writer) => {
      writer.array(keys.length)
      for (const key of keys) writer.bulk(key)
    })
  })
}

/** A cursor says which shard it is in: the shards are scanned one after the other. */
async function scan(session: Session, frame: Frame): Promise<Buffer> {
  const cursor = reader.integer(1)
  if (cursor === undefined || cursor < 0) return Buffer.from('-ERR invalid cursor\r\n')
  const shard = cursor % shards
  const words: Buffer[] = [Buffer.from('SCAN'), Buffer.from(String(Math.floor(cursor / shards)))]
  for (let i = 2; i < reader.count; i++) words.push(Buffer.from(reader.bytes(i)))
  const raw = encodeCommand(words)
  const reply = await (shard === here ? locally(raw) : frame.remote(shard, raw))
  if (reply[0] === 0x2d) return reply
  const [next, keys] = decodeValue(reply) as [Buffer, Buffer[]]
  const place = Number(next.toString())
  // 0 begins the first shard, and ends the last one.
  const then = place !== 0 ? place * shards + shard : shard + 1 < shards ? shard + 1 : 0
  return written(session.protocol, (writer) => {
    writer.array(2).bulk(String(then)).array(keys.length)
    for (const key of keys) writer.bulk(key)
  })
}

// ---------------------------------------------------------------- transactions

function queue(session: Session, command: Command): undefined {
  const touched = keysOf(command).map(shardOf)
  if (command.keys[0] === 0 && shards > 1) {
    return refuse(session, `ERR '${reader.name().toLowerCase()}' is for all shards, and cannot be part of a transaction`)
  }
  for (const shard of touched) {
    if (session.shard === -1) session.shard = shard
    else if (session.shard !== shard) return refuse(session, crossSlot)
  }
  session.queued!.push(Buffer.from(reader.raw()))
  out.simple('QUEUED')
}

function exec(session: Session): Promise<Buffer> | undefined {
  const { queued, refused, shard } = session
  if (!queued) {
    out.error('ERR EXEC without MULTI')
    return undefined
  }
  endTransaction(session)
  if (refused) {
    out.error('EXECABORT Transaction discarded because of previous errors.')
    return undefined
  }
  const bytes = request('transaction', session.protocol, queued)
  if (shard === -1 || shard === here) {
    out.raw(answer(bytes))
    return undefined
  }
  return ask(shard, bytes)
}

function endTransaction(session: Session): void {
  session.queued = undefined
  session.refused = false
  session.shard = -1
}

// ---------------------------------------------------------------- commands on the connection and the server

function other(conn: Connection<Session>, session: Session, name: string): Promise<Buffer> | undefined {
  switch (name) {
    case 'MULTI':
      if (session.queued) return refuse(session, 'ERR MULTI calls can not be nested')
      session.queued = []
      out.simple('OK')
      return undefined
    case 'EXEC':
      return exec(session)
    case 'DISCARD':
      if (!session.queued) out.error('ERR DISCARD without MULTI')
      else out.simple('OK')
      endTransaction(session)
      return undefined
  }
  if (session.queued) {
    return refuse(session, `ERR '${name.toLowerCase()}' is not known here, or cannot be part of a transaction`)
  }
  switch (name) {
    case 'PING':
      if (reader.count > 1) out.bulk(reader.bytes(1))
      else out.simple('PONG')
      return undefined
    case 'ECHO':
      if (reader.count !== 2) return refuse(session, "ERR wrong number of arguments for 'echo' command")
      out.bulk(reader.bytes(1))
      return undefined
    case 'SELECT':
      if (reader.integer(1) === 0) out.simple('OK')
      else out.error('ERR DB index is out of range')
      return undefined
    case 'HELLO':
      return hello(conn, session)
    case 'CLIENT':
      return client(conn, session)
    case 'COMMAND':
      if (reader.count > 1 && reader.text(1).toUpperCase() === 'COUNT') out.integer(commands.size)
      else if (reader.count > 1 && reader.text(1).toUpperCase() === 'DOCS') out.map(0)
      else out.array(0)
      return undefined
    case 'CONFIG':
      // What redis-benchmark asks for.
      if (reader.count === 3 && reader.text(1).toUpperCase() === 'GET') out.map(1).bulk(reader.bytes(2)).bulk('')
      else out.error('ERR CONFIG knows GET only')
      return undefined
    case 'INFO':
      return info()
    case 'QUIT':
      out.simple('OK')
      conn.end(out.take())
      return undefined
    case 'SUBSCRIBE':
    case 'UNSUBSCRIBE':
      return subscription(conn, session, name === 'SUBSCRIBE')
    case 'PUBLISH':
      if (reader.count !== 3) return refuse(session, "ERR wrong number of arguments for 'publish' command")
      return publish(reader.text(1), Buffer.from(reader.bytes(2)))
    default:
      return refuse(session, `ERR unknown command '${reader.text(0).slice(0, 128)}'`)
  }
}

function hello(conn: Connection<Session>, session: Session): undefined {
  const version = reader.count > 1 ? reader.integer(1) : session.protocol
  if (version !== 2 && version !== 3) {
    out.error('NOPROTO unsupported protocol version')
    return
  }
  for (let i = 2; i < reader.count; i++) {
    const word = reader.text(i).toUpperCase()
    if (word === 'SETNAME' && i + 1 < reader.count) session.name = reader.text(++i)
    else if (word === 'AUTH') {
      out.error('ERR there are no users here, and no passwords')
      return
    } else {
      out.error('ERR syntax error in HELLO')
      return
    }
  }
  if (version !== session.protocol && conn.subscriptions.length > 0) {
    out.error('ERR the protocol of a subscriber cannot be changed')
    return
  }
  session.protocol = out.protocol = version
  out.map(7).bulk('server').bulk('redis').bulk('version').bulk('7.0.0').bulk('proto').integer(version)
  out.bulk('id').integer(conn.id & 0xffff_ffffn)
  out.bulk('mode').bulk('standalone').bulk('role').bulk('master').bulk('modules').array(0)
}

function client(conn: Connection<Session>, session: Session): undefined {
  const what = reader.count > 1 ? reader.text(1).toUpperCase() : ''
  if (what === 'ID') out.integer(conn.id & 0xffff_ffffn)
  else if (what === 'SETNAME' && reader.count === 3) {
    session.name = reader.text(2)
    out.simple('OK')
  } else if (what === 'GETNAME') out.bulk(session.name)
  else if (what === 'SETINFO' || what === 'NO-EVICT' || what === 'NO-TOUCH') out.simple('OK')
  else out.error('ERR CLIENT knows ID, SETNAME, GETNAME and SETINFO')
}

async function info(): Promise<Buffer> {
  const size = encodeCommand(['DBSIZE'])
  const sizes = await Promise.all(
    Array.from({ length: shards }, async (_, shard) => {
      const answered = await ask(shard, request('commands', 2, [size]))
      return decodeValue(replies(answered)[0]!) as number
    }),
  )
  const memory = process.memoryUsage()
  const text = [
    '# Server',
    'redis_version:7.0.0',
    'redis_mode:standalone',
    'multireactor:1',
    `process_id:${process.pid}`,
    `uptime_in_seconds:${Math.floor((Date.now() - startedAt) / 1000)}`,
    `reactor:${here}`,
    `reactors:${shards}`,
    '',
    '# Memory',
    `used_memory:${memory.heapUsed}`,
    `used_memory_rss:${memory.rss}`,
    '',
    '# Stats',
    `commands_processed_by_this_reactor:${served}`,
    '',
    '# Keyspace',
    `db0:keys=${sizes.reduce((sum, one) => sum + one, 0)}`,
    ...sizes.map((keys, shard) => `shard${shard}:keys=${keys}`),
    '',
  ]
  return written(2, (writer) => writer.bulk(text.join('\r\n')))
}

// ---------------------------------------------------------------- publish and subscribe

/** A message looks different in the two protocols: so there are two topics for a channel. */
const topicOf = (protocol: 2 | 3, channel: string) => `${protocol}:${channel}`

async function publish(channel: string, message: Buffer): Promise<Buffer> {
  const reached = await Promise.all(
    ([2, 3] as const).map((protocol) =>
      server.publish(
        topicOf(protocol, channel),
        written(protocol, (writer) => writer.push(3).bulk('message').bulk(channel).bulk(message)),
      ),
    ),
  )
  if (reached.includes('full')) return Buffer.from('-ERR too much waits to be delivered\r\n')
  return Buffer.from(`:${(reached as number[]).reduce((sum, one) => sum + one, 0)}\r\n`)
}

function subscription(conn: Connection<Session>, session: Session, on: boolean): Promise<Buffer> | undefined {
  const channels = reader.texts().slice(1)
  if (on && channels.length === 0) return refuse(session, "ERR wrong number of arguments for 'subscribe' command")
  const { protocol } = session
  const apply = (): Buffer => {
    if (!conn.isOpen) return Buffer.alloc(0)
    const word = on ? 'subscribe' : 'unsubscribe'
    const named = channels.length > 0 ? channels : conn.subscriptions.map((topic) => topic.slice(2))
    return written(protocol, (writer) => {
      for (const channel of named) {
        try {
          if (on) conn.subscribe(topicOf(protocol, channel))
          else conn.unsubscribe(topicOf(protocol, channel))
          writer.push(3).bulk(word).bulk(channel).integer(conn.subscriptions.length)
        } catch (error) {
          writer.error(`ERR ${(error as Error).message}`)
        }
      }
      if (named.length === 0) writer.push(3).bulk(word).null().integer(0)
    })
  }
  const { parts } = frameOf(session)
  const waiting = tails.get(conn)
  if (parts.length === 0 && (!waiting || conn.inFlight === 0)) {
    out.raw(apply())
    return undefined
  }
  // What is published must not come before the word that one has subscribed.
  return Promise.all([waiting, ...parts]).then(apply)
}
