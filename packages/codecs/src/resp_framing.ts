import { framingKind, OptionReader } from '@multireactor/addon'
import type { Framing } from '@multireactor/reactor'

/** Options of `resp()`. */
export interface RespCommandOptions {
  /** Of a whole command, or of a batch of them. Default 1 MiB. A larger one closes the connection as `frame-too-large`. */
  maxBytes?: number
  /** Arguments of a command, its name included. Default 65,536. */
  maxArguments?: number
  /** Of one argument. Default `maxBytes`. */
  maxBulkBytes?: number
  /** Of a command that is one line of words, as from telnet. Default 64 KiB; 0 refuses such ones as `malformed-frame`. */
  maxInlineBytes?: number
  /**
   * A frame is as many whole commands as one read gave, at most 1,024, instead of one: a pipelining client then costs one hook
   * and one write for all of them. For apps that answer in `message`; read with `CommandReader`. Default false.
   */
  batch?: boolean
}

const mebibyte = 1 << 20
const mostBytes = 0xffff_ffff

/**
 * Commands of RESP2 and RESP3, as Redis clients send them: arrays of bulk strings, and lines of words. A frame is one whole
 * command as it came, lengths included; `CommandReader` takes it apart.
 */
export function resp(options: RespCommandOptions = {}): Framing {
  const read = new OptionReader('resp()', options, ['maxBytes', 'maxArguments', 'maxBulkBytes', 'maxInlineBytes', 'batch'])
  const maxBytes = read.integer('maxBytes', mebibyte, 16, mostBytes)
  return {
    native: {
      kind: framingKind.respCommand,
      maxBytes,
      maxElements: read.integer('maxArguments', 65_536, 1, 1 << 20),
      maxBulkBytes: read.integer('maxBulkBytes', maxBytes, 0, maxBytes),
      maxLineBytes: read.integer('maxInlineBytes', Math.min(64 << 10, maxBytes), 0, maxBytes),
      batch: read.boolean('batch', false),
    },
  }
}

/** Options of `respValues()`. */
export interface RespValueOptions {
  /** Of a whole value. Default 1 MiB. */
  maxBytes?: number
  /** Elements of one array, set, map or push; of a map, pairs. Default 65,536. */
  maxElements?: number
  /** Of one bulk string. Default `maxBytes`. */
  maxBulkBytes?: number
  /** Aggregates inside of each other, at most 32. Default 8. */
  maxDepth?: number
}

/**
 * Values of RESP2 and RESP3, as Redis servers answer: for the client's side. A frame is one whole value; `decodeValue` reads it.
 * Streamed values (`$?`) are malformed.
 */
export function respValues(options: RespValueOptions = {}): Framing {
  const read = new OptionReader('respValues()', options, ['maxBytes', 'maxElements', 'maxBulkBytes', 'maxDepth'])
  const maxBytes = read.integer('maxBytes', mebibyte, 16, mostBytes)
  return {
    native: {
      kind: framingKind.respValue,
      maxBytes,
      maxElements: read.integer('maxElements', 65_536, 0, 1 << 24),
      maxBulkBytes: read.integer('maxBulkBytes', maxBytes, 0, maxBytes),
      maxLineBytes: Math.min(64 << 10, maxBytes),
      maxDepth: read.integer('maxDepth', 8, 1, 32),
    },
  }
}
