// Commands on keys of several shards: one command for each of them, and one reply made of theirs.
import { type CommandReader, decodeValue, encodeCommand, encodeReplies, type RespValue } from '@multireactor/codecs'
import { type Command, invalidCursor } from './commands.ts'
import { ask } from './shard.ts'
import { shardOf, shards } from './slots.ts'

const isError = (reply: Buffer) => reply[0] === 0x2d
const encodeError = (text: string) => encodeReplies((out) => out.error(text))

function sumOf(parts: Buffer[]): Buffer {
  return encodeReplies((out) => out.integer(parts.reduce((sum, reply) => sum + (decodeValue(reply) as number), 0)))
}

/** MGET, MSET, DEL, UNLINK, EXISTS. */
export async function gathered(command: Command, args: CommandReader, protocol: 2 | 3): Promise<Buffer> {
  const name = args.name()
  const [, , step] = command.keys!
  const groups = (args.count - 1) / step
  const perShard = new Map<number, { words: string[]; places: number[] }>()
  for (let i = 0; i < groups; i++) {
    const words = Array.from({ length: step }, (_, k) => args.text(1 + i * step + k))
    const shard = shardOf(words[0]!)
    let one = perShard.get(shard)
    if (!one) {
      one = { words: [name], places: [] }
      perShard.set(shard, one)
    }
    one.words.push(...words)
    one.places.push(i)
  }
  const places = [...perShard.values()].map((one) => one.places)
  const parts = await Promise.all(
    [...perShard].map(([shard, { words }]) =>
      ask(shard, protocol, [encodeCommand(words.map((word) => Buffer.from(word, 'latin1')))]),
    ),
  )
  const error = parts.find(isError)
  if (error || command.gather === 'ok') return error ?? parts[0]!
  if (command.gather === 'sum') return sumOf(parts)
  const values: RespValue[] = new Array(groups)
  for (const [k, part] of parts.entries()) {
    for (const [i, value] of (decodeValue(part) as RespValue[]).entries()) values[places[k]![i]!] = value
  }
  return encodeReplies((out) => {
    out.protocol = protocol
    out.array(groups)
    for (const value of values) {
      if (value === null) out.null()
      else out.bulk(value as Buffer)
    }
  })
}

/** DBSIZE, FLUSHALL, FLUSHDB, KEYS and SCAN. */
export async function everywhere(command: Command, args: CommandReader): Promise<Buffer> {
  if (command.gather === undefined) return scan(args)
  const raw = args.raw()
  const parts = await Promise.all(Array.from({ length: shards }, (_, shard) => ask(shard, 2, [raw])))
  const error = parts.find(isError)
  if (error || command.gather === 'ok') return error ?? parts[0]!
  if (command.gather === 'sum') return sumOf(parts)
  const keys = parts.flatMap((reply) => decodeValue(reply) as Buffer[])
  return encodeReplies((out) => {
    out.array(keys.length)
    for (const key of keys) out.bulk(key)
  })
}

/** A cursor says which shard it is in: the shards are scanned one after the other. */
async function scan(args: CommandReader): Promise<Buffer> {
  const cursor = args.integer(1)
  if (cursor === undefined || cursor < 0) return encodeError(invalidCursor)
  const shard = cursor % shards
  const words: Buffer[] = [Buffer.from('SCAN'), Buffer.from(String(Math.floor(cursor / shards)))]
  for (let i = 2; i < args.count; i++) words.push(args.bytes(i))
  const reply = await ask(shard, 2, [encodeCommand(words)])
  if (isError(reply)) return reply
  const [next, keys] = decodeValue(reply) as [Buffer, Buffer[]]
  const place = Number(next.toString())
  // 0 begins the first shard, and ends the last one.
  const then = place !== 0 ? place * shards + shard : shard + 1 < shards ? shard + 1 : 0
  return encodeReplies((out) => {
    out.array(2).bulk(String(then)).array(keys.length)
    for (const key of keys) out.bulk(key)
  })
}
