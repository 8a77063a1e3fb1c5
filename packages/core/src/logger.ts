import { outliveOutput, shown } from '@multireactor/addon'

export interface Logger {
  debug(message: string): void
  info(message: string): void
  warn(message: string): void
  error(message: string): void
}

/** What a logger throws, or rejects with, ends nothing: the line goes to the console, and so does the failure. */
export function guarded<Name extends keyof Logger>(logger: Pick<Logger, Name>, names: readonly Name[]): Pick<Logger, Name> {
  const method = (name: Name) => (message: string) => {
    const failed = (error: unknown): void =>
      say(
        `multireactor: ${message}\nmultireactor: logger.${name} failed: ${error instanceof Error ? error.message : shown(error)}`,
      )
    try {
      const result: unknown = logger[name](message)
      if (result instanceof Promise) result.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
  return Object.fromEntries(names.map((name) => [name, method(name)])) as Pick<Logger, Name>
}

export function say(line: string): void {
  outliveOutput()
  console.error(line)
}
