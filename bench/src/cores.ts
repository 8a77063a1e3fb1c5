/** The server has one core and the load the other, so that neither is measured waiting for the other. */
export const serverCore = 0
export const loadCore = 1

export function onCore(core: number, pin: boolean, command: readonly string[]): [string, string[]] {
  const [program, ...args] = pin ? ['taskset', '-c', String(core), ...command] : command
  return [program!, args]
}
