import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Control groups for one process: a parent with the limits, and the child that the process is in. */
export class ControlGroup {
  readonly #folders: string[] = []

  /** Undefined where this user may not make any. */
  static make(limits: { memory: number; cpus: number }): ControlGroup | undefined {
    const group = new ControlGroup()
    const name = `multireactor-test-${process.pid}`
    const period = 100_000
    try {
      if (existsSync('/sys/fs/cgroup/cgroup.controllers')) {
        writeFileSync('/sys/fs/cgroup/cgroup.subtree_control', '+memory +cpu')
        group.#add('/sys/fs/cgroup', name, {
          'memory.max': `${limits.memory}`,
          'cpu.max': `${limits.cpus * period} ${period}`,
          'cgroup.subtree_control': '+memory +cpu',
        })
      } else {
        const mounts = readFileSync('/proc/self/mounts', 'utf8')
        const at = (controller: string) =>
          new RegExp(`^cgroup (\\S+) cgroup \\S*\\b${controller}\\b(,|\\s)`, 'm').exec(mounts)![1]!
        group.#add(at('memory'), name, { 'memory.limit_in_bytes': `${limits.memory}` })
        group.#add(at('cpu'), name, { 'cpu.cfs_period_us': `${period}`, 'cpu.cfs_quota_us': `${limits.cpus * period}` })
      }
    } catch {
      group.remove()
      return undefined
    }
    return group
  }

  #add(mount: string, name: string, files: Record<string, string>): void {
    const parent = join(mount, name)
    mkdirSync(parent)
    this.#folders.unshift(parent)
    for (const [file, text] of Object.entries(files)) writeFileSync(join(parent, file), text)
    const child = join(parent, 'child')
    mkdirSync(child)
    this.#folders.unshift(child)
  }

  /** Arguments for `sh` that run a program within the groups. */
  arguments(program: string, ...args: string[]): string[] {
    const enter = this.#folders.filter((folder) => folder.endsWith('/child')).map((folder) => `echo $$ > ${folder}/cgroup.procs`)
    return ['-c', `${enter.join(' && ')} && exec "$0" "$@"`, program, ...args]
  }

  /** When its processes have ended. */
  remove(): void {
    for (const folder of this.#folders.splice(0)) rmdirSync(folder)
  }
}
