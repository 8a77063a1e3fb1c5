import { readFileSync } from 'node:fs'

/** The kernel counts in hundredths of a second here, whatever its own clock does. */
const msPerTick = 10

/**
 * Milliseconds of CPU that a process has used, all its threads together. What a server does between a question and its answer is
 * measured with this and not with a clock: a clock goes on while the machine runs something else.
 */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // User and system time are the 14th and the 15th field; the name may hold spaces, and ends with a bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * msPerTick
}
