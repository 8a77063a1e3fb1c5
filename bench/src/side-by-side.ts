// Servers that are named on their command line, each in a process of its own, measured one after the other in each round.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { median } from './statistics.js'
import { cpuOf } from './thread-cpu.js'

export interface Running {
  child: ChildProcess
  port: number
}

/** `program` prints its port, and serves until its stdin ends. */
export async function startNamed(program: URL, name: string, ...more: string[]): Promise<Running> {
  const child = spawn(process.execPath, [fileURLToPath(program), name, ...more], { stdio: ['pipe', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string]
  return { child, port: Number(line) }
}

/** Prints a table of the server's CPU for each `unit`; `load` says how many it has sent. The first server is 1.00. */
export async function compare<S extends Running>(
  title: string,
  unit: string,
  rounds: number,
  servers: ReadonlyMap<string, S>,
  load: (server: S) => number | Promise<number>,
): Promise<void> {
  const costs = new Map<string, number[]>([...servers.keys()].map((name) => [name, []]))
  for (let round = -1; round < rounds; round++) {
    for (const [name, server] of servers) {
      const before = cpuOf(server.child.pid!)
      const sent = await load(server)
      // The first round warms up.
      if (round >= 0) costs.get(name)!.push((cpuOf(server.child.pid!) - before) / sent)
    }
  }
  const [first] = servers.keys()
  console.log(`\n${title}\n`)
  console.log(`| server | CPU per ${unit}, us | of ${first} |\n|---|---:|---:|`)
  const base = median(costs.get(first!)!)
  for (const [name, all] of costs) console.log(`| ${name} | ${median(all).toFixed(2)} | ${(median(all) / base).toFixed(2)} |`)
}
