// What server and client share: the methods as types, and the messages as bytes. A message is a length (four bytes, big-endian) and
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
  | 'failed' // the method threw
  | 'cancelled'
  | 'timeout' // on the server, or on the client
  | 'overloaded' // more calls wait than may
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

export function encode(message: Request | Cancel | Response): Buffer {
  const body = Buffer.from(JSON.stringify(message))
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

export function errorResponse(id: number, error: unknown): Response {
  const code = error instanceof RpcError ? error.code : 'failed'
  return { id, error: { code, message: error instanceof Error ? error.message : String(error) } }
}
