import { answerCommands, CommandReader, encodeReplies, protocolError, type ReplyWriter, resp } from '@multireactor/codecs'
import { defineApp } from 'multireactor'
import { type Command, commands, wrongArity } from './commands.ts'
import { counts, forSubscribers, runOnConnection } from './connection_commands.ts'
import { pingOfSubscriber } from './publish.ts'
import { type Client, type Later, newSession, refuse } from './session.ts'
import { everywhere, gathered } from './several_shards.ts'
import { answer, ask, database, here, run } from './shard.ts'
import { keysOf, shardOf, shards } from './slots.ts'
import { crossSlot, queue } from './transaction.ts'

/** Bytes of commands that travel to a shard together. */
const mostTogether = 1 << 20

export default defineApp({
  framing: resp({ batch: true, maxBytes: 64 << 20 }),
  // A frame begins when the one before it has been answered: so commands take effect in the order in which their connection has sent them.
  maxPendingMessages: 1,
  idleTimeoutMs: 0,
  firstByteTimeoutMs: 0,

  start(context) {
    here.server = context.server
    if (context.role !== 'reactor') return
    here.shard = context.index
    database.start()
  },
  stop() {
    database.stop()
  },
  onCall: (bytes) => answer(bytes),

  open: newSession,

  message(conn, frame) {
    const args = new CommandReader(frame)
    const later = answerHere(conn, args)
    return later && goOn(conn, args, later)
  },

  badFrame(conn, failure) {
    conn.write(encodeReplies((out) => out.error(`ERR ${protocolError(failure)}`)))
  },
})

/** Answers the commands that this thread can answer at once. Returns how the next command is answered, nothing at the end of the frame. */
function answerHere(conn: Client, args: CommandReader): Later | undefined {
  let later: Later | undefined
  answerCommands(conn, args, (_, out) => {
    later = execute(conn, args, out)
    return later === undefined
  })
  return later
}

async function goOn(conn: Client, args: CommandReader, first: Later): Promise<void> {
  for (let later: Later | undefined = first; later; later = answerHere(conn, args)) {
    const reply = later()
    if (reply) conn.write(await reply)
    // Behind QUIT, too.
    if (!conn.isOpen) return
  }
}

/** Writes the reply to the command to `out`, or says how it is answered later. */
function execute(conn: Client, args: CommandReader, out: ReplyWriter): Later | undefined {
  const session = conn.data
  out.protocol = session.protocol
  counts.served++
  const name = args.name()
  if (session.channels.size > 0 && session.protocol === 2) {
    if (name === 'PING' && args.count < 3) return pingOfSubscriber(args, out)
    if (!forSubscribers.has(name)) return refuse(session, out, notForSubscribers(name))
  }
  const command = commands.get(name)
  if (!command) return runOnConnection(conn, args, out)
  if (!fits(command, args)) return refuse(session, out, wrongArity(name))
  if (session.queued) return queue(session, command, args, out)
  if (shards > 1 && command.keys) return sharded(conn, command, args, out)
  run(args, out)
  return undefined
}

const notForSubscribers = (name: string) =>
  `ERR Can't execute '${name.toLowerCase()}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context`

function fits(command: Command, args: CommandReader): boolean {
  return args.count === command.arity || (command.arity < 0 && args.count >= -command.arity)
}

function sharded(conn: Client, command: Command, args: CommandReader, out: ReplyWriter): Later | undefined {
  const { protocol } = conn.data
  const { gather, keys } = command
  if (keys![0] === 0) return () => everywhere(command, args)
  const shard = shardOfKeys(command, args)
  if (shard === here.shard) run(args, out)
  else if (shard !== undefined) return () => askTogether(conn, shard, args)
  else if (gather === undefined) out.error(crossSlot)
  else if ((args.count - 1) % keys![2] !== 0) out.error(wrongArity(args.name()))
  else return () => gathered(command, args, protocol)
  return undefined
}

/** The shard that all keys of a command lie in; undefined when there are several. */
function shardOfKeys({ keys }: Command, args: CommandReader): number | undefined {
  const shard = shardOf(args.text(keys![0]))
  // Most commands have one key.
  return keys![1] === keys![0] || keysOf(keys, args).every((key) => shardOf(key) === shard) ? shard : undefined
}

/** Commands for one shard, one behind the other, travel together. */
function askTogether(conn: Client, shard: number, args: CommandReader): Buffer | Promise<Buffer> {
  const raw = [args.raw()]
  let bytes = raw[0]!.length
  while (args.next()) {
    const command = commands.get(args.name())
    bytes += args.raw().length
    if (!command?.keys?.[0] || !fits(command, args) || shardOfKeys(command, args) !== shard || bytes > mostTogether) {
      args.unread()
      break
    }
    counts.served++
    raw.push(args.raw())
  }
  return ask(shard, conn.data.protocol, raw)
}
