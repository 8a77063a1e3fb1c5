import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect } from 'chai'
import { Example } from '../support/example.js'

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

/** The next `count` bytes. */
async function receive(socket: Socket, count: number): Promise<Buffer> {
  for (;;) {
    const bytes = socket.read(count) as Buffer | null
    if (bytes) return bytes
    if (socket.readableEnded) throw new Error('the connection ended')
    await once(socket, 'readable')
  }
}

/** Sends, ends the sending side, and resolves to all that comes back. */
async function exchange(port: number, data: string | Uint8Array): Promise<Buffer> {
  const socket = await connected(port)
  socket.end(data)
  const parts: Buffer[] = []
  for await (const part of socket) parts.push(part as Buffer)
  return Buffer.concat(parts)
}

describe('examples', () => {
  afterEach(() => Example.killAll())

  it('echo writes back what it gets', async () => {
    const example = new Example('echo')
    const [port] = await example.ports()
    const socket = await connected(port!)
    socket.write('hello')
    expect((await receive(socket, 5)).toString()).to.equal('hello')
    socket.end(' again')
    expect((await receive(socket, 6)).toString()).to.equal(' again')
    await once(socket, 'close')
    const large = Buffer.alloc(1 << 20, 'abcdefg')
    expect((await exchange(port!, large)).equals(large)).to.equal(true)
    expect(await example.stop()).to.equal(0)
    expect(example.output).to.include('echoed 11 bytes (').and.include(`echoed ${large.length} bytes (`)
    expect(example.errors).to.equal('')
  })

  it('orders answers every line in order, and bad ones with an error', async () => {
    const example = new Example('orders')
    const [port] = await example.ports()
    expect(example.output).to.include('with 2 reactors')
    const replies = (await exchange(port!, '{"id":1,"price":5,"count":3}\nnonsense\n{"id":2}\n{"id":3,"price":2,"count":2}\n'))
      .toString()
      .split('\n')
    expect(replies).to.have.length(5)
    expect(JSON.parse(replies[0]!)).to.deep.equal({ id: 1, total: 15 })
    expect(JSON.parse(replies[1]!)).to.have.all.keys('error')
    expect(JSON.parse(replies[2]!)).to.deep.equal({ error: 'an order needs a price and a count' })
    expect(JSON.parse(replies[3]!)).to.deep.equal({ id: 3, total: 4 })
    expect(replies[4]).to.equal('')

    const ids = Array.from({ length: 1000 }, (_, id) => id)
    const many = await exchange(port!, ids.map((id) => `{"id":${id},"price":${id},"count":2}\n`).join(''))
    expect(many.toString()).to.equal(ids.map((id) => `{"id":${id},"total":${id * 2}}\n`).join(''))
    expect(await example.stop()).to.equal(0)
  })

  it('echo-pool answers in order from four workers', async () => {
    const example = new Example('echo-pool')
    const [port] = await example.ports()
    const names = Array.from({ length: 1000 }, (_, i) => `message ${i}`)
    const replies = (await exchange(port!, names.map((name) => `${name}\n`).join(''))).toString().split('\n')
    expect(replies.pop()).to.equal('')
    const parts = replies.map((reply) => /^worker ([0-3]): (.*)$/.exec(reply)!)
    expect(parts.map((part) => part[2])).to.deep.equal(names)
    expect(new Set(parts.map((part) => part[1])).size).to.be.greaterThan(1)
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')
  })

  it('ports frames each port in its own way', async () => {
    const example = new Example('ports')
    const [text, binary, readings, admin] = await example.ports(4)
    expect(example.output).to.match(/^text .*\nbinary .*\nreadings .*\nadmin .*\n$/)
    expect((await exchange(text!, 'hello\nyou\r\n')).toString()).to.equal('HELLO\nYOU\n')
    expect((await exchange(binary!, '\0\x05hello\0\0\0\x02ab')).toString()).to.equal('\0\x05olleh\0\0\0\x02ba')

    const values = Buffer.alloc(24)
    for (const [i, value] of [1.5, 2, -10].entries()) values.writeDoubleBE(value, i * 8)
    const sums = await exchange(readings!, values)
    expect(sums).to.have.length(24)
    expect([0, 8, 16].map((at) => sums.readDoubleBE(at))).to.deep.equal([1.5, 3.5, -6.5])

    const socket = await connected(admin!)
    socket.write('ping\nwhat\n')
    const expected = 'pong\ncommands: ping, uptime, quit\n'
    expect((await receive(socket, expected.length)).toString()).to.equal(expected)
    socket.write('quit\n')
    expect((await receive(socket, 4)).toString()).to.equal('bye\n')
    socket.resume()
    await once(socket, 'end')
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')
  })

  it('standalone-pool prints its results', async () => {
    const example = new Example('standalone-pool')
    expect(await example.exit()).to.equal(0)
    expect(example.errors).to.equal('')
    expect(example.output.trimEnd().split('\n')).to.deep.equal([
      'primes below 100000: 9592',
      'primes below 200000: 17984',
      'primes below 300000: 25997',
      'primes below 400000: 33860',
    ])
  })

  it('standalone-pool says which task failed', async () => {
    const example = new Example('standalone-pool', '10', 'pear', '100')
    expect(await example.exit()).to.equal(1)
    expect(example.output).to.equal('primes below 10: 4\nprimes below 100: 25\n')
    expect(example.errors).to.include("'pear' is no whole number").and.include('[ERR_MR_TASK_FAILED]')
  })

  it('standalone-reactor tells everybody else', async () => {
    const example = new Example('standalone-reactor')
    const [port] = await example.ports()
    const members: Socket[] = []
    for (const number of [1, 2, 3]) {
      const member = await connected(port!)
      const welcome = `welcome, you are one of ${number}\n`
      expect((await receive(member, welcome.length)).toString()).to.equal(welcome)
      members.push(member)
    }
    const [ann, ben, eve] = members as [Socket, Socket, Socket]
    ann.write('hi\n')
    expect((await receive(ben, 3)).toString()).to.equal('hi\n')
    expect((await receive(eve, 3)).toString()).to.equal('hi\n')
    ben.write('ho\n')
    expect((await receive(ann, 3)).toString()).to.equal('ho\n')
    // They are still there when it is asked to stop: it closes them.
    const ends = members.map((member) => once(member.resume(), 'end'))
    expect(await example.stop()).to.equal(0)
    await Promise.all(ends)
    expect(example.errors).to.equal('')
  })
})
