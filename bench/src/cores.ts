/** The server has its cores and the load has its own, so that neither is measured waiting for the other. As `taskset -c` takes them. */
export interface Cores {
  server: string
  load: string
}

export function onCores(cores: string | undefined, command: readonly string[]): [string, string[]] {
  const [program, ...args] = cores === undefined ? command : ['taskset', '-c', cores, ...command]
  return [program!, args]
}
