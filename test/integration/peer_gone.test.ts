import { execFileSync } from 'node:child_process'
import { lines, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'

describe('a peer that has gone before its connection is accepted', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('has an address in its close hook, though nobody has asked before', async () => {
    const reactor = new Reactor()
    const seen: string[] = []
    const closed = new Promise<void>((resolve) => {
      const say = (hook: string, { remoteAddress, remoteFamily, remotePort }: Record<string, unknown>): void => {
        seen.push(`${hook} ${String(remoteAddress)} ${String(remoteFamily)} ${typeof remotePort}`)
      }
      void reactor
        .listen(
          { port: 0, host: '127.0.0.1' },
          {
            framing: lines(),
            message: () => {},
            close: (conn, reason) => {
              say(`close ${reason}`, conn as never)
              resolve()
            },
          },
        )
        .then(({ port }) => {
          // This thread accepts nothing before that has ended.
          const script = `const socket = require('net').connect(${port}, '127.0.0.1', () => socket.resetAndDestroy())`
          execFileSync(process.execPath, ['-e', script])
        })
    })
    await closed
    expect(seen).to.deep.equal(['close reset 127.0.0.1 IPv4 number'])
    await reactor.close()
  })
})
