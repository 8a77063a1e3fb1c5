// The keys of this reactor, and how the others ask for them.
import { CommandReader, ReplyWriter } from '@multireactor/codecs'
import { CommandError, commands } from './commands.ts'
import { Database } from './database.ts'

export const database = new Database()

/** Runs one command that has been checked; its reply goes to `out`, an error too. */
export function run(args: CommandReader, out: ReplyWriter): void {
  const before = out.size
  try {
    commands.get(args.name())!.run(database, args, out)
  } catch (error) {
    if (!(error instanceof CommandError)) throw error
    out.rewind(before)
    out.error(error.message)
  }
}

// What crosses: how ('c' commands, 't' a transaction), the protocol, and the commands as they came. Back: for commands the length of each
// reply, and the replies.
const asCommands = 0x63
const asTransaction = 0x74

const reader = new CommandReader()
const writer = new ReplyWriter()

export function request(kind: 'commands' | 'transaction', protocol: 2 | 3, raw: readonly Uint8Array[]): Buffer {
  return Buffer.concat([Uint8Array.of(kind === 'commands' ? asCommands : asTransaction, protocol), ...raw])
}

/** The other side of `request`, for the `onCall` hook. */
export function answer(bytes: Buffer): Buffer {
  writer.protocol = bytes[1] === 3 ? 3 : 2
  const raw = bytes.subarray(2)
  return bytes[0] === asTransaction ? transaction(raw) : answerEach(raw)
}

function answerEach(raw: Buffer): Buffer {
  const ends: number[] = []
  reader.start(raw)
  while (reader.next()) {
    run(reader, writer)
    ends.push(writer.size)
  }
  const head = Buffer.allocUnsafe(4 * (ends.length + 1))
  head.writeUInt32LE(ends.length, 0)
  for (const [i, end] of ends.entries()) head.writeUInt32LE(end, 4 * (i + 1))
  return Buffer.concat([head, writer.take()])
}

/** The replies in an answer to commands, in their order. */
export function replies(answered: Buffer): Buffer[] {
  const count = answered.readUInt32LE(0)
  const first = 4 * (count + 1)
  const ends = Array.from({ length: count + 1 }, (_, i) => first + (i === 0 ? 0 : answered.readUInt32LE(4 * i)))
  return ends.slice(1).map((end, i) => answered.subarray(ends[i], end))
}

/** Nothing else runs between the commands: this is one turn of one thread. */
function transaction(raw: Buffer): Buffer {
  let count = 0
  const all = new CommandReader()
  all.start(raw)
  while (all.next()) count++
  writer.array(count)
  all.start(raw)
  while (all.next()) run(all, writer)
  return Buffer.from(writer.take())
}
