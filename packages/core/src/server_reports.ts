import { EventEmitter } from 'node:events'
import { type ErrorEnvelope, failureFromEnvelope, toEnvelope } from '@multireactor/addon'
import type { WorkerReplaced } from '@multireactor/pool'
import { AcceptFailures, kindOfFailure, ReportLimit } from '@multireactor/reactor/listen'
import { inFull } from './in_full.js'
import type { Logger } from './logger.js'
import type { ReactorReplaced } from './reactor_group_options.js'
import type { ServerEvents } from './server_types.js'

// biome-ignore lint/suspicious/noExplicitAny: the type of Node's emitter; the methods of `Server` are typed
export type Listener = (...args: any[]) => void

/** Reports the events of a server: to the listeners of its events, or else to its logger. */
export class ServerReports {
  readonly emitter: EventEmitter = new EventEmitter({ captureRejections: true })
  readonly #logger: Logger
  readonly #acceptFailures = new AcceptFailures()
  readonly #reportLimit = new ReportLimit()

  constructor(logger: Logger) {
    this.#logger = logger
    Object.assign(this.emitter, {
      [Symbol.for('nodejs.rejection')]: (error: unknown, name: unknown) => this.#onListenerFailed(error, name),
    })
  }

  /** Handles an event of a thread. */
  onEvent(name: string, value: unknown): void {
    if (name === 'acceptError') {
      const { errno, listener } = value as { errno: number; listener: string }
      const sentence = this.#acceptFailures.sentence(errno, listener)
      if (sentence) this.#logger.warn(sentence)
      return
    }
    const { error, hook, listener, thread } = value as { error: ErrorEnvelope; hook: string; listener: string; thread: string }
    this.report(failureFromEnvelope(error), { hook, listener, thread })
  }

  /** Returns whether the event has a listener. A listener that throws ends neither the process nor the reported operation. */
  emit(name: keyof ServerEvents, ...values: unknown[]): boolean {
    if (this.emitter.listenerCount(name) === 0) return false
    try {
      this.emitter.emit(name, ...values)
    } catch (error) {
      this.#onListenerFailed(error, name)
    }
    return true
  }

  workerReplaced(replaced: WorkerReplaced): void {
    if (this.emit('workerReplaced', replaced)) return
    const { index, reason, lost, error } = replaced
    this.#logger.warn(
      `pool worker ${index} ended (${reason}) and was replaced; ${lost} ${lost === 1 ? 'frame' : 'frames'} lost${because(error)}`,
    )
  }

  reactorReplaced(replaced: ReactorReplaced): void {
    if (this.emit('reactorReplaced', replaced)) return
    const { index, reason, error } = replaced
    this.#logger.warn(
      `the thread of reactor ${index} ended (${reason}) and is replaced; its connections stay, but for those whose data was lost with it and whose app has no restore hook${because(error)}`,
    )
  }

  #onListenerFailed(error: unknown, name: unknown): void {
    this.#logger.error(`main, a listener of '${String(name)}' failed: ${inFull(failureFromEnvelope(toEnvelope(error)))}`)
  }

  /** An 'error' event without a listener would end the process; a handler's mistake must not. */
  report(error: Error, context: ServerEvents['error'][1]): void {
    if (this.emitter.listenerCount('error') > 0) this.emit('error', error, context)
    else {
      const { thread, hook, listener } = context
      // A failure that ends a thread, or its start, is reported each time: a peer cannot cause it at will.
      const more = listener === '' ? '' : this.#reportLimit.admit(kindOfFailure(error, hook, listener))
      if (more === undefined) return
      const where = [thread, hook && `${hook}${listener && ` of listener ${listener}`}`].filter(Boolean).join(', ')
      this.#logger.error(`${where}${more}: ${inFull(error)}`)
    }
  }
}

/** The error that ended a thread, for the log: with its stack, which names the place. */
function because(error: Error | undefined): string {
  return error ? `: ${inFull(error)}` : ''
}
