import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { native } from '@multireactor/addon'
import { expect } from 'chai'
import { type Server, serve } from '@multireactor/core'
import { app } from '../support/app.js'
import { Client } from '../support/client.js'
import { kill } from '../support/kill.js'
import { census, expectNothingLeft } from '../support/leaks.js'

/** The CPUs on which every thread of this process may run. Those that it makes itself for a thread's io_uring are not ours. */
function allowedOfThreads(): string[] {
  return readdirSync('/proc/self/task').flatMap((thread) => {
    try {
      const status = readFileSync(`/proc/self/task/${thread}/status`, 'utf8')
      return /^Name:\s+iou-/.test(status) ? [] : [/^Cpus_allowed_list:\s+(\S+)$/m.exec(status)![1]!]
    } catch {
      return [] // it has ended meanwhile
    }
  })
}

/** Opens connections from one CPU, on loopback the one that receives them. */
async function connectFrom(cpu: number, port: number, count: number): Promise<() => Promise<void>> {
  const program = `
    const net = require('node:net')
    let open = 0
    for (let i = 0; i < ${count}; i++) net.connect(${port}, '127.0.0.1', () => { if (++open === ${count}) console.log('open') })
    process.stdin.on('end', () => process.exit()).resume()`
  const child = spawn('taskset', ['-c', String(cpu), process.execPath, '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  return async () => {
    const ended = once(child, 'exit')
    child.stdin.end()
    await ended
  }
}

describe('threads that stay on their CPU', function () {
  this.timeout(120_000)
  const cpus = native.allowedCpus()
  const list = [...cpus.slice(-1), ...cpus.slice(0, 1)] // not the order that `true` has
  let server: Server
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(async () => {
    await server.close({ timeoutMs: 500 })
    expectNothingLeft(before)
  })

  /** How many threads have each CPU for themselves, beyond those before. */
  const pinned = () => {
    const all = allowedOfThreads()
    return Object.fromEntries(cpus.map((cpu) => [cpu, all.filter((allowed) => allowed === String(cpu)).length]))
  }
  const expected = (...of: number[]) => Object.fromEntries(cpus.map((cpu) => [cpu, of.filter((one) => one === cpu).length]))

  it('reactors alone, or workers too, also after a resize, a reload and a death', async function () {
    if (cpus.length < 2) return this.skip() // every thread has the only one
    server = await serve({ app: app('storm-mortal'), listen: 0, reactors: 2, pool: 1, pin: list })
    expect(pinned()).to.deep.equal(expected(list[0]!, list[1]!))
    await server.resize({ reactors: 3 })
    expect(pinned()).to.deep.equal(expected(list[0]!, list[1]!, list[0]!))
    await server.resize({ reactors: 1 })
    expect(pinned()).to.deep.equal(expected(list[0]!))
    await server.reload()
    expect(pinned()).to.deep.equal(expected(list[0]!))
    await kill('reactor 0', new Promise((resolve) => server.once('reactorReplaced', resolve)))
    // The successor pins itself before it loads the app, and is there when it answers.
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('echo 1\n')
    await client.lines(1)
    client.destroy()
    expect(pinned()).to.deep.equal(expected(list[0]!))
    await server.close()
    server = await serve({ app: app('orders'), listen: 0, reactors: 1, pool: 2, pin: { reactors: [cpus[0]!], pool: true } })
    expect(pinned()).to.deep.equal(expected(cpus[0]!, cpus[0]!, cpus[1]!))
  })

  it('gives a reactor the connections that its CPU receives, also when the sockets have become more and fewer', async function () {
    if (cpus.length < 2) return this.skip()
    const count = 24
    server = await serve({ app: app('orders'), listen: { port: 0, host: '127.0.0.1' }, reactors: 2, pool: 1, pin: list })
    const opens = () => server.stats().reactors.map(({ open }) => open)
    const until = async (done: () => boolean) => {
      while (!done()) await new Promise((resolve) => setImmediate(resolve))
    }
    const check = async (reactors: number) => {
      for (const [i, cpu] of list.entries()) {
        const end = await connectFrom(cpu, server.listeners[0]!.port, count)
        await until(() => opens().reduce((a, b) => a + b) === count)
        // Reactor i, and where the list has gone round reactor i + 2.
        const its = opens().filter((_, index) => index % 2 === i && index < reactors)
        expect(
          its.reduce((a, b) => a + b),
          `CPU ${cpu} of ${opens().join()}`,
        ).to.equal(count)
        await end()
        await until(() => opens().every((open) => open === 0))
      }
    }
    await check(2)
    await server.resize({ reactors: 4 })
    await check(4)
    await server.resize({ reactors: 2 })
    await check(2)
    // One reactor is left: it gets all, wherever they come from.
    await server.resize({ reactors: 1 })
    const end = await connectFrom(list[1]!, server.listeners[0]!.port, count)
    await until(() => opens()[0] === count)
    await end()
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('{"id":1,"price":2,"count":3}\n')
    await client.lines(1)
    client.destroy()
  })
})
