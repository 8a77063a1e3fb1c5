import { costKey, sampleRow as sampleTable } from '@multireactor/addon'

// Read once: the global is an accessor, and goes through a slow path of the engine each time.
const clock = globalThis.performance

// See engine.ts: constants of another module are loaded each time.
const sampleRow = sampleTable

/** So many frames of one kind in a row share a look at the clock, which costs about as much as a small frame. */
const mostRuns = 16
const { timedAlone } = costKey

/**
 * Measures the cost of frames up to their first return, by listener and size class, and leaves it as samples in native memory, where the native
 * owner reads them.
 */
export class CostMeter {
  readonly #samples: Uint32Array
  readonly #words: Uint32Array
  readonly #countAt: number
  #key = 0
  #runs = 0
  #flags = 0
  #since = 0

  /** `words[countAt]`: how many samples there are. */
  constructor(samples: Uint32Array, words: Uint32Array, countAt: number) {
    this.#samples = samples
    this.#words = words
    this.#countAt = countAt
  }

  /** Before a frame; `key` may say that it is to be timed alone. */
  before(key: number): void {
    if (this.#runs === 0) {
      this.#since = clock.now()
    } else if (key !== this.#key || this.#runs === mostRuns || key >= timedAlone) {
      this.#close()
    }
    this.#key = key
    this.#runs++
  }

  /** Something that is to be known of the frame at hand. `fromOutside`: its batch is not measured here. */
  note(flag: number, fromOutside: boolean): void {
    if (!fromOutside) {
      this.#flags |= flag
      return
    }
    if (this.#words[this.#countAt] === 0) this.#samples[sampleRow.flags] = 0
    this.#samples[sampleRow.runs] = 0 // the measuring loop fills it in
    this.#samples[sampleRow.flags]! |= flag
    this.#words[this.#countAt] = 1
  }

  /** After the last frame of a batch. */
  end(): void {
    if (this.#runs !== 0) this.#close()
  }

  #close(): void {
    const now = clock.now()
    const count = this.#words[this.#countAt]!
    const at = count * sampleRow.words
    if (at < this.#samples.length) {
      this.#samples[at + sampleRow.key] = this.#key & ~timedAlone
      this.#samples[at + sampleRow.runs] = this.#runs
      this.#samples[at + sampleRow.ns] = Math.min((now - this.#since) * 1e6, 0xffff_ffff)
      this.#samples[at + sampleRow.flags] = this.#flags
      this.#words[this.#countAt] = count + 1
    }
    this.#since = now
    this.#runs = 0
    this.#flags = 0
  }
}
