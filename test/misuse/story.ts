import { appendFileSync } from 'node:fs'
import { threadId } from 'node:worker_threads'
import { closeReasons } from '@multireactor/addon'
import { errorCodes, MultireactorError } from '@multireactor/reactor'
import { Random } from '../support/random.js'
import { letterOf } from './records.js'
import { Trap } from './values.js'

const { env } = process
export const seed = Number(env['MISUSE_SEED'] ?? 0)
const log = env['MISUSE_LOG']
/** When a failure is shrunk: only these calls are made. */
const only = env['MISUSE_ONLY'] === undefined ? undefined : new Set(env['MISUSE_ONLY'].split(','))

type Word = 'wrong' | 'opened' | 'closed' | 'call' | 'got' | 'hook' | 'peer' | 'state' | 'died' | 'begin' | 'end'

/** One line of the log; written at once, since the process may be gone the next moment. */
export function tell(word: Word, sequence: number, rest: string): void {
  if (log) appendFileSync(log, `${word} ${sequence} ${rest.replaceAll('\n', '\\n').slice(0, 2_000)}\n`)
}

/** Like `tell`, with the time and the thread: the trail that run.ts prints for a sequence that fails. */
export function trace(word: 'call' | 'got' | 'hook' | 'peer', sequence: number, rest: string): void {
  tell(word, sequence, `${rest} @${Date.now() % 1_000_000}/${threadId}`)
}

/** The differences between servers, as bits: see `variants`. Each process has one of its own. */
const variant = Number(env['MISUSE_VARIANT'] ?? 0)
export const variants = {
  /** The queue is short, and frames without room are refused. */
  refuses: (variant & 1) !== 0,
  /** Frames that wait in it are refused soon. */
  hastens: (variant & 2) !== 0,
  /** Out buffers are small: frames are set aside until their replies have room. */
  isNarrow: (variant & 4) !== 0,
}
export const narrow = variants.isNarrow ? { outBuffer: { high: 2 << 10, low: 512, max: 16 << 10 } } : {}

/** Threads die in the last sequences of each thousand. Their state is lost then. */
const dyingFrom = 880
export const mayBeLost = (sequence: number): boolean => sequence % 1_000 >= dyingFrom
export const mayDie = (sequence: number): boolean => sequence % 1_000 >= dyingFrom + 20

/** The history of one connection; it goes along to other threads. */
export interface Story {
  sequence: number
  index: number
  letter: string
  listener: string
  /** How often each hook was called. */
  hooks: Record<string, number>
  frames: number
  /** end() was called. */
  ended: boolean
  /** It was piped, streamed or told to move. */
  placed: boolean
  /** destroy() was called, or it has closed. */
  gone: boolean
  closed: number
  /** A reply may end it, and replies behind that place do not leave. */
  endsInOrder: boolean
  /** Writes of kinds ordered and loose that returned true. */
  accepted: number
}

export function newStory(sequence: number, index: number, listener: string): Story {
  const letter = letterOf(sequence, index % 3)
  return {
    sequence,
    index,
    letter,
    listener,
    hooks: {},
    frames: 0,
    ended: false,
    placed: false,
    gone: false,
    closed: 0,
    accepted: 0,
    endsInOrder: false,
  }
}

/** How often the hook has been called, this time included. */
export function turnOf(story: Story, hook: string): number {
  const turn = (story.hooks[hook] ?? 0) + 1
  story.hooks[hook] = turn
  return turn
}

/** The address that a peer has by its PROXY header. */
export const addressOf = (sequence: number): string => `10.${sequence >> 16}.${(sequence >> 8) & 255}.${sequence & 255}`
export const portOf = (index: number): number => 1_000 + index

export function storyOf(address: string | undefined, port: number | undefined, listener: string): Story {
  const [, a, b, c] = (address ?? '').split('.').map(Number)
  return newStory((a! << 16) | (b! << 8) | c!, (port ?? 0) - 1_000, listener)
}

/** FNV-1a: the choice of a name must not depend on the moment of the call. */
export function randomOf(...names: (string | number)[]): Random {
  let hash = 0x811c9dc5 ^ seed
  for (const char of names.join('/')) hash = Math.imul(hash ^ char.charCodeAt(0), 0x01000193)
  return new Random(hash)
}

/** Promises that have not settled, to report hangs. */
export const waiting = new Set<string>()

let numbers = 0
/** Numbers of this thread, for records that belong to no frame. */
export const nextNumber = (): number => numbers++
export { threadId }

export interface Expected {
  /** The arguments are wrong: it has to throw. */
  wrong?: boolean
  /** On a connection that is gone it returns this. */
  whenGone?: unknown
  /** Codes that it may throw or reject with in any state. */
  may?: readonly string[]
}

const wrongCodes = [
  'ERR_MR_DATA',
  'ERR_MR_OPTION_TYPE',
  'ERR_MR_OPTION_RANGE',
  'ERR_MR_TOPIC',
  'ERR_MR_UNKNOWN_OPTION',
  'ERR_MR_HTTP',
]

/**
 * Makes the call `key`, and reports violations of docs/errors.md. Returns the call's result; `undefined` if it threw, and for a promise one that
 * resolves when it has settled.
 */
export function attempt(story: Story, key: string, name: string, call: () => unknown, expected: Expected = {}): unknown {
  if (only && !only.has(key)) return undefined
  trace('call', story.sequence, `${key} ${name}`)
  const wasGone = story.gone
  const { placed } = story
  // The connection knows the calls of the last thread, and the clone of its data may be older.
  const ended = story.ended || (story.hooks['restore'] ?? 0) > 0
  const failed = (error: unknown, isLater: boolean) => {
    trace('got', story.sequence, `${key} ${(error as { code?: string } | undefined)?.code ?? 'an error without a code'}`)
    const why = wrongThrow(error, { ...expected, isLater, gone: wasGone, ended, placed })
    if (why)
      tell('wrong', story.sequence, `${key} ${name} of ${story.listener}: ${why}: ${(error as Error)?.stack ?? String(error)}`)
  }
  try {
    const result = call()
    if (result instanceof Promise) {
      waiting.add(`${key} ${name}`)
      return result
        .finally(() => waiting.delete(`${key} ${name}`))
        .then(
          () => {
            if (expected.wrong) tell('wrong', story.sequence, `${key} ${name} of ${story.listener}: took what is wrong`)
          },
          (error: unknown) => failed(error, true),
        )
    }
    if (typeof result === 'boolean') trace('got', story.sequence, `${key} ${result}`)
    if (expected.wrong) tell('wrong', story.sequence, `${key} ${name} of ${story.listener}: took what is wrong`)
    else if (wasGone && 'whenGone' in expected && result !== expected.whenGone) {
      tell('wrong', story.sequence, `${key} ${name} of ${story.listener}: returns ${String(result)} on a connection that is gone`)
    }
    return result
  } catch (error) {
    failed(error, false)
    return undefined
  }
}

interface Circumstances extends Expected {
  isLater: boolean
  gone: boolean
  ended: boolean
  placed: boolean
}

function wrongThrow(error: unknown, { wrong, may, isLater, gone, ended, placed }: Circumstances): string | undefined {
  if (error instanceof Trap) return wrong ? undefined : 'a trap of a right argument'
  const { code } = (error ?? {}) as { code?: string }
  if (code !== undefined && may?.includes(code))
    return code.startsWith('ERR_MR_') && !(error instanceof MultireactorError) ? 'not a MultireactorError' : undefined
  if (!(error instanceof MultireactorError) || !(error.code in errorCodes)) return 'not a coded error'
  if (wrong && wrongCodes.includes(error.code)) return undefined
  // Which of two mistakes it tells of is open.
  if (ended && error.code === 'ERR_MR_CONNECTION_CLOSED') return undefined
  if (isLater && error.code === 'ERR_MR_CONNECTION_CLOSED') return undefined
  if (gone) return 'throws on a connection that is gone'
  if (placed && error.code === 'ERR_MR_STATE') return undefined
  return 'an error that the app cannot know of'
}

export function checkReason(story: Story, reason: string): void {
  if (!(closeReasons as readonly string[]).includes(reason))
    tell('wrong', story.sequence, `a reason that nobody knows: ${reason}`)
}
