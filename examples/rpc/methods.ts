import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Method, type Params, type Result, RpcError } from './protocol.ts'

/** The caller, and whether the result is still wanted. */
export interface Caller {
  address: string
  signal: AbortSignal
}

type Implementation<M extends Method> = (params: Params<M>, caller: Caller) => Result<M> | Promise<Result<M>>
type Light<M extends Method> = (params: Params<M>, address: string) => Result<M>

/** Microseconds each: they run on the reactor, and are answered at once. */
export const light: { [M in 'add' | 'whoami']: Light<M> } = {
  add({ a, b }) {
    check(typeof a === 'number' && typeof b === 'number', 'add takes { a, b }, two numbers')
    return a + b
  },
  whoami(_, address) {
    return { address }
  },
}

/** All others run in the pool. They give up when the signal aborts: cancelled, out of time, or the caller has gone. */
export const heavy: { [M in Exclude<Method, keyof typeof light>]: Implementation<M> } = {
  async primes({ below }, { signal }) {
    check(Number.isSafeInteger(below) && below >= 0, 'primes takes { below }, a whole number')
    let count = 0
    for (let n = 2; n < below; n++) {
      if (isPrime(n)) count++
      // A signal is heard between two turns of the event loop only, so a long computation stops for one now and then.
      if (n % 10_000 === 0) await pause(signal)
    }
    return { count }
  },
  async digest({ text, rounds }, { signal }) {
    check(typeof text === 'string' && Number.isSafeInteger(rounds) && rounds > 0, 'digest takes { text, rounds }')
    let hex = text
    for (let round = 1; round <= rounds; round++) {
      hex = createHash('sha256').update(hex).digest('hex')
      if (round % 2_000 === 0) await pause(signal)
    }
    return { hex }
  },
}

async function pause(signal: AbortSignal): Promise<void> {
  await nextTurn()
  signal.throwIfAborted()
}

function isPrime(n: number): boolean {
  for (let i = 2; i * i <= n; i++) if (n % i === 0) return false
  return true
}

function check(right: boolean, message: string): void {
  if (!right) throw new RpcError('bad-request', message)
}
