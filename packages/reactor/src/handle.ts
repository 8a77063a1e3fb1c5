import { connect, type ConnectOptions } from './connect.js'
import type { ConnectTarget } from './connect_target.js'
import type { Connection } from './connection.js'
import type { Engine } from './engine.js'
import type { ClientHandlers } from './handlers.js'

/** A reactor, as far as the code of its thread may use it: `conn.reactor`, and `reactor` of an app's `start`. */
export class ReactorHandle {
  /** Its number in the server; 0 when it stands alone. */
  readonly index: number
  readonly #engine: Engine | Promise<Engine>

  /** @internal Made by its engine, or before it by `handleFor`. */
  constructor(index: number, engine: Engine | Promise<Engine>) {
    this.index = index
    this.#engine = engine
  }

  /**
   * Connects, and resolves to the open connection, after its `open` hook. It belongs to this reactor, counts to the process's
   * limit of connections, and has the hooks and options of `handlers`; without a `message` hook it is not read until
   * `pipe()` or `resume()`. Rejects with `ERR_MR_CONNECT` and a cause that has the code of the system, with `ERR_MR_LIMIT`,
   * `ERR_MR_CLOSED`, or the reason of an aborted signal.
   */
  connect<Data = undefined>(
    target: ConnectTarget,
    handlers: ClientHandlers<Data> = {},
    options: ConnectOptions = {},
  ): Promise<Connection<Data>> {
    return connect('reactor.connect()', this.#engine, target, handlers, options)
  }
}

/** A handle whose engine attaches later: for an app's `start`, before any thread drives the reactor. */
export function handleFor(index: number, engine: Promise<Engine>): ReactorHandle {
  return new ReactorHandle(index, engine)
}
