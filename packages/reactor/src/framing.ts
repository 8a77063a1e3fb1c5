import {
  framingKind,
  http1Info as http1Bits,
  isBytes,
  lengthTypes,
  MultireactorError,
  type NativeFraming,
  OptionReader,
  shown,
  stripHeader,
} from '@multireactor/addon'

/** How a connection's bytes are cut into frames. Made by `raw()`, `lines()` and their siblings; opaque otherwise. */
export interface Framing {
  /** The settings of the native framer; opaque. */
  readonly native: NativeFraming
  /** Only `custom()` has one. Runs on the reactor. */
  readonly cut?: CustomFramer
}

/**
 * A framer of one's own. It gets everything received and not yet used, and answers with one frame and how many bytes it took
 * (`frame` may be left out: the bytes are skipped), with `{ needed }` when it wants to be asked again only when so many bytes
 * are there, or with undefined when any more bytes will do. A throw closes the connection as `malformed-frame`.
 */
export type CustomFramer = (
  bytes: Buffer,
) => { consumed: number; frame?: Uint8Array; needed?: undefined } | { needed: number; consumed?: undefined } | undefined

const mebibyte = 1 << 20
/** The largest frame any framing may allow: lengths cross to JavaScript as 32-bit numbers. */
const mostBytes = 0xffff_ffff

/** No framing: bytes as they come. A frame has the bytes of one read, at most 64 KiB. */
export function raw(): Framing {
  return { native: { kind: framingKind.raw, maxBytes: mostBytes } }
}

/**
 * Lines that end in `\n`; a `\r` before it is dropped too. A line longer than `maxBytes` (default 1 MiB) closes the connection
 * as `frame-too-large`.
 */
export function lines(options: { maxBytes?: number } = {}): Framing {
  const read = new OptionReader('lines()', options, ['maxBytes'])
  return {
    native: {
      kind: framingKind.delimiter,
      maxBytes: read.integer('maxBytes', mebibyte, 1, mostBytes),
      delimiter: Buffer.from('\n'),
      trimCarriageReturn: true,
    },
  }
}

/** Frames that end in `bytes` (1 to 255 of them), which are not part of the frame. */
export function delimiter(bytes: string | Uint8Array, options: { maxBytes?: number } = {}): Framing {
  const read = new OptionReader('delimiter()', options, ['maxBytes'])
  if (!isBytes(bytes)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `delimiter(): the delimiter must be a string or Uint8Array, and is ${shown(bytes)}`,
    )
  }
  const native = Buffer.from(bytes as string)
  if (native.length < 1 || native.length > 255) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `delimiter(): the delimiter must have 1 to 255 bytes, and has ${native.length}`,
    )
  }
  const maxBytes = read.integer('maxBytes', mebibyte, 1, mostBytes)
  return { native: { kind: framingKind.delimiter, maxBytes, delimiter: native } }
}

/** Frames of `size` bytes each. */
export function fixed(size: number): Framing {
  const bytes = new OptionReader('fixed()', { size }, ['size']).integer('size', 0, 1, mostBytes)
  return { native: { kind: framingKind.fixed, maxBytes: bytes, fixedBytes: bytes } }
}

/** Options of `lengthPrefixed()`. */
export interface LengthPrefixedOptions {
  /** How the length is written. Default `'u32be'`. */
  type?: (typeof lengthTypes)[number]
  /** Bytes before the length field. Default 0. */
  offset?: number
  /** Added to the field's value to get the number of bytes behind the field. Default 0. */
  adjustment?: number
  /** The value counts the bytes before the field and the field itself too. Default false. */
  includesHeader?: boolean
  /** Bytes dropped from the front of the delivered frame. Default: everything up to and including the length field. */
  strip?: number
  /** The largest delivered frame. Default 1 MiB. A larger one closes the connection as `frame-too-large`, before it is read. */
  maxBytes?: number
}

/** Frames behind a length. Without `strip`, `parse` gets the bytes behind the length field. */
export function lengthPrefixed(options: LengthPrefixedOptions = {}): Framing {
  const read = new OptionReader('lengthPrefixed()', options, [
    'type',
    'offset',
    'adjustment',
    'includesHeader',
    'strip',
    'maxBytes',
  ])
  return {
    native: {
      kind: framingKind.lengthPrefixed,
      maxBytes: read.integer('maxBytes', mebibyte, 0, mostBytes),
      lengthType: lengthTypes.indexOf(read.oneOf('type', 'u32be', lengthTypes)),
      lengthOffset: read.integer('offset', 0, 0, 65_535),
      lengthAdjustment: read.integer('adjustment', 0, -65_535, 65_535),
      lengthIncludesHeader: read.boolean('includesHeader', false),
      strip: read.integer('strip', stripHeader, 0, stripHeader),
    },
  }
}

/** Facts about a frame of `http1()` for `message`, as bits of its `info`; the rest is the size of the head in bytes. */
export const http1Info: {
  /** `info & headMask`: where the content begins in the frame: the size of the head. */
  readonly headMask: number
  /** No request follows: it says so, or is HTTP/1.0 without keep-alive. */
  readonly close: number
  /** HTTP/1.0 */
  readonly http10: number
  /** HEAD */
  readonly head: number
  /** The content comes, or will come, in chunks. */
  readonly chunked: number
  /** The content follows, in frames of its own. */
  readonly contentFollows: number
  /** With `contentFollows`: the peer waits for `100 Continue`. */
  readonly expects: number
  /** The request asks for another protocol (RFC 9110, section 7.8). */
  readonly upgrade: number
  /** Not a head but content of the last one, without the framing of its chunks (RFC 9112, section 7.1). */
  readonly content: number
  /** With `content`: the last of it, which may be empty. */
  readonly lastContent: number
} = http1Bits

/** Options of `http1()`. */
export interface Http1Options {
  /** Request line and fields, and the trailer of a chunked body. Default 16 KiB. A longer head is answered 431, a longer line 414. */
  maxHeadBytes?: number
  /** Fields of one head. Default 100. */
  maxHeaders?: number
  /** The decoded body. Default 1 MiB. A longer one is malformed with code 413. A chunked body that is streamed is yours to count. */
  maxBodyBytes?: number
  /** `'whole'` (default): a request and its body are one frame. `'stream'`: large and chunked bodies follow their head in pieces. */
  body?: 'whole' | 'stream'
  /** With `'stream'`: a body of a declared length up to this comes with its head all the same. Default 16 KiB. */
  wholeBytes?: number
}

/**
 * HTTP/1.1 requests, checked strictly: input that two readers could understand differently is malformed. A whole chunked body is
 * delivered with its chunks; pieces are decoded.
 */
export function http1(options: Http1Options = {}): Framing {
  const read = new OptionReader('http1()', options, ['maxHeadBytes', 'maxHeaders', 'maxBodyBytes', 'body', 'wholeBytes'])
  const streams = read.oneOf('body', 'whole', ['whole', 'stream']) === 'stream'
  const maxBytes = read.integer('maxBodyBytes', mebibyte, 0, streams ? Number.MAX_SAFE_INTEGER : mostWholeBody)
  return {
    native: {
      kind: framingKind.http1,
      maxBytes,
      maxHeadBytes: read.integer('maxHeadBytes', 16 << 10, 64, (1 << 20) - 1),
      maxHeaders: read.integer('maxHeaders', 100, 1, 10_000),
      wholeBytes: streams ? read.integer('wholeBytes', Math.min(16 << 10, maxBytes), 0, mostWholeBody) : 0,
      streamsBody: streams,
    },
  }
}

/** Chunks included, a whole request must fit the 32 bits of a frame's length. */
const mostWholeBody = 512 << 20

/** A framer of your own, run on the reactor: for protocols that the others cannot cut. Unread bytes are bounded by `maxBytes` (1 MiB). */
export function custom(cut: CustomFramer, options: { maxBytes?: number } = {}): Framing {
  const read = new OptionReader('custom()', { ...options, cut }, ['maxBytes', 'cut'])
  const maxBytes = read.integer('maxBytes', mebibyte, 1, mostBytes)
  return { native: { kind: framingKind.custom, maxBytes }, cut: read.func<CustomFramer>('cut')! }
}
