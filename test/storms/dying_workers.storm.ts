import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'
import { type ServerProcess, withServer } from '../support/server-process.js'

const taskTimeoutMs = 1_000
const victims = 5
const others = 20

describe('pool workers that die in the middle of load', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  for (const [command, reason, closedAs, execArgv] of [
    ['exit', 'exit', 'task-lost', []],
    ['forever', 'timeout', 'task-timeout', []],
    ['heap', 'exit', 'task-lost', ['--max-old-space-size=64']],
  ] as const) {
    it(`${command}: costs the connection whose frame it was, and no other`, async () => {
      const plan = { app: 'storm-work', reactors: 2, pool: { size: 2, taskTimeoutMs }, execArgv: [...execArgv] }
      await withServer(plan, async (server) => {
        const load = await Load.start(server)
        for (let i = 0; i < victims; i++) {
          const client = await Client.connect(server.port)
          client.write('echo before\n')
          await client.lines(1)
          await load.answers(100)
          client.write(`${command}\necho behind\n`)
          await client.untilClosed()
          expect(client.received.toString()).to.equal('before\n')
          const { replaced } = await server.until('replaced', ({ replaced }) => replaced.length > i)
          expect(replaced[i]!.reason).to.equal(reason)
          if (command === 'heap') expect(replaced[i]!.error).to.match(/memory/i)
        }
        // The successors work.
        await load.answers(2_000)
        const { stats, replaced } = await server.vitals()
        expect([...load.failures], 'others').to.deep.equal([])
        await load.stop()
        expect(replaced).to.have.length(victims)
        expect(replaced.map(({ lost }) => lost)).to.deep.equal(Array(victims).fill(1))
        expect([stats.connections.open, stats.connections.closed[closedAs]]).to.deep.equal([others, victims])
      })
    })
  }

  it('both workers at once: their frames close, the rest is answered by their successors', async () => {
    await withServer({ app: 'storm-work', reactors: 1, pool: { size: 2, taskTimeoutMs } }, async (server) => {
      const load = await Load.start(server)
      const clients = await Promise.all(Array.from({ length: 2 }, () => Client.connect(server.port)))
      for (const client of clients) client.write('forever\n')
      for (const client of clients) await client.untilClosed()
      const { replaced } = await server.until('replaced', ({ replaced }) => replaced.length >= 2)
      expect(replaced.map(({ reason }) => reason)).to.deep.equal(['timeout', 'timeout'])
      await load.answers(2_000)
      expect([...load.failures]).to.deep.equal([])
      await load.stop()
    })
  })
})

/** Connections that keep a few frames under way each, and check every answer. */
class Load {
  readonly failures: string[] = []
  readonly #clients: Client[]
  #answered = 0
  #stopping = false
  #wake: (() => void) | undefined
  readonly #done: Promise<unknown>

  private constructor(clients: Client[]) {
    this.#clients = clients
    this.#done = Promise.all(clients.map((client, number) => this.#run(client, number)))
  }

  static async start(server: ServerProcess): Promise<Load> {
    return new Load(await Promise.all(Array.from({ length: others }, () => Client.connect(server.port))))
  }

  /** Resolves after so many more answers, or a failure. */
  async answers(count: number): Promise<void> {
    const until = this.#answered + count
    while (this.#answered < until && this.failures.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#done
    for (const client of this.#clients) client.destroy()
  }

  async #run(client: Client, number: number): Promise<void> {
    for (let round = 0; !this.#stopping; round++) {
      const tokens = Array.from({ length: 5 }, (_, i) => `${number}-${round}-${i}`)
      client.write(tokens.map((token) => `echo ${token}\n`).join(''))
      try {
        const lines = await client.lines(tokens.length)
        if (lines.join() !== tokens.join()) throw new Error(`${lines} instead of ${tokens}`)
      } catch (error) {
        this.failures.push(`connection ${number}, round ${round}: ${(error as Error).message}`)
        this.#wake?.()
        return
      }
      client.received = client.received.subarray(0, 0)
      this.#answered += tokens.length
      this.#wake?.()
    }
  }
}
