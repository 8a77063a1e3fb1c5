import type {
  BalanceHandlers,
  ConnectionHandlers,
  ConnectionOptions,
  Framing,
  HandoverHandlers,
  ReactorHandle,
} from '@multireactor/reactor'
import type { Bytes, Reply, TaskContext } from '@multireactor/pool'
import type { RunMode } from '@multireactor/addon'
import type { ServerHandle } from './server_handle.js'

interface StartBase {
  /** 0 and up, within its role. */
  index: number
  /** Where the connections of this app come from. */
  listeners: readonly { name: string; address: string; port: number }[]
  /** The server, as far as it can be reached from this thread. */
  server: ServerHandle
}

/** Where a thread stands: given to `start`. */
export type StartContext = StartBase &
  (
    | {
        role: 'reactor'
        /** Connects to others on this thread. It waits until the thread drives its reactor, so do not `await` it in `start`. */
        reactor: ReactorHandle
      }
    | { role: 'worker'; reactor?: undefined }
  )

/** Where a call is answered. */
export interface CallContext {
  /** The reactor that was called. */
  reactor: number
  /** Sends, publishes and calls from this thread. */
  server: ServerHandle
}

/**
 * An app: one module, loaded by every thread. Reactors use the connection hooks, pool workers use `parse` and `error`.
 * With `parse` and without `message` no JavaScript runs on a reactor for a frame.
 */
export interface App<Data = undefined>
  extends ConnectionHandlers<Data>,
    HandoverHandlers<Data>,
    BalanceHandlers,
    Omit<ConnectionOptions, 'framing'> {
  /** One framing for all listeners, or one for each by the listener's name. Default `raw()`. */
  framing?: Framing | Record<string, Framing>
  /**
   * Where `parse` runs. `'pool'` (default): in pool workers, and no JavaScript on a reactor. `'inline'`: on the reactor, as a
   * `message` hook does. `'auto'`: frames that have cost less than the way to the pool and back run on the reactor, all others in
   * the pool. The same contract holds everywhere. Not beside a `message` hook, which decides itself. See docs/placement.md.
   */
  run?: RunMode
  /** One frame, in a pool worker (see `run`). Its memory stays valid as long as it is referenced. */
  parse?(frame: Buffer, ctx: TaskContext): Reply | Promise<Reply>
  /**
   * Runs in a pool worker, on one value, for `conn.runTask`, `req.runTask` and `server.runTask`. Its result goes back to the caller. Values are
   * copies, as `v8.serialize` takes them.
   */
  // biome-ignore lint/suspicious/noExplicitAny: the argument comes from the app's own calls
  task?(value: any, ctx: TaskContext): unknown
  /** Returns the answer for a frame whose `parse` failed. Without it the connection closes as `parse-error`. */
  error?(error: unknown, frame: Buffer, ctx: TaskContext): Reply | Promise<Reply>
  /**
   * Returns the answer, in a pool worker, for a frame that found the task queue full (`onQueueFull: 'reject'`) or waited for longer
   * than `maxWaitMs`. Be quick. Without it the connection closes as `overloaded`.
   */
  overloaded?(frame: Buffer, ctx: TaskContext): Reply | Promise<Reply>
  /**
   * Runs on a reactor, for a `server.call` of any thread. Its result is the answer. If a server has several apps, the first one with this hook
   * gets the calls.
   */
  onCall?(bytes: Buffer, ctx: CallContext): Bytes | undefined | void | Promise<Bytes | undefined | void>
  /** In every thread, awaited before the thread takes work. A throw stops the server from starting. */
  start?(context: StartContext): void | Promise<void>
  /** In every thread, before it ends in an orderly way. */
  stop?(): void | Promise<void>
}

/** Marks the app's default export; types flow from `open`'s result to `conn.data` in the other hooks. */
export function defineApp<Data = undefined>(app: App<Data>): App<Data> {
  return app
}
