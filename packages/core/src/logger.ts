import { outliveOutput, shown } from '@multireactor/addon'

/** Receives the log lines of the server; `console` fits. An error that it throws is ignored. */
export interface Logger {
  /** Details of starting and closing. */
  debug(message: string): void
  /** Starts, reloads, closes. */
  info(message: string): void
  /** Warnings for the operator, such as a limit that was reached. */
  warn(message: string): void
  /** Failures of hooks, `parse` and threads. */
  error(message: string): void
}

/** A logger that throws or rejects does not end the server: the line goes to the console, and so does the failure. */
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
