import { Buffer } from 'node:buffer'

/**
 * `Buffer.from(memory, offset, length)` without its checks, which cost more than the buffer. `Symbol.species` is how Buffer itself
 * names the class that `new` may be called on.
 */
export const bufferOf: (memory: ArrayBuffer, offset: number, length: number) => Buffer = (() => {
  const Species = (Buffer as unknown as { [Symbol.species]?: new (...of: [ArrayBuffer, number, number]) => Buffer })[
    Symbol.species
  ]
  if (typeof Species !== 'function' || Species.prototype !== Buffer.prototype) return Buffer.from
  return (memory, offset, length) => new Species(memory, offset, length)
})()

type Write = (buffer: Buffer, text: string, at: number, most: number) => number

/**
 * The native method behind `buffer.write`, without its checks and its choice of the encoding. Node documents only `buffer.write`: where
 * the native method is missing, `buffer.write` is used.
 */
function writer(method: 'utf8Write' | 'latin1Write', encoding: 'utf8' | 'latin1'): Write {
  type Direct = Record<typeof method, (text: string, at: number, most: number) => number>
  if (typeof (Buffer.prototype as unknown as Direct)[method] !== 'function') {
    return (buffer, text, at, most) => buffer.write(text, at, most, encoding)
  }
  return method === 'utf8Write'
    ? (buffer, text, at, most) => (buffer as unknown as Direct).utf8Write(text, at, most)
    : (buffer, text, at, most) => (buffer as unknown as Direct).latin1Write(text, at, most)
}

/** At most `most` bytes of the text, at `at`; returns how many. There must be room for them. */
export const writeUtf8: Write = writer('utf8Write', 'utf8')
export const writeLatin1: Write = writer('latin1Write', 'latin1')

/** The bytes from `start` to `end` as one character each. */
export const readLatin1: (buffer: Buffer, start: number, end: number) => string = (() => {
  type Direct = { latin1Slice(start: number, end: number): string }
  return typeof (Buffer.prototype as unknown as Direct).latin1Slice === 'function'
    ? (buffer: Buffer, start: number, end: number) => (buffer as unknown as Direct).latin1Slice(start, end)
    : (buffer: Buffer, start: number, end: number) => buffer.toString('latin1', start, end)
})()

const { keys } = Uint8Array.prototype
const typedArray = Object.getPrototypeOf(Uint8Array.prototype) as object
const kindGetter = Object.getOwnPropertyDescriptor(typedArray, Symbol.toStringTag)!.get as () => string | undefined
const lengthGetter = Object.getOwnPropertyDescriptor(typedArray, 'length')!.get as () => number

/**
 * The length of a view as the engine knows it. `view.length` may be anything: an own property of it, a getter of a subclass, a trap of a
 * Proxy. Throws if it is not a typed array.
 */
export function lengthOf(view: Uint8Array): number {
  return lengthGetter.call(view)
}

/**
 * Whether the bytes of a view can be read: not when its memory was transferred, has shrunk below it, or was a WebAssembly memory's that has
 * grown. Such a view says that it is empty, and only some methods tell it from one that is. And not when it claims another length than it
 * has.
 */
export function isReadable(view: Uint8Array): boolean {
  return mostBytesOf(view) >= 0
}

/** A value that can be sent. It is a Uint8Array if the engine says so, independent of its prototype and properties. */
export function isBytes(value: unknown): value is string | Uint8Array {
  return mostBytesOf(value) >= 0
}

/** The most bytes that a value takes on the wire: a text may take fewer. -1: the value cannot be sent. */
export function mostBytesOf(value: unknown): number {
  if (typeof value === 'string') return value.length * 3
  if (kindGetter.call(value) !== 'Uint8Array') return -1
  try {
    // In this order: the former may be a function of the app that transfers the memory.
    const said = (value as Uint8Array).length
    const length = lengthGetter.call(value)
    if (length === 0) keys.call(value)
    return said === length ? length : -1
  } catch {
    return -1
  }
}
