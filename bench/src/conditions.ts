import { readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { bun } from './bun.js'
import type { Options } from './options.js'

/** The conditions under which a run must be read: programs, placement, rounds, and how the kernel shares the time. */
export function conditions(options: Options): string {
  const placed = { own: 'pinned or not as each table says', yes: 'pinned', no: 'not pinned', both: 'pinned and not pinned' }
  const found = bun()
  return [
    `Node ${process.versions.node}${'version' in found ? `, Bun ${found.version}` : ''}, ${cpus().length} cores.`,
    `${options.rounds} interleaved rounds, windows of ${options.seconds} s after ${options.warmup} s of warm-up.`,
    `Placement: ${placed[options.pin]}; pinned means the server on core ${options.serverCores} and the load on core ${options.loadCores}.`,
    schedulingGroup(),
    'Every reply was compared.',
  ].join(' ')
}

function schedulingGroup(): string {
  let autogroup: string
  try {
    autogroup = readFileSync('/proc/sys/kernel/sched_autogroup_enabled', 'utf8').trim() === '1' ? 'on' : 'off'
  } catch {
    autogroup = 'not in this kernel'
  }
  return `Server and load run in one session and at one priority (scheduler autogroup: ${autogroup}).`
}
