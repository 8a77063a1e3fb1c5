import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { documents, orders } from './documents.js'
import { answer, type Work } from './work.js'

const documentsInRing = 200
const ordersInRing = 1_000

export const workloadNames = ['echo', 'lines', 'json128', 'json4k'] as const

export type WorkloadName = (typeof workloadNames)[number] | 'data'

/** The requests of a measurement and the replies they must get. */
export interface Workload {
  name: WorkloadName
  title: string
  work: Work
  /** How the load generator is told. */
  flags: string[]
}

/** Writes what the load generator reads, and removes it at the end. */
export class Workloads {
  readonly #directory: string = mkdtempSync(join(tmpdir(), 'multireactor-bench-'))

  make(name: WorkloadName, dataFile?: string): Workload {
    switch (name) {
      case 'echo':
        return { name, title: 'echo, 64 bytes', work: 'echo', flags: ['--mode', 'echo', '--payload', '64'] }
      case 'lines':
        return {
          name,
          title: 'lines of 64 bytes, returned by a handler',
          work: 'lines',
          flags: ['--mode', 'lines', '--payload', '64'],
        }
      case 'json128':
        return this.#json(name, 'JSON of 128 bytes: multiply, small reply', orders(ordersInRing))
      case 'json4k':
        return this.#json(name, 'JSON of 2-7 KB: count values and text', documents(documentsInRing))
      case 'data':
        return this.#json(name, 'JSON from --data: count values and text', linesOf(dataFile))
    }
  }

  /** A place for a file, gone with the others. */
  pathFor(name: string): string {
    return join(this.#directory, name)
  }

  remove(): void {
    rmSync(this.#directory, { recursive: true })
  }

  #json(name: WorkloadName, title: string, requests: string[]): Workload {
    const data = join(this.#directory, `${name}.requests`)
    const expect = join(this.#directory, `${name}.replies`)
    writeFileSync(data, requests.join(''))
    // Computed here and now, from the document alone: no server takes part in saying what is right.
    writeFileSync(expect, requests.map(answer).join(''))
    return { name, title, work: 'json', flags: ['--mode', 'json', '--data', data, '--expect', expect] }
  }
}

function linesOf(file: string | undefined): string[] {
  if (file === undefined) throw new Error('the work "data" needs --data FILE')
  const lines = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '')
  return lines.map((line) => `${line}\n`)
}
