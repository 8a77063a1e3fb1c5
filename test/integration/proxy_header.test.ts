import { proxyHeader, Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { census, expectNothingLeft } from '../support/leaks.js'

const end = (address: string | undefined, port = 0) => ({ address, port })

describe('proxyHeader()', () => {
  const before = census()
  afterEach(() => expectNothingLeft(before))

  it('writes the lines of version 1', () => {
    const line = (source?: ReturnType<typeof end>, destination?: ReturnType<typeof end>) =>
      proxyHeader({ version: 1, ...(source ? { source } : {}), ...(destination ? { destination } : {}) }).toString()
    expect(line(end('192.0.2.1', 56324), end('192.0.2.2', 443))).to.equal('PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n')
    expect(line(end('2001:db8::1', 1), end('::1', 65535))).to.equal('PROXY TCP6 2001:db8:0:0:0:0:0:1 0:0:0:0:0:0:0:1 1 65535\r\n')
    // A dual-stack listener's IPv4 peer is one of IPv4; beside an IPv6 end it is written as that.
    expect(line(end('::ffff:192.0.2.1', 1), end('192.0.2.2', 2))).to.equal('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n')
    expect(line(end('192.0.2.1', 1), end('fe80::1%eth0', 2))).to.equal(
      'PROXY TCP6 0:0:0:0:0:ffff:c000:201 fe80:0:0:0:0:0:0:1 1 2\r\n',
    )
    expect(line()).to.equal('PROXY UNKNOWN\r\n')
    expect(line(end(undefined), end('::1', 1))).to.equal('PROXY UNKNOWN\r\n')
  })

  it('writes the bytes of version 2', () => {
    const signature = '0d0a0d0a000d0a515549540a'
    const header = proxyHeader({ version: 2, source: end('192.0.2.1', 0x1234), destination: end('198.51.100.7', 0x01bb) })
    expect(header.toString('hex')).to.equal(`${signature}2111000cc0000201c6336407123401bb`)
    const six = proxyHeader({ version: 2, source: end('2001:db8::ff', 1), destination: end('::ffff:1.2.3.4', 2) })
    expect(six.toString('hex')).to.equal(
      `${signature}2121002420010db80000000000000000000000ff00000000000000000000ffff0102030400010002`,
    )
    expect(proxyHeader({ version: 2 }).toString('hex')).to.equal(`${signature}20000000`)
  })

  it('refuses what is no address', () => {
    const wrong = (options: unknown) => () => proxyHeader(options as never)
    expect(wrong({})).to.throw("'version' must be 1 or 2").with.property('code', 'ERR_MR_OPTION_TYPE')
    expect(wrong({ version: 3 }))
      .to.throw("'version'")
      .with.property('code', 'ERR_MR_OPTION_RANGE')
    expect(wrong({ version: 1, source: end('localhost', 1) }))
      .to.throw('must be an IPv4')
      .with.property('code', 'ERR_MR_OPTION_RANGE')
    expect(wrong({ version: 1, source: end('::1', 65536) }))
      .to.throw("'port'")
      .with.property('code', 'ERR_MR_OPTION_RANGE')
  })

  it('is what our own listeners read', async () => {
    await using reactor = new Reactor()
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1', proxyProtocol: { from: ['127.0.0.1'] } },
      { message: (conn, chunk) => void conn.write(`${chunk} from ${conn.remoteAddress} ${conn.remotePort}\n`) },
    )
    const ends = [end('203.0.113.9', 4711), end('2001:db8::5', 4712), end(undefined)]
    for (const version of [1, 2] as const) {
      for (const source of ends) {
        const client = await Client.connect(port)
        const own = `127.0.0.1 ${client.socket.localPort}`
        client.write(proxyHeader({ version, source, destination: end('192.0.2.2', 443) }))
        client.write('hello')
        const expected = source.address === undefined ? own : `${source.address} ${source.port}`
        expect(await client.lines(1)).to.deep.equal([`hello from ${expected}`])
        client.destroy()
      }
    }
  })
})
