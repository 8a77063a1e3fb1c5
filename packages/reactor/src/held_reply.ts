import { replyFlag, type WriteResult, writeResult } from '@multireactor/addon'
import { checkBytes, ended } from './call_checks.js'
import { DeferredReply } from './connection.js'
import type { EngineCore } from './engine_core.js'

/** A place in the order that is answered later. Parts leave as soon as everything before it has left. */
export class HeldReply extends DeferredReply {
  readonly #engine: EngineCore
  readonly #slot: number
  readonly #generation: number
  readonly #sequence: number
  #done = false

  /** Made by `conn.defer()`. */
  constructor(engine: EngineCore, slot: number, generation: number, sequence: number) {
    super()
    this.#engine = engine
    this.#slot = slot
    this.#generation = generation
    this.#sequence = sequence
  }

  write(part: string | Uint8Array): boolean {
    return this.#settle('write()', part, 0) === writeResult.belowHigh
  }

  end(part: string | Uint8Array = ''): boolean {
    return this.#settle('end()', part, replyFlag.last) !== writeResult.gone
  }

  close(part: string | Uint8Array = ''): boolean {
    return this.#settle('close()', part, replyFlag.last | replyFlag.end) !== writeResult.gone
  }

  /** Cut off: it must not look whole to the reader. `now`: the connection is destroyed there, otherwise it ends in an orderly way. */
  cut(now: boolean): void {
    this.#settle('end()', '', replyFlag.last | (now ? replyFlag.destroy : replyFlag.error | replyFlag.end))
  }

  #settle(call: string, part: string | Uint8Array, flags: number): WriteResult {
    checkBytes(call, part)
    const engine = this.#engine
    if (this.#done || this.#sequence < 0) return this.#late(call, part, flags)
    this.#done = (flags & replyFlag.last) !== 0
    const result = engine.driver.settleDeferred(this.#slot, this.#generation, this.#sequence, part, flags) ?? writeResult.gone
    if (result === writeResult.gone) engine.countLateCall()
    else if (result === writeResult.full) engine.stopWhileFull(this.#slot, this.#generation)
    engine.touched()
    return result
  }

  /** The reply has ended, or its connection had closed before. */
  #late(call: string, part: string | Uint8Array, flags: number): WriteResult {
    const isThere = this.#sequence >= 0 && this.#engine.isThere(this.#slot, this.#generation)
    if (!isThere) this.#engine.countLateCall()
    else if (flags === 0 || part.length > 0) throw ended(`${call} of a deferred reply`)
    return writeResult.gone
  }
}
