export const kinds = ['logins', 'refused', 'readings', 'commands'] as const
export type Kind = (typeof kinds)[number]
/** By listener. */
export type Counted = { [listener: string]: { [kind in Kind | 'devices']: number } }

/** Counts of events on each listener, on this reactor's thread. It begins anew with the thread, as Prometheus expects of counters. */
export class Counts {
  readonly #counted: Counted = {}

  /** `listener` is one of the names in main.js: no peer chooses it. */
  of(listener: string): Counted[string] {
    this.#counted[listener] ??= { devices: 0, logins: 0, refused: 0, readings: 0, commands: 0 }
    return this.#counted[listener]
  }

  get all(): Counted {
    return this.#counted
  }
}

export function metricsText(threads: readonly Counted[]): string {
  const listeners = [...new Set(threads.flatMap((counted) => Object.keys(counted)))]
  const help: { [kind in Kind | 'devices']: string } = {
    devices: 'Devices that are logged in.',
    logins: 'Logins that were accepted.',
    refused: 'Connections that were refused: no login in time, a wrong one, or a message that is none.',
    readings: 'Readings.',
    commands: 'Commands that were sent to devices.',
  }
  return (['devices', ...kinds] as const)
    .map((kind) => {
      const name = kind === 'devices' ? 'gateway_devices' : `gateway_${kind}_total`
      const samples = listeners.map((listener) => {
        const sum = threads.reduce((all, counted) => all + (counted[listener]?.[kind] ?? 0), 0)
        return `${name}{listener="${listener}"} ${sum}\n`
      })
      return `# HELP ${name} ${help[kind]}\n# TYPE ${name} ${kind === 'devices' ? 'gauge' : 'counter'}\n${samples.join('')}`
    })
    .join('')
}
