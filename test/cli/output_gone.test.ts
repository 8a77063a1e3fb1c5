import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Client } from '../support/client.js'

const bin = fileURLToPath(new URL('../../../packages/multireactor/bin/multireactor.js', import.meta.url))
const app = fileURLToPath(new URL('../fixtures/talkative.js', import.meta.url))

/** Everything that prints: the app in a hook, in `parse`, a hook that fails, the command on SIGHUP. */
async function use(server: ReturnType<typeof spawn>, port: number | string): Promise<void> {
  const kept = await Client.connect(port)
  kept.write('hi\n')
  await kept.lines(1)
  for (const line of ['log', 'pool log', 'error', 'throw']) {
    for (let i = 0; i < 3; i++) {
      const peer = await Client.connect(port)
      peer.write(`${line}\n`)
      if (line === 'throw') await peer.untilClosed()
      else await peer.lines(1)
      peer.destroy()
    }
  }
  server.kill('SIGHUP')
  // Every line is answered by the thread that reads it: another one means that the app has been loaded again.
  const threads = (): Set<string> => new Set(kept.received.toString().match(/thread \d+/g))
  for (let i = 0; i < 1_000 && threads().size < 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10))
    kept.write('thread\n')
  }
  expect(threads().size).to.equal(2)
  kept.write('still here\n')
  await kept.until(({ received }) => received.includes('still here\n'))
  kept.destroy()
  const ended = once(server, 'exit')
  server.kill('SIGTERM')
  expect(await ended).to.deep.equal([0, null])
}

const serveIt = (stdio: 'pipe' | number, ...where: string[]) =>
  spawn(process.execPath, [bin, 'serve', app, ...where, '--reactors', '1', '--pool', '1'], { stdio: ['ignore', stdio, stdio] })

describe('a command whose output nobody takes', () => {
  for (const gone of [['stdout'], ['stderr'], ['stdout', 'stderr']] as ('stdout' | 'stderr')[][]) {
    it(`goes on when the reader of ${gone.join(' and ')} has gone away`, async () => {
      const server = serveIt('pipe', '--port', '0', '--host', '127.0.0.1')
      try {
        const [line] = (await once(server.stdout!, 'data')) as [Buffer]
        const port = Number(/:(\d+) with/.exec(line.toString())![1])
        for (const name of ['stdout', 'stderr'] as const) {
          if (gone.includes(name)) server[name]!.destroy()
          else server[name]!.resume()
        }
        await use(server, port)
      } finally {
        server.kill('SIGKILL')
      }
    })
  }

  it('goes on when the disk of its log is full', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'multireactor-'))
    const path = join(folder, 'server.sock')
    const full = openSync('/dev/full', 'w')
    const server = serveIt(full, '--path', path)
    closeSync(full)
    try {
      let isThere = false
      for (let i = 0; i < 1_000 && !isThere; i++) {
        await new Promise((resolve) => setTimeout(resolve, 10))
        isThere = await Client.connect(path).then(
          (client) => {
            client.destroy()
            return true
          },
          () => false,
        )
      }
      await use(server, path)
    } finally {
      server.kill('SIGKILL')
      rmSync(folder, { recursive: true })
    }
  })
})
