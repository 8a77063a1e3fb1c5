import type { CommandReader, ReplyWriter } from '@multireactor/codecs'
import type { Command } from './commands.ts'
import { type Later, refuse, type Session } from './session.ts'
import { ask, here } from './shard.ts'
import { keysOf, shardOf, shards } from './slots.ts'

export const crossSlot = "CROSSSLOT Keys in request don't hash to the same slot"
/** Bytes of the commands of one transaction: it waits in memory until EXEC. */
const mostBytes = 8 << 20

export function multi(session: Session, out: ReplyWriter): undefined {
  if (session.queued) out.error('ERR MULTI calls can not be nested')
  else {
    session.queued = []
    out.simple('OK')
  }
}

export function queue(session: Session, command: Command, args: CommandReader, out: ReplyWriter): undefined {
  if (command.keys?.[0] === 0 && shards > 1) {
    const name = args.name().toLowerCase()
    return refuse(session, out, `ERR '${name}' is for all shards, and cannot be part of a transaction`)
  }
  for (const shard of keysOf(command.keys, args).map(shardOf)) {
    if (session.shard === -1) session.shard = shard
    else if (session.shard !== shard) return refuse(session, out, crossSlot)
  }
  const raw = args.raw()
  session.queuedBytes += raw.length
  if (session.queuedBytes > mostBytes) return refuse(session, out, 'ERR the transaction is too large')
  session.queued!.push(Buffer.from(raw))
  out.simple('QUEUED')
}

export function exec(session: Session, out: ReplyWriter): Later | undefined {
  const { queued, refused, shard, protocol } = session
  if (!queued) return refuse(session, out, 'ERR EXEC without MULTI')
  if (refused) return abort(session, out, 'EXECABORT Transaction discarded because of previous errors.')
  endTransaction(session)
  return () => ask(shard === -1 ? here.shard : shard, protocol, queued, 'transaction')
}

export function abort(session: Session, out: ReplyWriter, error: string): undefined {
  endTransaction(session)
  out.error(error)
}

export function discard(session: Session, out: ReplyWriter): undefined {
  if (!session.queued) return refuse(session, out, 'ERR DISCARD without MULTI')
  endTransaction(session)
  out.simple('OK')
}

export function endTransaction(session: Session): void {
  session.queued = undefined
  session.queuedBytes = 0
  session.refused = false
  session.shard = -1
}
