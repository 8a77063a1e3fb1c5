import { defineApp, lengthPrefixed } from 'multireactor'
import { Cancellations } from './cancellations.ts'
import { heavy, light } from './methods.ts'
import { decodeRequest, encode, errorResponse, mostBytes, type Request, RpcError } from './protocol.ts'

const cancellations = new Cancellations()

/** Calls of one connection that a cancel may still reach: as many as may be under way. */
const mostInFlight = 1000

export default defineApp({
  framing: lengthPrefixed({ maxBytes: mostBytes }),
  // Each answer has the id of its call: answers leave as soon as they are ready.
  order: 'none',
  maxInFlight: mostInFlight,

  open: () => ({ heavy: new Set<number>() }),

  // On the reactor: a look at the call, and the light ones themselves.
  message(conn, frame) {
    let request: ReturnType<typeof decodeRequest>
    try {
      request = decodeRequest(frame)
    } catch (error) {
      // The call of this message is unknown: the connection ends.
      return conn.end(encode(errorResponse(0, error)))
    }
    const calls = conn.data.heavy
    if ('cancel' in request) {
      // All threads are told: only of a call that there is, and once.
      if (calls.delete(request.cancel)) cancellations.tell(conn.id, request.cancel)
      return
    }
    const { id, method, params } = request
    if (Object.hasOwn(heavy, method)) {
      calls.add(id)
      if (calls.size > mostInFlight) for (const oldest of calls) if (calls.delete(oldest)) break
      return conn.submit(frame)
    }
    try {
      if (!Object.hasOwn(light, method)) throw new RpcError('unknown-method', `there is no method ${method}`)
      const run = light[method as keyof typeof light] as (params: unknown, address: string) => unknown
      conn.write(encode({ id, result: run(params ?? {}, conn.remoteAddress ?? '') }))
    } catch (error) {
      conn.write(encode(errorResponse(id, error)))
    }
  },

  // In the pool: the frames from `submit`.
  async parse(frame, ctx) {
    const { id, method, params } = decodeRequest(frame) as Request
    const address = ctx.remoteAddress ?? ''
    const run = heavy[method as keyof typeof heavy] as (params: unknown, caller: object) => unknown
    try {
      const result = await cancellations.run(ctx.connection, id, ctx.signal, (signal) => run(params ?? {}, { address, signal }))
      return encode({ id, result })
    } catch (error) {
      if (ctx.signal.aborted) throw error // out of time: `error` answers
      if (error instanceof RpcError && error.code === 'cancelled') console.log(`${method} was cancelled`)
      return encode(errorResponse(id, error))
    }
  },

  // The call ran for longer than taskTimeoutMs, or its worker died with it.
  error(error, frame) {
    const { id } = decodeRequest(frame) as Request
    const isLate = (error as { code?: string }).code === 'ERR_MR_TASK_TIMEOUT'
    return encode(errorResponse(id, isLate ? new RpcError('timeout', 'the call took too long') : error))
  },

  overloaded(frame) {
    const { id } = decodeRequest(frame) as Request
    return encode(errorResponse(id, new RpcError('overloaded', 'too many calls are waiting')))
  },

  stop() {
    cancellations.close()
  },
})
