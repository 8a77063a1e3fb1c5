// Shared by server and client: the methods as types, and the messages as bytes. A message is a length (four bytes, big-endian) and
// so much JSON; the id in it says which call an answer belongs to, so answers come in any order.

/** The methods. Both sides are checked against it: add yours here first. */
export interface Api {
  add(params: { a: number; b: number }): number
  whoami(params: Record<string, never>): { address: string }
  primes(params: { below: number }): { count: number }
  digest(params: { text: string; rounds: number }): { hex: string }
}
export type Method = keyof Api
export type Params<M extends Method> = Parameters<Api[M]>[0]
export type Result<M extends Method> = ReturnType<Api[M]>

export type Request = { id: number; method: string; params: unknown }
/** Stops a call that is under way. It is still answered, with the code `cancelled`, unless its result was on its way already. */
export type Cancel = { cancel: number }
export type Response = { id: number; result: unknown } | { id: number; error: { code: ErrorCode; message: string } }

export type ErrorCode =
  | 'bad-request' // no message of this protocol, or params that the method does not take
  | 'unknown-method'
  | 'failed' // the method threw, or its result is too large
  | 'cancelled'
  | 'timeout' // on the server, or on the client
  | 'overloaded' // more calls wait than may
  | 'bad-response' // only said by the client: the answer is no message of this protocol
  | 'connection-lost' // only said by the client

export class RpcError extends Error {
  readonly code: ErrorCode
  constructor(code: ErrorCode, message: string) {
    super(message)
    this.name = 'RpcError'
    this.code = code
  }
}

export const headerBytes = 4
export const mostBytes = 1 << 20

/** Throws `failed` for more than `mostBytes`, which the other side would refuse, and a `TypeError` for a value that JSON does not have. */
export function encode(message: Request | Cancel | Response): Buffer {
  const body = Buffer.from(JSON.stringify(message))
  if (body.length > mostBytes)
    throw new RpcError('failed', `the message has ${body.length} bytes, at most ${mostBytes} are allowed`)
  const header = Buffer.alloc(headerBytes)
  header.writeUInt32BE(body.length)
  return Buffer.concat([header, body])
}

/** A request or a cancel. Throws `bad-request`. */
export function decodeRequest(body: Buffer): Request | Cancel {
  let message: unknown
  try {
    message = JSON.parse(body.toString())
  } catch {
    throw new RpcError('bad-request', 'the message is no JSON')
  }
  const { id, method, cancel } = (message ?? {}) as Partial<Request & Cancel>
  if (Number.isSafeInteger(cancel) || (Number.isSafeInteger(id) && typeof method === 'string')) return message as Request | Cancel
  throw new RpcError('bad-request', 'the message has neither a method with an id nor a cancel')
}

/** An answer. A malformed one with an id is an error of that call; undefined: the call is unknown. */
export function decodeResponse(body: Buffer): Response | undefined {
  const text = body.toString()
  let message: unknown
  try {
    message = JSON.parse(text)
  } catch {
    // `encode` writes the id first.
    const id = /^\{"id":(\d{1,15})[,}]/.exec(text)?.[1]
    return id === undefined ? undefined : badResponse(Number(id), 'the answer is no JSON')
  }
  if (typeof message !== 'object' || message === null) return undefined
  const { id, error } = message as { id?: unknown; error?: { code?: unknown; message?: unknown } | null }
  if (typeof id !== 'number' || !Number.isSafeInteger(id)) return undefined
  if ('error' in message) {
    const isError = typeof error?.code === 'string' && typeof error.message === 'string'
    return isError ? (message as Response) : badResponse(id, 'the answer has an error without a code and a message')
  }
  // A method without a result has none in JSON.
  return { id, result: (message as { result?: unknown }).result }
}

function badResponse(id: number, message: string): Response {
  return { id, error: { code: 'bad-response', message } }
}

/** An RpcError of a method is for the caller. Any other error is for the log: its message may name internals. */
export function errorResponse(id: number, error: unknown): Response {
  if (error instanceof RpcError) return { id, error: { code: error.code, message: error.message } }
  console.error(error)
  return { id, error: { code: 'failed', message: 'the method failed' } }
}
