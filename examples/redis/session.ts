import type { CommandReader, ReplyWriter } from '@multireactor/codecs'
import type { Connection } from 'multireactor'

/** The settings of a connection. */
export interface Session {
  protocol: 2 | 3
  name: string
  channels: Set<string>
  /** The commands that MULTI has collected, and their bytes; whether EXEC will fail; the shard of its keys, -1 before the first one. */
  queued: Buffer[] | undefined
  queuedBytes: number
  refused: boolean
  shard: number
}

export type Client = Connection<Session>

/**
 * How a command is answered that must wait, or must find the replies before it written. It is called behind those; undefined: it has written its
 * reply itself.
 */
export type Later = () => Buffer | undefined | Promise<Buffer>

export function newSession(): Session {
  return {
    protocol: 2,
    name: '',
    channels: new Set(),
    queued: undefined,
    queuedBytes: 0,
    refused: false,
    shard: -1,
  }
}

/** Inside of MULTI, an error makes EXEC fail. */
export function refuse(session: Session, out: ReplyWriter, error: string): undefined {
  if (session.queued) session.refused = true
  out.error(error)
}

export function unknownCommand(commands: CommandReader): string {
  let args = ''
  for (let i = 1; i < commands.count && args.length < 128; i++) args += `'${commands.text(i).slice(0, 128 - args.length)}' `
  return `ERR unknown command '${commands.text(0).slice(0, 128)}', with args beginning with: ${args}`
}
