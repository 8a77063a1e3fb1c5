import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'chai'
import { app } from '../support/app.js'
import { Command } from '../support/command.js'

/** A client that never stops asking, and notes how it ended. */
class Asker {
  readonly socket: Socket
  readonly done: Promise<unknown>
  finished = false
  error: Error | undefined
  #received = ''
  #sent = 0

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    this.done = once(this.socket, 'close').catch(() => {})
    this.socket.on('error', (error) => {
      this.error = error
    })
    this.socket.setEncoding('latin1').on('data', (text: string) => {
      this.#received += text
      this.ask(text.split('\n').length - 1)
    })
    // The server has said its last word; saying ours lets it go.
    this.socket.on('end', () => {
      this.finished = true
      this.socket.end()
    })
  }

  ask(count: number): void {
    if (this.finished) return
    let lines = ''
    for (let i = 0; i < count; i++) lines += `{"id":${this.#sent++},"price":2,"count":3}\n`
    this.socket.write(lines)
  }

  /** How many complete replies came, which must be those to the first requests. */
  replies(): number {
    const lines = this.#received.split('\n')
    expect(lines.pop(), 'a reply in part').to.equal('')
    for (const [i, line] of lines.entries()) expect(line).to.equal(`{"id":${i},"total":6}`)
    return lines.length
  }
}

describe('SIGTERM under load', () => {
  afterEach(() => Command.killAll())

  it('every client gets whole replies to a prefix of its requests, then FIN and no reset; exit code 0', async () => {
    const args = ['--host', '127.0.0.1', '--port', '0', '--reactors', '2', '--pool', '2']
    for (let round = 0; round < 5; round++) {
      const server = Command.serve(app('orders').pathname, ...args)
      const [, port] = await server.line(/^listening on 127\.0\.0\.1:(\d+)/)
      const askers = Array.from({ length: 32 }, () => new Asker(Number(port)))
      await Promise.all(askers.map(({ socket }) => once(socket, 'connect')))
      for (const asker of askers) asker.ask(32)
      await Promise.all(askers.map(({ socket }) => once(socket, 'data')))
      server.child.kill('SIGTERM')
      await Promise.all(askers.map(({ done }) => done))
      const { code, out, err } = await server.ended
      for (const asker of askers) {
        expect(asker.error, 'no reset').to.equal(undefined)
        expect(asker.finished, 'FIN').to.equal(true)
        expect(asker.replies()).to.be.above(0)
      }
      expect(out).to.match(/^closed: \d+ answered, 0 destroyed$/m)
      expect(err).to.equal('')
      expect(code).to.equal(0)
    }
  })

  it('a second signal does not wait', async () => {
    const server = Command.serve(app('slow').pathname, '--host', '127.0.0.1', '--port', '0', '--reactors', '1', '--pool', '1')
    const [, port] = await server.line(/^listening on 127\.0\.0\.1:(\d+)/)
    const asker = new Asker(Number(port))
    await once(asker.socket, 'connect')
    asker.socket.write('60000\n0\n')
    // The second frame's answer waits behind the first one's: nothing comes, and the server has to wait for it.
    const refused = connect(Number(port), '127.0.0.1')
    await once(refused, 'connect')
    refused.destroy()
    server.child.kill('SIGTERM')
    server.child.kill('SIGINT')
    expect((await server.ended).code).to.equal(1)
    await asker.done
  })
})
