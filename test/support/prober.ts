import { once } from 'node:events'
import { Worker } from 'node:worker_threads'

export interface ProbePlan {
  port: number
  connections: number
  request: string
  replyBytes: number
}

/** Well-behaved connections beside a storm: what they are made to wait. */
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
  static async start(port: number, request: string, replyBytes = request.length, connections = 4): Promise<Prober> {
    const workerData: ProbePlan = { port, connections, request, replyBytes }
    const prober = new Prober(new Worker(new URL('./prober-thread.js', import.meta.url), { workerData }))
    await prober.#said((message) => message === 'ready')
    return prober
  }

  /** Milliseconds since the last question, or the start. */
  async read(): Promise<{ p99: number; count: number; worst: number }> {
    this.#worker.postMessage('read')
    const times = ((await this.#said(Array.isArray)) as number[]).sort((a, b) => a - b)
    return { p99: quantile(times, 0.99), count: times.length, worst: times.at(-1) ?? 0 }
  }

  /** Resolves when so many questions have been answered since the last `read`, with their times. */
  async after(answers: number): Promise<{ p99: number; count: number; worst: number }> {
    const times: number[] = []
    while (times.length < answers) {
      this.#worker.postMessage('read')
      times.push(...((await this.#said(Array.isArray)) as number[]))
    }
    times.sort((a, b) => a - b)
    return { p99: quantile(times, 0.99), count: times.length, worst: times.at(-1)! }
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
