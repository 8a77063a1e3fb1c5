import { parseArgs, type ParseArgsConfig } from 'node:util'
import { didYouMean } from '@multireactor/addon'

/** The command line cannot be meant: exit code 2. */
export class UsageError extends Error {}

/** `parseArgs`, with the nearest name for an option that does not exist. */
export function parseCommand<T extends NonNullable<ParseArgsConfig['options']>>(
  argv: readonly string[],
  options: T,
): ReturnType<typeof parseArgs<{ args: string[]; options: T; allowPositionals: true }>> {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true })
  } catch (error) {
    const unknown = /Unknown option '(--?[^'\s]+)'/.exec(error instanceof Error ? error.message : '')?.[1]
    if (unknown === undefined) throw new UsageError(error instanceof Error ? error.message : String(error))
    const hint = didYouMean(unknown.replace(/^-+/, ''), Object.keys(options)).replace("mean '", "mean '--")
    throw new UsageError(`unknown option '${unknown}'${hint}`)
  }
}

export function number(flag: string, text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new UsageError(`${flag} must be a whole number, and is '${text}'`)
  return value
}

/** Checked at the start: a signal is no moment to find out. */
export function milliseconds(flag: string, text: string): number {
  const value = number(flag, text)
  if (value > 0x7fff_ffff) throw new UsageError(`${flag} is in milliseconds, at most ${0x7fff_ffff}, and is '${text}'`)
  return value
}
