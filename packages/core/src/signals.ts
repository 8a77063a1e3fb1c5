import { MultireactorError, OptionReader, outliveOutput, shown } from '@multireactor/addon'
import { guarded, type Logger, say } from './logger.js'
import { Parents } from './parents.js'
import type { Server } from './server.js'

/** Options of `handleSignals()`. */
export interface SignalOptions {
  /** SIGINT and SIGTERM: time to answer the frames in flight, in ms. Default 5,000. */
  closeTimeoutMs?: number
  /** SIGINT and SIGTERM: how long the server serves on while `/readyz` says 503, before it closes, in ms. Default 0. */
  drainDelayMs?: number
  /** SIGHUP: time for the old threads to finish their connections, in ms. Default 5,000. */
  reloadTimeoutMs?: number
  /**
   * SIGHUP: called before each reload, to read the program's own configuration again. If it throws, the reload fails, and the old code goes on.
   */
  beforeReload?: (server: Server) => void | Promise<void>
  /** Receives `closed: …`, `reloaded` and failures. Default: stdout and stderr. */
  logger?: Pick<Logger, 'info' | 'error'>
}

/** Under npm, so long after the first signal another one may be the same: see `onEnd`. */
const sameSignalMs = 1_000

type Settings = Required<Omit<SignalOptions, 'beforeReload'>> & Pick<SignalOptions, 'beforeReload'>

function listenTo(signals: readonly NodeJS.Signals[], listener: () => void): () => void {
  for (const signal of signals) process.on(signal, listener)
  return () => {
    for (const signal of signals) process.off(signal, listener)
  }
}

/**
 * Handles signals as operators expect. SIGINT and SIGTERM call `server.close()`; a second one exits at once with code 1 (under npm, which
 * repeats the terminal's signal: one that comes a second later). SIGHUP calls `server.reload()`; signals during a reload cause one more reload
 * together. Given the promise of `serve()`, it remembers a SIGHUP that comes during the start. Under npm or npx, which pass no signal on, it
 * closes the server when they end. When the server has closed, for any reason, the signals have their default actions again.
 *
 * Call it on the main thread, before anything is printed: a process that reads the start line may send a signal at once.
 *
 * @returns Resolves when the server has closed: to 0, or to 1 and with `process.exitCode` 1 when an error closed it. To 1 when it did not start.
 * Rejects with the error of `server.close()`. Throws `ERR_MR_OPTION_TYPE`, `ERR_MR_OPTION_RANGE` and `ERR_MR_UNKNOWN_OPTION`.
 */
export function handleSignals(server: Server | Promise<Server>, options: SignalOptions = {}): Promise<number> {
  const where = 'handleSignals()'
  if (typeof server !== 'object' || server === null || !('reload' in server || 'then' in server)) {
    const forms = 'a server, or the promise of serve()'
    throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where}: the first argument must be ${forms}, and is ${shown(server)}`)
  }
  const settings = readOptions(where, options)
  // Not when the server has started: npm may end before.
  const parents = Parents.ofNpm()
  if (!('then' in server)) return untilClosed(server, settings, parents)
  // Without a hook the signal ends a process that is still starting.
  let reloadAsked = false
  const stop = listenTo(['SIGHUP'], () => {
    reloadAsked = true
  })
  return server.then(
    (started) => {
      // The threads may have read the app before it was changed.
      const ended = untilClosed(started, settings, parents, reloadAsked)
      stop()
      return ended
    },
    // The caller gets the error from the promise of serve().
    () => {
      stop()
      return 1
    },
  )
}

function untilClosed(
  server: Server,
  { closeTimeoutMs, drainDelayMs, reloadTimeoutMs, beforeReload, logger }: Settings,
  parents: Parents | undefined,
  reloadFirst = false,
): Promise<number> {
  return new Promise<number>((resolve, reject) => {
    let closing = false
    const close = (): void => {
      closing = true
      server.close({ timeoutMs: closeTimeoutMs, drainDelayMs }).then(
        ({ answered, destroyed }) => {
          logger.info(`closed: ${answered} answered, ${destroyed} destroyed`)
          resolve(0)
        },
        // It is closing already, by the program or for a successor.
        (error: Error) => (error instanceof MultireactorError && error.code === 'ERR_MR_CLOSED' ? undefined : reject(error)),
      )
    }
    let signalledAt = Number.NEGATIVE_INFINITY
    const onEnd = (): void => {
      const now = performance.now()
      // Ctrl-C, and a supervisor that ends all processes of a service, signal npm and this process. Without a shell between them npm passes
      // the signal on, and it comes twice.
      if (parents !== undefined && now - signalledAt < sameSignalMs) return
      if (closing) process.exit(1)
      signalledAt = now
      close()
    }
    const onParentGone = (): void => {
      // A signal to the whole group, such as Ctrl-C, ends npm while the server is closing.
      if (closing) return
      logger.info('the npm that ran this process has ended: closing')
      close()
    }
    let reloading = false
    let again = false
    const reload = async (): Promise<void> => {
      await beforeReload?.(server)
      await server.reload({ timeoutMs: reloadTimeoutMs })
    }
    const onReload = (): void => {
      if (closing) return
      // One more reload is enough for all signals that come meanwhile.
      again = reloading
      if (reloading) return
      reloading = true
      reload()
        .then(
          () => logger.info('reloaded'),
          (error: unknown) => {
            if (closing) return
            logger.error(`reload failed, the old code goes on: ${error instanceof Error ? error.message : shown(error)}`)
          },
        )
        .finally(() => {
          reloading = false
          if (again) onReload()
        })
    }
    server.once('handedOver', ({ answered, destroyed }) => {
      logger.info(`handed over: ${answered} answered, ${destroyed} destroyed`)
      resolve(0)
    })
    const stops = [listenTo(['SIGINT', 'SIGTERM'], onEnd), listenTo(['SIGHUP'], onReload), parents?.watch(onParentGone)]
    // Not by process.emit(): other listeners have heard the signal when it came.
    if (reloadFirst) onReload()
    void server.closed.then((error) => {
      for (const stop of stops) stop?.()
      // The server has reported the error. A supervisor decides by the exit code whether to restart.
      if (error) {
        process.exitCode = 1
        resolve(1)
      }
      // The lines above come first.
      else setImmediate(() => resolve(0))
    })
  })
}

function readOptions(where: string, options: SignalOptions): Settings {
  const read = new OptionReader(where, options, ['closeTimeoutMs', 'drainDelayMs', 'reloadTimeoutMs', 'beforeReload', 'logger'])
  const beforeReload = read.func<NonNullable<SignalOptions['beforeReload']>>('beforeReload')
  const logger = read.raw('logger') ?? consoleLogger
  const { info, error } = logger as Partial<Logger>
  if (typeof info !== 'function' || typeof error !== 'function') {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: 'logger' must be an object with the functions info, error, and is ${shown(logger)}`,
    )
  }
  return {
    closeTimeoutMs: read.integer('closeTimeoutMs', 5_000, 0, 0x7fff_ffff),
    drainDelayMs: read.integer('drainDelayMs', 0, 0, 0x7fff_ffff),
    reloadTimeoutMs: read.integer('reloadTimeoutMs', 5_000, 0, 0x7fff_ffff),
    logger: guarded(logger as Pick<Logger, 'info' | 'error'>, ['info', 'error']),
    ...(beforeReload ? { beforeReload } : {}),
  }
}

const consoleLogger: Pick<Logger, 'info' | 'error'> = {
  info(line) {
    outliveOutput()
    console.log(line)
  },
  error(line) {
    say(`multireactor: ${line}`)
  },
}
