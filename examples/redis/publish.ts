import { type CommandReader, encodeReplies, type ReplyWriter } from '@multireactor/codecs'
import type { Client } from './session.ts'
import { here } from './shard.ts'

/** A message looks different in the two protocols: so there are two topics for a channel. */
const topicOf = (protocol: 2 | 3, channel: string) => `${protocol}:${channel}`

export async function publish(channel: string, message: Buffer): Promise<Buffer> {
  const reached = await Promise.all(
    ([2, 3] as const).map((protocol) =>
      here.server.publish(
        topicOf(protocol, channel),
        encodeReplies((out) => {
          out.protocol = protocol
          out.push(3).bulk('message').bulk(channel).bulk(message)
        }),
      ),
    ),
  )
  return encodeReplies((out) => {
    if (reached.includes('full')) return out.error('ERR too much waits to be delivered')
    return out.integer((reached as number[]).reduce((sum, one) => sum + one, 0))
  })
}

/** Subscribes and says so at once: a message that is published meanwhile comes behind that word. */
export function subscribe(conn: Client, channels: string[]): undefined {
  conn.write(
    encodeReplies((out) => {
      for (const channel of channels) change(conn, out, 'subscribe', channel)
    }),
  )
}

export function unsubscribe(conn: Client, channels: string[]): undefined {
  const { protocol } = conn.data
  const named = channels.length > 0 ? channels : [...conn.data.channels]
  conn.write(
    encodeReplies((out) => {
      for (const channel of named) change(conn, out, 'unsubscribe', channel)
      out.protocol = protocol
      if (named.length === 0) out.push(3).bulk('unsubscribe').null().integer(0)
    }),
  )
}

function change(conn: Client, out: ReplyWriter, word: 'subscribe' | 'unsubscribe', channel: string): void {
  const { protocol, channels } = conn.data
  out.protocol = protocol
  try {
    conn[word](topicOf(protocol, channel))
  } catch (error) {
    out.error(`ERR ${(error as Error).message}`)
    return
  }
  if (word === 'subscribe') channels.add(channel)
  else channels.delete(channel)
  out.push(3).bulk(word).bulk(channel).integer(channels.size)
}

/** In RESP2, whose messages look like replies, a subscriber gets replies to few commands. */
export function pingOfSubscriber(args: CommandReader, out: ReplyWriter): undefined {
  out
    .array(2)
    .bulk('pong')
    .bulk(args.count > 1 ? args.bytes(1) : '')
}
