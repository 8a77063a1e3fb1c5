import { readFileSync } from 'node:fs'

/** The limits of this process's control groups. Undefined: no limit. */
export interface CgroupLimits {
  /** Bytes. */
  memory: number | undefined
  /** CPUs worth of time: 0.5 is half of one. */
  cpus: number | undefined
}

/** The text of a file, or undefined where there is none. */
export type ReadText = (path: string) => string | undefined

interface Hierarchy {
  /** `''` for version 2, else the controllers of version 1. */
  controllers: readonly string[]
  mountPoint: string
  /** The folders of this process, from its own group up to the mount point. */
  folders: readonly string[]
}

/**
 * The least limit of memory and of CPU time over this process's control group and all groups above it, as far as it can see them: in a
 * container the mount point is the container's own group. Reads version 1, version 2, and both where both are mounted.
 */
export function cgroupLimits(read: ReadText = readText): CgroupLimits {
  const memory: number[] = []
  const cpus: number[] = []
  for (const { controllers, folders } of hierarchies(read)) {
    for (const folder of folders) {
      const text = (name: string): string => read(`${folder}/${name}`)?.trim() ?? ''
      if (controllers[0] === '') {
        // Above memory.high the kernel does not kill: it makes every allocation wait for memory to be reclaimed, which is no better here.
        memory.push(bytes(text('memory.max')), bytes(text('memory.high')))
        cpus.push(quota(text('cpu.max')))
        continue
      }
      if (controllers.includes('memory')) memory.push(bytes(text('memory.limit_in_bytes')))
      if (controllers.includes('cpu')) cpus.push(quota(`${text('cpu.cfs_quota_us')} ${text('cpu.cfs_period_us')}`))
    }
  }
  return { memory: least(memory), cpus: least(cpus) }
}

function hierarchies(read: ReadText): Hierarchy[] {
  const own = new Map<string, string>()
  for (const line of (read('/proc/self/cgroup') ?? '').split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? []
    if (controllers !== undefined) for (const one of controllers.split(',')) own.set(one, path!)
  }
  const found: Hierarchy[] = []
  for (const line of (read('/proc/self/mountinfo') ?? '').split('\n')) {
    const [mount, rest] = line.split(' - ')
    const [kind, , options] = (rest ?? '').split(' ')
    if (kind !== 'cgroup' && kind !== 'cgroup2') continue
    const [root, mountPoint] = mount!.split(' ').slice(3, 5).map(unescaped)
    const controllers = kind === 'cgroup2' ? [''] : (options ?? '').split(',').filter((one) => own.has(one))
    const path = own.get(controllers[0] ?? '-')
    if (path === undefined || root === undefined || mountPoint === undefined) continue
    found.push({ controllers, mountPoint, folders: foldersOf(path, root, mountPoint) })
  }
  return found
}

/** `path` and `root` are seen from the same place. A group outside of the mount cannot be read: the mount is read instead. */
function foldersOf(path: string, root: string, mountPoint: string): string[] {
  const base = root === '/' ? '' : root
  const below = path === base || path.startsWith(`${base}/`) ? path.slice(base.length) : ''
  const names = below.split('/').filter((name) => name !== '')
  if (names.includes('..')) return [mountPoint]
  return Array.from({ length: names.length + 1 }, (_, up) => [mountPoint, ...names.slice(0, names.length - up)].join('/'))
}

/** The kernel writes blanks of a path in octal. */
function unescaped(path: string): string {
  return path.replace(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)))
}

/** Infinity where it is not a number: `max`, or no such file. */
function bytes(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Number.POSITIVE_INFINITY
}

/** `50000 100000` is half a CPU; `max` or -1 is no limit. */
function quota(text: string): number {
  const [, time, period] = /^(\d+) (\d+)$/.exec(text) ?? []
  return time === undefined || Number(period) === 0 ? Number.POSITIVE_INFINITY : Number(time) / Number(period)
}

/** Version 1 says "none" with the largest number of pages. */
const absurd = 2 ** 60

function least(values: readonly number[]): number | undefined {
  const value = Math.min(...values)
  return value > 0 && value < absurd ? value : undefined
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined // no such group, or none that this process may see
  }
}
