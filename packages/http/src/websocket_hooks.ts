import type { ConnectionLink } from '@multireactor/reactor/parts'
import { isThenable } from './thenable.js'

/** A WebSocket whose app has hooks. */
export interface HookOwner {
  // biome-ignore lint/suspicious/noExplicitAny: the data of the connections belongs to the app
  readonly conn: ConnectionLink<any>
  onHookFailed(error: unknown, hook: string): void
}

/** Calls a hook that is not for a message, and awaits its promise. `isOpen`: it is the `open` hook. */
export function runHook(socket: HookOwner, name: string, hook: () => unknown, isOpen = false): void {
  let result: unknown
  try {
    result = hook()
  } catch (error) {
    return socket.onHookFailed(error, name)
  }
  if (!isThenable(result)) return
  if (!isOpen) return watch(socket, result, name)
  // Messages, pings and the peer's close wait for it.
  socket.conn.whileOpening(
    result,
    () => {},
    (error) => socket.onHookFailed(error, name),
  )
}

function watch(socket: HookOwner, result: PromiseLike<unknown>, hook: string): void {
  socket.conn.hold(true)
  Promise.resolve(result).then(
    () => socket.conn.hold(false),
    (error: unknown) => {
      socket.conn.hold(false)
      socket.onHookFailed(error, hook)
    },
  )
}

/** Awaits the promise of a hook that is counted with those of messages. */
export function watchMessage(socket: HookOwner, result: PromiseLike<unknown>, hook: string): void {
  socket.conn.messagePending()
  Promise.resolve(result).then(
    () => socket.conn.messageSettled(),
    (error: unknown) => {
      // First, so that nothing behind it is delivered.
      socket.onHookFailed(error, hook)
      socket.conn.messageSettled()
    },
  )
}
