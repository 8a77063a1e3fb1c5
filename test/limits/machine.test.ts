import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { cgroupLimits, machine } from '@multireactor/pool/group'
import { ControlGroup } from '../support/cgroup.js'
import { Command } from '../support/command.js'

const mebi = 2 ** 20
const none = '9223372036854771712\n'

/** A tree of files, by path. */
const tree = (files: Record<string, string>) => (path: string) => files[path]

const v2 = { '/proc/self/mountinfo': '30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n' }
const v1 = {
  '/proc/self/mountinfo': [
    '23 28 0:21 / /proc rw,nosuid - proc proc rw',
    '32 31 0:29 /docker/c0de /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
    '35 31 0:32 /docker/c0de /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory',
    '41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw',
  ].join('\n'),
  '/proc/self/cgroup': '4:memory:/docker/c0de\n2:cpu,cpuacct:/docker/c0de\n1:name=systemd:/docker/c0de\n0::/\n',
}

describe('limits of control groups', () => {
  it('are those of the own group, where a container sees it as its root (version 2)', () => {
    const read = tree({
      ...v2,
      '/proc/self/cgroup': '0::/\n',
      '/sys/fs/cgroup/memory.max': `${512 * mebi}\n`,
      '/sys/fs/cgroup/memory.high': 'max\n',
      '/sys/fs/cgroup/cpu.max': '50000 100000\n',
    })
    expect(cgroupLimits(read)).to.deep.equal({ memory: 512 * mebi, cpus: 0.5 })
  })

  it('are the least over the own group and all above it (version 2)', () => {
    const read = tree({
      ...v2,
      '/proc/self/cgroup': '0::/system.slice/app.service/worker\n',
      '/sys/fs/cgroup/system.slice/memory.max': `${300 * mebi}\n`,
      '/sys/fs/cgroup/system.slice/app.service/memory.max': `${900 * mebi}\n`,
      '/sys/fs/cgroup/system.slice/app.service/cpu.max': '150000 100000\n',
      '/sys/fs/cgroup/system.slice/app.service/worker/memory.max': 'max\n',
      '/sys/fs/cgroup/system.slice/app.service/worker/cpu.max': 'max 100000\n',
    })
    expect(cgroupLimits(read)).to.deep.equal({ memory: 300 * mebi, cpus: 1.5 })
  })

  it('take memory.high for a limit, since the kernel slows down whoever is above it', () => {
    const files = { ...v2, '/proc/self/cgroup': '0::/\n', '/sys/fs/cgroup/memory.max': `${mebi * 512}` }
    expect(cgroupLimits(tree({ ...files, '/sys/fs/cgroup/memory.high': `${mebi * 400}` })).memory).to.equal(400 * mebi)
  })

  it('are read in version 1, each controller at its own mount, whose root is the group of the container', () => {
    const read = tree({
      ...v1,
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': `${256 * mebi}\n`,
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '250000\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    })
    expect(cgroupLimits(read)).to.deep.equal({ memory: 256 * mebi, cpus: 2.5 })
  })

  it('are none where files say so or are missing, or where the group is outside of what is mounted', () => {
    const unlimited = tree({
      ...v1,
      '/sys/fs/cgroup/memory/memory.limit_in_bytes': none,
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us': '-1\n',
      '/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us': '100000\n',
    })
    expect(cgroupLimits(unlimited)).to.deep.equal({ memory: undefined, cpus: undefined })
    expect(cgroupLimits(tree({}))).to.deep.equal({ memory: undefined, cpus: undefined })
    expect(cgroupLimits(tree({ ...v2, '/proc/self/cgroup': '0::/a/b\n' }))).to.deep.equal({ memory: undefined, cpus: undefined })
    const outside = tree({ ...v2, '/proc/self/cgroup': '0::/../../other\n', '/sys/fs/cgroup/memory.max': `${mebi}` })
    expect(cgroupLimits(outside).memory).to.equal(mebi)
  })

  it('are found at mounts with blanks in their names', () => {
    const read = tree({
      '/proc/self/mountinfo': '30 23 0:26 / /mnt/my\\040groups rw - cgroup2 cgroup2 rw\n',
      '/proc/self/cgroup': '0::/app\n',
      '/mnt/my groups/app/cpu.max': '200000 100000',
    })
    expect(cgroupLimits(read).cpus).to.equal(2)
  })
})

describe('what the process may use', () => {
  const facts = {
    totalMemory: 1024 * mebi,
    constrainedMemory: 0 as number | undefined,
    parallelism: 4,
    cgroup: { memory: undefined as number | undefined, cpus: undefined as number | undefined },
  }

  it('is the machine, where nothing limits it: 0, nothing, and what is absurdly large are no limit', () => {
    for (const constrainedMemory of [undefined, 0, 2 ** 63, 2 ** 64, 1024 * mebi]) {
      const { memory, memoryOf, threads, threadsOf } = machine({ ...facts, constrainedMemory })
      expect([memory, memoryOf, threads, threadsOf]).to.deep.equal([1024 * mebi, "the machine's 1,024 MiB", 4, '4 CPUs'])
    }
  })

  it('is the least of what Node and the control groups say of memory', () => {
    for (const [constrainedMemory, memory] of [
      [512 * mebi, undefined],
      [0, 512 * mebi],
      [2 ** 64, 512 * mebi],
      [768 * mebi, 512 * mebi],
    ] as const) {
      const found = machine({ ...facts, constrainedMemory, cgroup: { ...facts.cgroup, memory } })
      expect([found.memory, found.memoryOf]).to.deep.equal([512 * mebi, "the cgroup's 512 MiB"])
    }
  })

  it('is a thread for each begun CPU of the quota, at least one, at most what the affinity has', () => {
    for (const [cpus, threads, why] of [
      [0.01, 1, "the cgroup's quota of 0.01 CPUs"],
      [0.5, 1, "the cgroup's quota of 0.5 CPUs"],
      [1.5, 2, "the cgroup's quota of 1.5 CPUs"],
      [3, 3, "the cgroup's quota of 3 CPUs"],
      [3.5, 4, "the cgroup's quota of 3.5 CPUs"],
      [8, 4, '4 CPUs'],
    ] as const) {
      const found = machine({ ...facts, cgroup: { ...facts.cgroup, cpus } })
      expect([found.threads, found.threadsOf]).to.deep.equal([threads, why])
    }
  })
})

describe('multireactor serve in a control group', () => {
  const bin = fileURLToPath(new URL('../../../packages/multireactor/bin/multireactor.js', import.meta.url))
  const orders = fileURLToPath(new URL('../fixtures/orders.js', import.meta.url))
  let group: ControlGroup | undefined
  afterEach(async () => {
    await Command.killAll()
    group?.remove()
  })

  it('takes no more than its container has, says why, and is overruled by flags', async function () {
    group = ControlGroup.make({ memory: 512 * mebi, cpus: 0.5 })
    if (!group) return this.skip() // this user may make no control groups
    const serve = (...more: string[]) =>
      new Command('sh', group!.arguments(process.execPath, bin, 'serve', orders, '--port', '0', '--host', '127.0.0.1', ...more))
    for (const [args, line] of [
      [[], "1 reactor (the cgroup's quota of 0.5 CPUs), 1 worker (the cgroup's quota of 0.5 CPUs)"],
      [['--reactors', '2', '--pool', '2'], '2 reactors (as given), 2 workers (as given)'],
    ] as const) {
      const server = serve(...args)
      const [said] = await server.line(/^\d+ reactors? .*/)
      expect(said).to.equal(`${line}, memory limit 256 MiB (half of the cgroup's 512 MiB), pid ${server.child.pid}`)
      server.child.kill('SIGTERM')
      expect((await server.ended).code).to.equal(0)
    }
  })
})
