import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { ServerProcess } from './server-process.js'

export interface ProbePlan {
  port: number
  connections: number
  request: string
  replyBytes: number
  pid: number
}

/** Of each answer: the milliseconds of CPU that the server used between the question and the answer. */
export interface Waits {
  p99: number
  count: number
  worst: number
}

/** Well-behaved connections beside a storm: how much the server does for others while they wait. */
export class Prober {
  readonly #worker: Worker
  closed = 0

  private constructor(worker: Worker) {
    this.#worker = worker
    worker.on('message', (message) => {
      if (message === 'closed') this.closed++
    })
  }

  /** Resolves when it has its first answers. */
  static async start({ port, pid }: ServerProcess, request: string, replyBytes = request.length): Promise<Prober> {
    const workerData: ProbePlan = { port, pid, connections: 4, request, replyBytes }
    const prober = new Prober(new Worker(new URL('./prober-thread.js', import.meta.url), { workerData }))
    await prober.#said((message) => message === 'ready')
    return prober
  }

  /** Since the last time it was read, or the start. */
  async read(): Promise<Waits> {
    return this.after(0)
  }

  /** Resolves when so many questions have been answered since the last `read`. */
  async after(answers: number): Promise<Waits> {
    const waits: number[] = []
    do {
      this.#worker.postMessage('read')
      waits.push(...((await this.#said(Array.isArray)) as number[]))
    } while (waits.length < answers)
    waits.sort((a, b) => a - b)
    return { p99: quantile(waits, 0.99), count: waits.length, worst: waits.at(-1) ?? 0 }
  }

  async stop(): Promise<void> {
    this.#worker.postMessage('stop')
    await once(this.#worker, 'exit')
  }

  async #said(wanted: (message: unknown) => boolean): Promise<unknown> {
    for (;;) {
      const [message] = (await once(this.#worker, 'message')) as [unknown]
      if (wanted(message)) return message
    }
  }
}

export function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0
}
