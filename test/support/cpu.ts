import { readdirSync, readFileSync } from 'node:fs'

/** The kernel counts in hundredths of a second here, independent of its own clock. */
const msPerTick = 10

/**
 * Milliseconds of CPU that a process has used, all its threads together. A server's work between a question and its answer is
 * measured with this and not with a clock: a clock goes on while the machine runs something else.
 */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
  // User and system time are the 14th and the 15th field; the name may hold spaces, and ends with a bracket.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * msPerTick
}

/** Milliseconds of CPU that each thread of a process has used, as its scheduler counts them. */
export function threadCpuMsOf(pid: number): Map<string, number> {
  const folder = `/proc/${pid}/task`
  const used = new Map<string, number>()
  for (const thread of readdirSync(folder)) {
    try {
      used.set(thread, Number(readFileSync(`${folder}/${thread}/schedstat`, 'latin1').split(' ')[0]) / 1e6)
    } catch {
      // It has ended.
    }
  }
  return used
}
