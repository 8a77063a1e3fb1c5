// The keys of this reactor, and how the others ask for them.
import { CommandReader, encodeReplies, type ReplyWriter } from '@multireactor/codecs'
import type { ServerHandle } from 'multireactor'
import { CommandError, commands } from './commands.ts'
import { Database } from './database.ts'

export const database = new Database()
/** The reactor of this thread. */
export const here = { shard: 0, server: undefined as unknown as ServerHandle }

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

// The bytes of a call: its kind ('c' commands, 't' a transaction), the protocol, and the commands as they came. Back: their replies.
const kinds = { commands: 0x63, transaction: 0x74 }

/**
 * The replies of a shard to commands, in their order; of a transaction, its one reply. Commands that are sent to a shard by one thread run there in
 * the order in which they were sent. A shard that does not answer: an error for each reply that is owed.
 */
export function ask(
  shard: number,
  protocol: 2 | 3,
  raw: readonly Uint8Array[],
  kind: keyof typeof kinds = 'commands',
): Buffer | Promise<Buffer> {
  const bytes = Buffer.concat([Uint8Array.of(kinds[kind], protocol), ...raw])
  if (shard === here.shard) return answer(bytes)
  return here.server.call(shard, bytes).catch((error: Error) =>
    encodeReplies((out) => {
      const owed = kind === 'transaction' ? 1 : raw.length
      for (let i = 0; i < owed; i++) out.error(`ERR shard ${shard} did not answer: ${error.message}`)
    }),
  )
}

/** The other side of `ask`, for the `onCall` hook. Nothing else runs between the commands: this is one turn of one thread. */
export function answer(bytes: Buffer): Buffer {
  const protocol = bytes[1] === 3 ? 3 : 2
  const raw = bytes.subarray(2)
  return encodeReplies((out) => {
    out.protocol = protocol
    if (bytes[0] === kinds.transaction) out.array(countOf(raw))
    const args = new CommandReader(raw)
    while (args.next()) run(args, out)
  })
}

function countOf(raw: Buffer): number {
  const args = new CommandReader(raw)
  let count = 0
  while (args.next()) count++
  return count
}
