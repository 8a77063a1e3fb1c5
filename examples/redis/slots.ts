// Which reactor has a key: the 16,384 slots of a Redis cluster, in as many ranges as there are reactors.
import type { CommandReader } from '@multireactor/codecs'

export const shards = Number(process.env.SHARDS ?? 1)

const table = new Uint16Array(256)
for (let byte = 0; byte < 256; byte++) {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  table[byte] = crc
}

/** The slot of a key, one character for each of its bytes. Of `{user1}.name` only `user1` counts: a hash tag. */
export function slotOf(key: string): number {
  let from = 0
  let to = key.length
  const open = key.indexOf('{')
  if (open >= 0) {
    const close = key.indexOf('}', open + 1)
    if (close > open + 1) {
      from = open + 1
      to = close
    }
  }
  let crc = 0
  for (let at = from; at < to; at++) crc = ((crc << 8) & 0xffff) ^ table[((crc >> 8) ^ key.charCodeAt(at)) & 255]!
  return crc & 16_383
}

export function shardOf(key: string): number {
  return shards === 1 ? 0 : Math.floor((slotOf(key) * shards) / 16_384)
}

/** The keys of a command, by where they stand in it. */
export function keysOf(keys: [first: number, last: number, step: number] | undefined, args: CommandReader): string[] {
  const found: string[] = []
  const [first, last, step] = keys ?? [0, 0, 0]
  if (first > 0) for (let i = first; i <= (last < 0 ? args.count + last : last); i += step) found.push(args.text(i))
  return found
}
