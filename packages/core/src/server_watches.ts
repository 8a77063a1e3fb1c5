import { closeReasons, native, reactorCounterNames, workerCounterNames } from '@multireactor/addon'
import type { Logger } from './logger.js'
import type { ServerReports } from './server_reports.js'

/** How often refused frames are told of. */
const shedEveryMs = 1_000
const slowConsumer = closeReasons.indexOf('slow-consumer')
/** While much memory is held, free memory goes back to the system at this interval. */
const giveBackEveryMs = 250
/** After a flood: memory that was not wanted for so many of those goes back. */
const looksOfRound = 8

/** The periodic checks of a server: refusals, slow consumers, and free memory. */
export class ServerWatches {
  readonly #runtime: number
  readonly #logger: Logger
  readonly #reports: ServerReports
  #shedWatch: NodeJS.Timeout | undefined
  #shedTold = 0
  #slowWatch: NodeJS.Timeout | undefined
  #slowTold = 0
  #memoryWatch: NodeJS.Timeout | undefined

  constructor(runtime: number, logger: Logger, reports: ServerReports) {
    this.#runtime = runtime
    this.#logger = logger
    this.#reports = reports
  }

  /** `mayShed`: the pool may refuse frames. */
  start(mayShed: boolean): void {
    if (mayShed) this.#shedWatch = setInterval(() => this.tellShed(), shedEveryMs).unref()
    this.#slowWatch = setInterval(() => this.tellSlow(), shedEveryMs).unref()
    let looks = 0
    this.#memoryWatch = setInterval(
      () => native.giveBackMemory(this.#runtime, ++looks % looksOfRound === 0),
      giveBackEveryMs,
    ).unref()
  }

  stop(): void {
    clearInterval(this.#shedWatch)
    clearInterval(this.#slowWatch)
    if (this.#slowWatch) this.tellSlow()
    clearInterval(this.#memoryWatch)
  }

  tellShed(): void {
    const frames = this.framesShed() - this.#shedTold
    this.#shedTold += frames
    if (frames === 0 || this.#reports.emit('shed', { frames })) return
    this.#logger.warn(`${frames} frames were refused: more came than the pool could work off`)
  }

  /** Reports peers whose connections were closed because they did not read: one line a second. */
  tellSlow(): void {
    const connections =
      native.readCounters(this.#runtime).closed.reduce((sum, row) => sum + row[slowConsumer]!, 0) - this.#slowTold
    this.#slowTold += connections
    if (connections === 0) return
    this.#logger.warn(
      `${connections} connection${connections === 1 ? '' : 's'} closed as slow-consumer: more than outBuffer.max waited for the peer to read`,
    )
  }

  framesShed(): number {
    const { reactors, workers } = native.readCounters(this.#runtime)
    const sum = (rows: number[][], column: number) => rows.reduce((total, row) => total + row[column]!, 0)
    return sum(reactors, reactorCounterNames.indexOf('framesShed')) + sum(workers, workerCounterNames.indexOf('framesShed'))
  }

  repliesWritten(): number {
    return native
      .readCounters(this.#runtime)
      .reactors.reduce((sum, row) => sum + row[reactorCounterNames.indexOf('repliesWritten')]!, 0)
  }
}
