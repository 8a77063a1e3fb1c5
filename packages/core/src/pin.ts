import { MultireactorError, native, OptionReader, shown } from '@multireactor/addon'

/** CPUs by number, as `taskset` and `/proc/cpuinfo` count them; `true`: all that the process may use. */
export type PinChoice = true | readonly number[]

/** Which threads stay on which CPUs. */
export interface PinSettings {
  /** Reactor i runs on the i-th of them, from the front again when there are more reactors. */
  reactors?: PinChoice
  /** The same for the pool's workers. */
  pool?: PinChoice
}

export interface Pins {
  reactors: readonly number[] | undefined
  pool: readonly number[] | undefined
}

/** Reads `pin`: of the reactors alone, or of both. Throws for CPUs that there are not, before any thread is made. */
export function readPin(where: string, value: unknown): Pins {
  const isChoice = value === true || Array.isArray(value)
  const forms = 'true, a list of CPU numbers, or an object such as { reactors: true, pool: [2, 3] }'
  const read = new OptionReader(`${where} pin`, isChoice ? { reactors: value } : value, ['reactors', 'pool'], forms)
  const choices = { reactors: read.raw('reactors'), pool: read.raw('pool') }
  if (choices.reactors === undefined && choices.pool === undefined) return { reactors: undefined, pool: undefined }
  const allowed = native.allowedCpus()
  return {
    reactors: readChoice(where, 'reactors', choices.reactors, allowed),
    pool: readChoice(where, 'pool', choices.pool, allowed),
  }
}

function readChoice(where: string, name: string, value: unknown, allowed: readonly number[]): readonly number[] | undefined {
  if (value === undefined) return undefined
  if (value === true) return allowed
  if (!Array.isArray(value) || value.length === 0 || !value.every((cpu) => typeof cpu === 'number')) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where} pin: '${name}' must be true or a list of CPU numbers that is not empty, and is ${shown(value)}`,
    )
  }
  const wrong = value.find((cpu: number) => !allowed.includes(cpu)) as number | undefined
  if (wrong !== undefined) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `${where} pin: '${name}' has ${wrong}, which is no CPU that this process may use (they are ${allowed.join(', ')})`,
    )
  }
  return value as number[]
}

/** The CPU of one thread, if it is pinned. */
export function cpuOf(cpus: readonly number[] | undefined, index: number): number | undefined {
  return cpus?.[index % cpus.length]
}

/** Pins the calling thread, before it loads anything. */
export function pinThread(cpu: number | undefined): void {
  if (cpu === undefined) return
  const error = native.pinThread(cpu)
  if (error !== undefined) {
    throw new MultireactorError('ERR_MR_SYSTEM', `the kernel does not let this thread run on CPU ${cpu} alone: ${error}`)
  }
}
