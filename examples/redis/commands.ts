import type { CommandReader, ReplyWriter } from '@multireactor/codecs'
import type { Database, Value } from './database.ts'
import { Deque } from './deque.ts'
import { glob } from './glob.ts'

/** A command on the keys of one shard. It writes exactly one reply. */
export interface Command {
  /** Arguments, the name included; negative: at least so many. */
  arity: number
  /** Where its keys stand: the first, the last (negative: from the end), and how far apart. 0: it is about all keys. Left out: about none. */
  keys?: [first: number, last: number, step: number]
  run(db: Database, args: CommandReader, out: ReplyWriter): unknown
  /** How the replies of several shards become one, when the keys may lie in several. */
  gather?: 'sum' | 'values' | 'ok'
}

/** An error that goes to the client. */
export class CommandError extends Error {}

const wrongType = 'WRONGTYPE Operation against a key holding the wrong kind of value'
const notInteger = 'ERR value is not an integer or out of range'
const overflow = 'ERR increment or decrement would overflow'
const syntax = 'ERR syntax error'
export const invalidCursor = 'ERR invalid cursor'
export const wrongArity = (name: string) => `ERR wrong number of arguments for '${name.toLowerCase()}' command`

/** Strings of JavaScript have a limit, too, which is a little less than the 512 MiB of redis-server. */
const longestString = 256 << 20
const int64 = { least: -(2n ** 63n), most: 2n ** 63n - 1n }

function typed<T extends Value>(value: Value | undefined, is: (value: Value) => value is T): T | undefined {
  if (value === undefined || is(value)) return value
  throw new CommandError(wrongType)
}
const isText = (value: Value): value is string => typeof value === 'string'
const isList = (value: Value): value is Deque => value instanceof Deque
const isHash = (value: Value): value is Map<string, string> => value instanceof Map
const isSet = (value: Value): value is Set<string> => value instanceof Set

const textAt = (db: Database, key: string) => typed(db.get(key), isText)
const listAt = (db: Database, key: string) => typed(db.get(key), isList)
const hashAt = (db: Database, key: string) => typed(db.get(key), isHash)
const setAt = (db: Database, key: string) => typed(db.get(key), isSet)

/** A whole number of 64 bits, as redis-server reads one: no sign but `-`, no zeros in front, no spaces. */
function wholeNumber(text: string): bigint | undefined {
  if (!/^(?:0|-?[1-9]\d{0,18})$/.test(text)) return undefined
  const value = BigInt(text)
  return value >= int64.least && value <= int64.most ? value : undefined
}

/** An exact integer of any size: the argument of INCRBY and HINCRBY. */
function exactInteger(args: CommandReader, i: number): number | bigint {
  const value = args.integer(i) ?? wholeNumber(args.text(i))
  if (value === undefined) throw new CommandError(notInteger)
  return value
}

/** Beyond 2^53 it is not exact: good enough for places, counts and times. */
function integer(args: CommandReader, i: number): number {
  return Number(exactInteger(args, i))
}

function positive(args: CommandReader, i: number): number {
  const value = args.integer(i) ?? wholeNumber(args.text(i))
  if (value === undefined || value < 0) throw new CommandError('ERR value is out of range, must be positive')
  return Number(value)
}

function sumOf(text: string | undefined, by: number | bigint, notNumber: string): number | bigint {
  const value = text === undefined ? 0n : wholeNumber(text)
  if (value === undefined) throw new CommandError(notNumber)
  const sum = value + BigInt(by)
  if (sum < int64.least || sum > int64.most) throw new CommandError(overflow)
  return sum
}

function bulkOrNull(out: ReplyWriter, value: string | undefined): unknown {
  return value === undefined ? out.null() : out.bulk(value)
}

function list(out: ReplyWriter, values: Iterable<string>, count: number): unknown {
  out.array(count)
  for (const value of values) out.bulk(value)
  return out
}

const smallNumber = /^(?:0|-?[1-9]\d{0,14})$/

/** Most counters are small: those need no bigint. */
function add(text: string | undefined, by: number | bigint, notNumber: string): number | bigint {
  if (typeof by === 'number' && (text === undefined || smallNumber.test(text))) {
    const sum = Number(text ?? 0) + by
    if (Number.isSafeInteger(sum)) return sum
  }
  return sumOf(text, by, notNumber)
}

function addTo(db: Database, key: string, by: number | bigint): number | bigint {
  const sum = add(textAt(db, key), by, notInteger)
  db.put(key, String(sum))
  return sum
}

function decrement(args: CommandReader, i: number): number | bigint {
  const by = exactInteger(args, i)
  if (by === int64.least) throw new CommandError('ERR decrement would overflow')
  return -by
}

/** Removes a key whose value is empty. */
function dropEmpty(db: Database, key: string, size: number): void {
  if (size === 0) db.delete(key)
}

function set(db: Database, args: CommandReader, out: ReplyWriter): unknown {
  const key = args.text(1)
  if (args.count === 3) {
    db.set(key, args.text(2))
    return out.simple('OK')
  }
  let condition = ''
  let keep = false
  let wantsOld = false
  let time: { unit: string; at: number } | undefined
  for (let i = 3; i < args.count; i++) {
    const word = args.text(i).toUpperCase()
    if ((word === 'NX' || word === 'XX') && (condition === '' || condition === word)) condition = word
    else if (word === 'KEEPTTL' && !time) keep = true
    else if (word === 'GET') wantsOld = true
    else if (['EX', 'PX', 'EXAT', 'PXAT'].includes(word) && i + 1 < args.count && !keep && (!time || time.unit === word))
      time = { unit: word, at: ++i }
    else throw new CommandError(syntax)
  }
  const expires = time && momentOf(args, time.at, time.unit.startsWith('EX') ? 1000 : 1, !time.unit.endsWith('AT'))
  if (expires !== undefined && integer(args, time!.at) <= 0) throw invalidTime(args)
  const known = db.get(key)
  const old = wantsOld ? typed(known, isText) : undefined
  const isRefused = condition !== '' && (condition === 'NX') === (known !== undefined)
  if (!isRefused) {
    if (keep) db.put(key, args.text(2))
    else db.set(key, args.text(2))
    if (expires !== undefined) db.expireAt(key, expires)
  }
  if (wantsOld) return bulkOrNull(out, old)
  return isRefused ? out.null() : out.simple('OK')
}

const invalidTime = (args: CommandReader) =>
  new CommandError(`ERR invalid expire time in '${args.text(0).toLowerCase()}' command`)

/** Ms since 1970, from an argument in ms or seconds. Values above 64 bits are refused. */
function momentOf(args: CommandReader, i: number, unit: number, isRelative: boolean): number {
  const time = exactInteger(args, i)
  const from = isRelative ? Date.now() : 0
  if (typeof time === 'number' && Math.abs(time) < 2 ** 42) return time * unit + from
  const ms = BigInt(time) * BigInt(unit)
  if (ms < int64.least || ms + BigInt(from) > int64.most) throw invalidTime(args)
  return Number(ms) + from
}

function expire(unit: number, isAbsolute: boolean) {
  return (db: Database, args: CommandReader, out: ReplyWriter): unknown => {
    const options = new Set<string>()
    for (let i = 3; i < args.count; i++) {
      const word = args.text(i).toUpperCase()
      if (!['NX', 'XX', 'GT', 'LT'].includes(word)) throw new CommandError(`ERR Unsupported option ${args.text(i)}`)
      options.add(word)
    }
    if (options.has('NX') && options.size > 1) {
      throw new CommandError('ERR NX and XX, GT or LT options at the same time are not compatible')
    }
    if (options.has('GT') && options.has('LT')) {
      throw new CommandError('ERR GT and LT options at the same time are not compatible')
    }
    const key = args.text(1)
    const moment = momentOf(args, 2, unit, !isAbsolute)
    if (db.get(key) === undefined || !mayExpire(options, moment, db.expiresAt(key))) return out.integer(0)
    db.expireAt(key, moment)
    return out.integer(1)
  }
}

/** A key that has no time lives for ever: nothing is greater than that. */
function mayExpire(options: Set<string>, moment: number, now: number | undefined): boolean {
  if (options.has('NX') && now !== undefined) return false
  if (options.has('XX') && now === undefined) return false
  if (options.has('GT') && moment <= (now ?? Number.POSITIVE_INFINITY)) return false
  return !options.has('LT') || moment < (now ?? Number.POSITIVE_INFINITY)
}

function timeLeft(unit: number) {
  return (db: Database, args: CommandReader, out: ReplyWriter): unknown => {
    const key = args.text(1)
    if (db.get(key) === undefined) return out.integer(-2)
    const at = db.expiresAt(key)
    return out.integer(at === undefined ? -1 : Math.max(0, Math.round((at - Date.now()) / unit)))
  }
}

function push(left: boolean) {
  return (db: Database, args: CommandReader, out: ReplyWriter): unknown => {
    const key = args.text(1)
    let values = listAt(db, key)
    if (!values) {
      values = new Deque()
      db.set(key, values)
    }
    for (let i = 2; i < args.count; i++) {
      if (left) values.pushLeft(args.text(i))
      else values.pushRight(args.text(i))
    }
    return out.integer(values.length)
  }
}

function pop(left: boolean) {
  return (db: Database, args: CommandReader, out: ReplyWriter): unknown => {
    if (args.count > 3) throw new CommandError(wrongArity(args.name()))
    const key = args.text(1)
    const count = args.count > 2 ? positive(args, 2) : undefined
    const values = listAt(db, key)
    if (!values) return count === undefined ? out.null() : out.nullArray()
    const take = () => (left ? values.popLeft() : values.popRight())
    if (count === undefined) out.bulk(take())
    else {
      const popped = Array.from({ length: Math.min(count, values.length) }, take)
      list(out, popped, popped.length)
    }
    dropEmpty(db, key, values.length)
    return out
  }
}

/** LRANGE's and LINDEX's numbers count from the end when they are negative. */
const fromEnd = (index: number, length: number) => (index < 0 ? index + length : index)

function typeName(value: Value | undefined): string {
  if (value === undefined) return 'none'
  return isText(value) ? 'string' : isList(value) ? 'list' : isHash(value) ? 'hash' : 'set'
}

function setExpiring(unit: number) {
  return (db: Database, args: CommandReader, out: ReplyWriter): unknown => {
    const moment = momentOf(args, 2, unit, true)
    if (integer(args, 2) <= 0) throw invalidTime(args)
    db.set(args.text(1), args.text(3))
    db.expireAt(args.text(1), moment)
    return out.simple('OK')
  }
}

const one: [number, number, number] = [1, 1, 1]
const all: [number, number, number] = [1, -1, 1]
const none: [number, number, number] = [0, 0, 0]

export const commands = new Map<string, Command>(
  Object.entries({
    // About no key: the shard of the connection runs them, or in a transaction that of its keys.
    PING: {
      arity: -1,
      run(_db, args, out) {
        if (args.count > 2) throw new CommandError(wrongArity('ping'))
        return args.count === 2 ? out.bulk(args.bytes(1)) : out.simple('PONG')
      },
    },
    ECHO: { arity: 2, run: (_db, args, out) => out.bulk(args.bytes(1)) },

    GET: { arity: 2, keys: one, run: (db, args, out) => bulkOrNull(out, textAt(db, args.text(1))) },
    SET: { arity: -3, keys: one, run: set },
    SETNX: {
      arity: 3,
      keys: one,
      run(db, args, out) {
        if (db.get(args.text(1)) !== undefined) return out.integer(0)
        db.set(args.text(1), args.text(2))
        return out.integer(1)
      },
    },
    SETEX: { arity: 4, keys: one, run: setExpiring(1000) },
    PSETEX: { arity: 4, keys: one, run: setExpiring(1) },
    GETSET: {
      arity: 3,
      keys: one,
      run(db, args, out) {
        const before = textAt(db, args.text(1))
        db.set(args.text(1), args.text(2))
        return bulkOrNull(out, before)
      },
    },
    GETDEL: {
      arity: 2,
      keys: one,
      run(db, args, out) {
        const before = textAt(db, args.text(1))
        db.delete(args.text(1))
        return bulkOrNull(out, before)
      },
    },
    MGET: {
      arity: -2,
      keys: all,
      gather: 'values',
      run(db, args, out) {
        out.array(args.count - 1)
        for (let i = 1; i < args.count; i++) {
          const value = db.get(args.text(i))
          bulkOrNull(out, typeof value === 'string' ? value : undefined)
        }
      },
    },
    MSET: {
      arity: -3,
      keys: [1, -1, 2],
      gather: 'ok',
      run(db, args, out) {
        if (args.count % 2 === 0) throw new CommandError(wrongArity('mset'))
        for (let i = 1; i < args.count; i += 2) db.set(args.text(i), args.text(i + 1))
        return out.simple('OK')
      },
    },
    INCR: { arity: 2, keys: one, run: (db, args, out) => out.integer(addTo(db, args.text(1), 1)) },
    DECR: { arity: 2, keys: one, run: (db, args, out) => out.integer(addTo(db, args.text(1), -1)) },
    INCRBY: { arity: 3, keys: one, run: (db, args, out) => out.integer(addTo(db, args.text(1), exactInteger(args, 2))) },
    DECRBY: { arity: 3, keys: one, run: (db, args, out) => out.integer(addTo(db, args.text(1), decrement(args, 2))) },
    APPEND: {
      arity: 3,
      keys: one,
      run(db, args, out) {
        const before = textAt(db, args.text(1)) ?? ''
        if (before.length + args.length(2) > longestString) throw new CommandError('ERR string exceeds maximum allowed size')
        const value = before + args.text(2)
        db.put(args.text(1), value)
        return out.integer(value.length)
      },
    },
    STRLEN: { arity: 2, keys: one, run: (db, args, out) => out.integer(textAt(db, args.text(1))?.length ?? 0) },
    DEL: { arity: -2, keys: all, gather: 'sum', run: (db, args, out) => out.integer(countOf(args, (key) => db.delete(key))) },
    UNLINK: { arity: -2, keys: all, gather: 'sum', run: (db, args, out) => out.integer(countOf(args, (key) => db.delete(key))) },
    EXISTS: {
      arity: -2,
      keys: all,
      gather: 'sum',
      run: (db, args, out) => out.integer(countOf(args, (key) => db.get(key) !== undefined)),
    },
    TYPE: { arity: 2, keys: one, run: (db, args, out) => out.simple(typeName(db.get(args.text(1)))) },
    EXPIRE: { arity: -3, keys: one, run: expire(1000, false) },
    PEXPIRE: { arity: -3, keys: one, run: expire(1, false) },
    EXPIREAT: { arity: -3, keys: one, run: expire(1000, true) },
    PEXPIREAT: { arity: -3, keys: one, run: expire(1, true) },
    TTL: { arity: 2, keys: one, run: timeLeft(1000) },
    PTTL: { arity: 2, keys: one, run: timeLeft(1) },
    PERSIST: {
      arity: 2,
      keys: one,
      run: (db, args, out) => out.integer(db.get(args.text(1)) !== undefined && db.persist(args.text(1)) ? 1 : 0),
    },

    LPUSH: { arity: -3, keys: one, run: push(true) },
    RPUSH: { arity: -3, keys: one, run: push(false) },
    LPOP: { arity: -2, keys: one, run: pop(true) },
    RPOP: { arity: -2, keys: one, run: pop(false) },
    LLEN: { arity: 2, keys: one, run: (db, args, out) => out.integer(listAt(db, args.text(1))?.length ?? 0) },
    LINDEX: {
      arity: 3,
      keys: one,
      run(db, args, out) {
        const values = listAt(db, args.text(1))
        if (!values) return out.null()
        const at = fromEnd(integer(args, 2), values.length)
        return at >= 0 && at < values.length ? out.bulk(values.get(at)) : out.null()
      },
    },
    LRANGE: {
      arity: 4,
      keys: one,
      run(db, args, out) {
        const [first, last] = [integer(args, 2), integer(args, 3)]
        const values = listAt(db, args.text(1))
        const length = values?.length ?? 0
        const from = Math.max(0, fromEnd(first, length))
        const to = Math.min(length - 1, fromEnd(last, length))
        out.array(Math.max(0, to - from + 1))
        for (let i = from; i <= to; i++) out.bulk(values!.get(i))
      },
    },

    HSET: {
      arity: -4,
      keys: one,
      run(db, args, out) {
        if (args.count % 2 !== 0) throw new CommandError(wrongArity('hset'))
        let hash = hashAt(db, args.text(1))
        if (!hash) {
          hash = new Map()
          db.set(args.text(1), hash)
        }
        const before = hash.size
        for (let i = 2; i < args.count; i += 2) hash.set(args.text(i), args.text(i + 1))
        return out.integer(hash.size - before)
      },
    },
    HGET: { arity: 3, keys: one, run: (db, args, out) => bulkOrNull(out, hashAt(db, args.text(1))?.get(args.text(2))) },
    HMGET: {
      arity: -3,
      keys: one,
      run(db, args, out) {
        const hash = hashAt(db, args.text(1))
        out.array(args.count - 2)
        for (let i = 2; i < args.count; i++) bulkOrNull(out, hash?.get(args.text(i)))
      },
    },
    HGETALL: {
      arity: 2,
      keys: one,
      run(db, args, out) {
        const hash = hashAt(db, args.text(1)) ?? new Map<string, string>()
        out.map(hash.size)
        for (const [field, value] of hash) out.bulk(field).bulk(value)
      },
    },
    HDEL: {
      arity: -3,
      keys: one,
      run(db, args, out) {
        const hash = hashAt(db, args.text(1))
        let count = 0
        for (let i = 2; hash && i < args.count; i++) if (hash.delete(args.text(i))) count++
        if (hash) dropEmpty(db, args.text(1), hash.size)
        return out.integer(count)
      },
    },
    HLEN: { arity: 2, keys: one, run: (db, args, out) => out.integer(hashAt(db, args.text(1))?.size ?? 0) },
    HEXISTS: { arity: 3, keys: one, run: (db, args, out) => out.integer(hashAt(db, args.text(1))?.has(args.text(2)) ? 1 : 0) },
    HKEYS: {
      arity: 2,
      keys: one,
      run: (db, args, out) => list(out, hashAt(db, args.text(1))?.keys() ?? [], hashAt(db, args.text(1))?.size ?? 0),
    },
    HVALS: {
      arity: 2,
      keys: one,
      run: (db, args, out) => list(out, hashAt(db, args.text(1))?.values() ?? [], hashAt(db, args.text(1))?.size ?? 0),
    },
    HINCRBY: {
      arity: 4,
      keys: one,
      run(db, args, out) {
        const by = exactInteger(args, 3)
        const hash = hashAt(db, args.text(1)) ?? new Map<string, string>()
        const sum = add(hash.get(args.text(2)), by, 'ERR hash value is not an integer')
        hash.set(args.text(2), String(sum))
        db.put(args.text(1), hash)
        return out.integer(sum)
      },
    },

    SADD: {
      arity: -3,
      keys: one,
      run(db, args, out) {
        let members = setAt(db, args.text(1))
        if (!members) {
          members = new Set()
          db.set(args.text(1), members)
        }
        const before = members.size
        for (let i = 2; i < args.count; i++) members.add(args.text(i))
        return out.integer(members.size - before)
      },
    },
    SREM: {
      arity: -3,
      keys: one,
      run(db, args, out) {
        const members = setAt(db, args.text(1))
        let count = 0
        for (let i = 2; members && i < args.count; i++) if (members.delete(args.text(i))) count++
        if (members) dropEmpty(db, args.text(1), members.size)
        return out.integer(count)
      },
    },
    SMEMBERS: {
      arity: 2,
      keys: one,
      run(db, args, out) {
        const members = setAt(db, args.text(1)) ?? new Set<string>()
        out.set(members.size)
        for (const member of members) out.bulk(member)
      },
    },
    SISMEMBER: { arity: 3, keys: one, run: (db, args, out) => out.integer(setAt(db, args.text(1))?.has(args.text(2)) ? 1 : 0) },
    SCARD: { arity: 2, keys: one, run: (db, args, out) => out.integer(setAt(db, args.text(1))?.size ?? 0) },
    SPOP: {
      arity: -2,
      keys: one,
      run(db, args, out) {
        if (args.count > 3) throw new CommandError(syntax)
        const count = args.count === 3 ? positive(args, 2) : undefined
        const members = setAt(db, args.text(1)) ?? new Set<string>()
        // Those that were added first: a Set does not say which one stands in the middle.
        const popped = [...take(members, count ?? 1)]
        for (const member of popped) members.delete(member)
        dropEmpty(db, args.text(1), members.size)
        if (count === undefined) return bulkOrNull(out, popped[0])
        out.set(popped.length)
        for (const member of popped) out.bulk(member)
      },
    },

    DBSIZE: { arity: 1, keys: none, gather: 'sum', run: (db, _args, out) => out.integer(db.size) },
    FLUSHALL: { arity: -1, keys: none, gather: 'ok', run: flush },
    FLUSHDB: { arity: -1, keys: none, gather: 'ok', run: flush },
    // The cursor of one shard; app.ts makes one of all of them.
    SCAN: {
      arity: -2,
      keys: none,
      run(db, args, out) {
        const cursor = args.integer(1)
        if (cursor === undefined || cursor < 0) throw new CommandError(invalidCursor)
        let count = 10
        let matches: ((key: string) => boolean) | undefined
        let type: string | undefined
        for (let i = 2; i < args.count; i += 2) {
          const word = args.text(i).toUpperCase()
          if (i + 1 === args.count) throw new CommandError(syntax)
          if (word === 'COUNT') {
            count = integer(args, i + 1)
            if (count < 1) throw new CommandError(syntax)
          } else if (word === 'MATCH') matches = pattern(args, i + 1)
          else if (word === 'TYPE') type = args.text(i + 1).toLowerCase()
          else throw new CommandError(syntax)
        }
        const { next, keys } = db.scan(cursor, count)
        const found = keys.filter((key) => (matches?.(key) ?? true) && (type === undefined || typeName(db.get(key)) === type))
        out.array(2).bulk(String(next))
        return list(out, found, found.length)
      },
    },
    KEYS: {
      arity: 2,
      keys: none,
      gather: 'values',
      run(db, args, out) {
        const keys = db.keys().filter(pattern(args, 1))
        return list(out, keys, keys.length)
      },
    },
  } satisfies Record<string, Command>),
)

function* take<T>(values: Iterable<T>, count: number): Iterable<T> {
  for (const value of values) {
    if (count-- <= 0) return
    yield value
  }
}

function pattern(args: CommandReader, i: number): (key: string) => boolean {
  const matches = glob(args.text(i))
  if (!matches) throw new CommandError('ERR the pattern is too long')
  return matches
}

function countOf(args: CommandReader, what: (key: string) => boolean): number {
  let count = 0
  for (let i = 1; i < args.count; i++) if (what(args.text(i))) count++
  return count
}

function flush(db: Database, args: CommandReader, out: ReplyWriter): unknown {
  if (args.count > 2 || (args.count === 2 && !/^a?sync$/i.test(args.text(1)))) throw new CommandError(syntax)
  db.clear()
  return out.simple('OK')
}
