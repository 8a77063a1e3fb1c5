import { MultireactorError, native, shown } from '@multireactor/addon'

/** The main thread's description of a server, for threads that reach it by its token. */
export interface ServerDescription {
  /** In the order of their numbers; which hooks their apps have. */
  listeners: { name: string; parse: boolean; task: boolean }[]
  hasPool: boolean
  /** With a full queue, requests for work wait. */
  waits: boolean
  maxQueuedBytes: number
}

/** The last one read, since it seldom changes. */
let known: { text: string; said: ServerDescription } | undefined

function describedAs(token: number): ServerDescription | undefined {
  const text = native.description(token)
  if (text === '') return undefined
  if (known?.text !== text) known = { text, said: JSON.parse(text) as ServerDescription }
  return known.said
}

/** The reactor or app whose hook runs the request. Throws when no hook would ever take it. */
export function placeOfRun(
  call: string,
  token: number,
  hook: 'parse' | 'task',
  name: string | undefined,
  bytes: number,
): { listener: number; waits: boolean } {
  const said = describedAs(token)
  if (!said) throw noPool(call, 'the server has not started yet', 'await serve() first')
  const { listeners, hasPool, waits, maxQueuedBytes } = said
  const named = name === undefined ? -1 : listeners.findIndex((one) => one.name === name)
  if (name !== undefined && named < 0) {
    throw new MultireactorError(
      'ERR_MR_NO_LISTENER',
      `${call}: the server has no listener ${shown(name)}; it has ${listeners.map((one) => one.name).join(', ')}`,
    )
  }
  const listener = name === undefined ? listeners.findIndex((one) => one[hook]) : named
  if (!hasPool) throw noPool(call, 'the server has no pool', `start it with pool: 1 or more, and give the app a ${hook} hook`)
  if (listener < 0 || !listeners[listener]![hook]) {
    throw noPool(
      call,
      name === undefined ? `no app has a ${hook} hook` : `the app of ${shown(name)} has no ${hook} hook`,
      'give it one',
    )
  }
  if (bytes > maxQueuedBytes) {
    throw new MultireactorError(
      'ERR_MR_TASK_TOO_LARGE',
      `${call}: the task has ${bytes} bytes, and pool.maxQueuedBytes is ${maxQueuedBytes}: raise it, or hand over less`,
    )
  }
  return { listener, waits }
}

const noPool = (call: string, why: string, remedy: string): MultireactorError =>
  new MultireactorError('ERR_MR_NO_POOL', `${call}: ${why}: ${remedy}`)
