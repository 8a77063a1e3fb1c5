import type { Random } from '../support/random.js'

/** Thrown by values of ours: the app's own mistake, which comes back to it as it is. */
export class Trap extends Error {
  override name = 'Trap'
}

const trap = (): never => {
  throw new Trap('a getter of the app')
}

function lying(length: unknown, real = 5): Uint8Array {
  return Object.defineProperty(new Uint8Array(real).fill(33), 'length', { value: length })
}

class Lying extends Uint8Array {
  override get length(): number {
    return 4_000
  }
}

function detached(): Uint8Array {
  const bytes = new Uint8Array(8)
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] })
  return bytes
}

/** Values that no call accepts. */
const nonsense: (() => unknown)[] = [
  () => Number.NaN,
  () => -1,
  () => 1e300,
  () => 2 ** 32 + 1,
  () => 0.5,
  () => 5,
  () => null,
  () => true,
  () => 1n,
  () => Symbol('!'),
  () => trap,
  () => ({}),
  () => [],
  () => [33, 33],
  () => new Date(0),
  () => Object.create(null),
  () => new Proxy({}, { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap }),
  () => ({
    get length() {
      return trap()
    },
    get native() {
      return trap()
    },
    toString: trap,
    valueOf: trap,
    [Symbol.toPrimitive]: trap,
  }),
  () => ({ native: null }),
  () => ({ native: { kind: 99 } }),
  () => ({ native: { kind: 3, maxBytes: Number.NaN, lengthType: -1 } }),
]

const noBytes: (() => unknown)[] = [
  ...nonsense,
  () => undefined,
  () => new ArrayBuffer(8),
  () => new DataView(new ArrayBuffer(8)),
  () => new Uint16Array([0x2121]),
  detached,
  () => new Proxy(new Uint8Array(4), {}),
  () => Object.create(Uint8Array.prototype),
  () => ({ length: 4, 0: 33, __proto__: Uint8Array.prototype }),
  () => new String('!!!'),
  () => lying(300),
  () => lying(1),
  () => lying(-1),
  () => lying(Number.NaN),
  () => lying('7'),
  () => lying(2 ** 33),
  () => new Lying(3).fill(33),
]

export const someNonsense = (random: Random): unknown => random.pick(nonsense)()
export const someNoBytes = (random: Random): unknown => random.pick(noBytes)()

/** The same text, in one of the forms that a call takes. The bytes are the caller's again as soon as the call has returned: `spoil` them. */
export function someForm(random: Random, text: string): { data: string | Uint8Array; spoil(): void } {
  const way = random.below(6)
  if (way < 2) return { data: text, spoil: () => {} }
  const length = Buffer.byteLength(text)
  let data: Uint8Array = Buffer.from(text)
  if (way === 3) data = new Uint8Array(new SharedArrayBuffer(length))
  if (way === 4) data = new Uint8Array(new ArrayBuffer(length + 24), 11, length)
  if (way === 5) data = Buffer.allocUnsafe(length)
  data.set(Buffer.from(text))
  return { data, spoil: () => void data.fill(36) }
}
