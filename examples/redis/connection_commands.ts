// Commands about the connection and the server: they ask no shard for a key.
import { type CommandReader, decodeValue, encodeCommand, encodeReplies, type ReplyWriter } from '@multireactor/codecs'
import { commands, wrongArity } from './commands.ts'
import { publish, subscribe, unsubscribe } from './publish.ts'
import { type Client, type Later, refuse, unknownCommand } from './session.ts'
import { ask, here } from './shard.ts'
import { shards } from './slots.ts'
import { abort, discard, endTransaction, exec, multi } from './transaction.ts'

const startedAt = Date.now()
/** Commands that this reactor has read. */
export const counts = { served: 0 }

interface OnConnection {
  /** As that of `Command`. */
  arity: number
  /** Whether it may be given between MULTI and EXEC, where it runs at once. */
  inMulti?: boolean
  run(conn: Client, args: CommandReader, out: ReplyWriter): Later | undefined
}

const onConnection = new Map<string, OnConnection>(
  Object.entries({
    MULTI: { arity: 1, inMulti: true, run: (conn, _args, out) => multi(conn.data, out) },
    EXEC: { arity: 1, inMulti: true, run: (conn, _args, out) => exec(conn.data, out) },
    DISCARD: { arity: 1, inMulti: true, run: (conn, _args, out) => discard(conn.data, out) },
    QUIT: { arity: -1, inMulti: true, run: (conn) => () => quit(conn) },
    RESET: { arity: 1, inMulti: true, run: (conn) => () => reset(conn) },
    SELECT: { arity: 2, run: select },
    HELLO: { arity: -1, run: hello },
    CLIENT: { arity: -2, run: client },
    COMMAND: { arity: -1, run: command },
    CONFIG: { arity: -2, run: config },
    INFO: { arity: -1, run: () => info },
    PUBLISH: { arity: 3, run: (_conn, args) => () => publish(args.text(1), args.bytes(2)) },
    SUBSCRIBE: { arity: -2, run: (conn, args) => () => subscribe(conn, args.texts().slice(1)) },
    UNSUBSCRIBE: { arity: -1, run: (conn, args) => () => unsubscribe(conn, args.texts().slice(1)) },
  } satisfies Record<string, OnConnection>),
)

/** In RESP2, the commands that a subscriber may send. */
export const forSubscribers = new Set(['SUBSCRIBE', 'UNSUBSCRIBE', 'PING', 'QUIT', 'RESET'])

export function runOnConnection(conn: Client, args: CommandReader, out: ReplyWriter): Later | undefined {
  const session = conn.data
  const name = args.name()
  const command = onConnection.get(name)
  if (!command) return refuse(session, out, unknownCommand(args))
  if (args.count !== command.arity && (command.arity > 0 || args.count < -command.arity)) {
    if (command !== onConnection.get('EXEC')) return refuse(session, out, wrongArity(name))
    return abort(session, out, `EXECABORT Transaction discarded because of: ${wrongArity(name).replace('ERR ', '')}`)
  }
  if (session.queued && !command.inMulti) {
    return refuse(session, out, `ERR '${name.toLowerCase()}' cannot be part of a transaction here`)
  }
  return command.run(conn, args, out)
}

const unknownSubcommand = (args: CommandReader) =>
  `ERR unknown subcommand '${args.text(1).slice(0, 128)}'. Try ${args.name()} HELP.`

function quit(conn: Client): undefined {
  conn.end('+OK\r\n')
}

function reset(conn: Client): Buffer {
  const session = conn.data
  for (const topic of conn.subscriptions) conn.unsubscribe(topic)
  session.channels.clear()
  session.protocol = 2
  session.name = ''
  endTransaction(session)
  return Buffer.from('+RESET\r\n')
}

function select(_conn: Client, args: CommandReader, out: ReplyWriter): undefined {
  const index = args.integer(1)
  if (index === 0) out.simple('OK')
  else if (index === undefined) out.error('ERR value is not an integer or out of range')
  else if (Math.abs(index) < 2 ** 31) out.error('ERR DB index is out of range')
  else out.error('ERR value is out of range, value must between -2147483648 and 2147483647')
}

function hello(conn: Client, args: CommandReader, out: ReplyWriter): undefined {
  const session = conn.data
  const version = args.count > 1 ? args.integer(1) : session.protocol
  if (version === undefined) {
    out.error('ERR Protocol version is not an integer or out of range')
    return
  }
  if (version !== 2 && version !== 3) {
    out.error('NOPROTO unsupported protocol version')
    return
  }
  let { name } = session
  for (let i = 2; i < args.count; i++) {
    const word = args.text(i).toUpperCase()
    if (word === 'SETNAME' && i + 1 < args.count) name = args.text(++i)
    else if (word === 'AUTH') {
      out.error('ERR there are no users here, and no passwords')
      return
    } else {
      out.error(`ERR Syntax error in HELLO option '${args.text(i)}'`)
      return
    }
  }
  if (version !== session.protocol && session.channels.size > 0) {
    out.error('ERR the protocol of a subscriber cannot be changed')
    return
  }
  session.name = name
  session.protocol = out.protocol = version
  out.map(7).bulk('server').bulk('redis').bulk('version').bulk('7.0.0').bulk('proto').integer(version)
  out.bulk('id').integer(conn.id & 0xffff_ffffn)
  out.bulk('mode').bulk('standalone').bulk('role').bulk('master').bulk('modules').array(0)
}

function client(conn: Client, args: CommandReader, out: ReplyWriter): undefined {
  const session = conn.data
  const what = args.text(1).toUpperCase()
  if (what === 'ID') out.integer(conn.id & 0xffff_ffffn)
  else if (what === 'SETNAME' && args.count === 3) {
    session.name = args.text(2)
    out.simple('OK')
  } else if (what === 'GETNAME') {
    if (session.name === '') out.null()
    else out.bulk(session.name)
  } else if (what === 'SETINFO' || what === 'NO-EVICT' || what === 'NO-TOUCH') out.simple('OK')
  else out.error(unknownSubcommand(args))
}

function command(_conn: Client, args: CommandReader, out: ReplyWriter): undefined {
  const what = args.count > 1 ? args.text(1).toUpperCase() : ''
  if (what === 'COUNT') out.integer(commands.size + onConnection.size)
  else if (what === 'DOCS') out.map(0)
  else out.array(0)
}

/** For redis-benchmark: GET of one setting, which is empty. */
function config(_conn: Client, args: CommandReader, out: ReplyWriter): undefined {
  if (args.count === 3 && args.text(1).toUpperCase() === 'GET') out.map(1).bulk(args.bytes(2)).bulk('')
  else out.error(unknownSubcommand(args))
}

async function info(): Promise<Buffer> {
  const size = encodeCommand(['DBSIZE'])
  const sizes = await Promise.all(
    Array.from({ length: shards }, async (_, shard) => decodeValue(await ask(shard, 2, [size])) as number),
  )
  const memory = process.memoryUsage()
  const text = [
    '# Server',
    'redis_version:7.0.0',
    'redis_mode:standalone',
    'multireactor:1',
    `process_id:${process.pid}`,
    `uptime_in_seconds:${Math.floor((Date.now() - startedAt) / 1000)}`,
    `reactor:${here.shard}`,
    `reactors:${shards}`,
    '',
    '# Memory',
    `used_memory:${memory.heapUsed}`,
    `used_memory_rss:${memory.rss}`,
    '',
    '# Stats',
    `commands_processed_by_this_reactor:${counts.served}`,
    '',
    '# Keyspace',
    `db0:keys=${sizes.reduce((sum, one) => sum + one, 0)}`,
    ...sizes.map((keys, shard) => `shard${shard}:keys=${keys}`),
    '',
  ]
  return encodeReplies((out) => out.bulk(text.join('\r\n')))
}
