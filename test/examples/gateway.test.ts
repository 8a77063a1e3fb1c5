import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { expect } from 'chai'
import { Client } from '../support/client.js'
import { Example } from '../support/example.js'
import { parsePrometheus, sumOf } from '../support/prometheus.js'

/** As far as the tests use it. */
interface Protocol {
  types: { [name: string]: number }
  message(type: number, body?: Uint8Array | string): Buffer
  numbered(type: number, number: number, bytes: Uint8Array | string): Buffer
  login(device: string, secret: string): Buffer
}

const secret = 'the secret of all devices'
const authorization = 'Bearer the token of the API'

describe('the example gateway', function () {
  this.timeout(120_000)
  let protocol: Protocol
  let example: Example
  let ports: { sensors: number; actuators: number; api: number }
  const clients: Client[] = []

  before(async () => {
    protocol = (await import(new URL('../../../examples/gateway/protocol.js', import.meta.url).href)) as Protocol
  })
  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await Example.killAll()
  })

  async function started(environment: Record<string, string> = {}): Promise<void> {
    Example.environment = { DEVICE_SECRET: secret, API_TOKEN: 'the token of the API', LOGIN_MS: '60000', ...environment }
    example = new Example('gateway')
    const [sensors, actuators, api] = (await example.ports(3)) as [number, number, number]
    ports = { sensors, actuators, api }
  }
  async function stopped(): Promise<void> {
    for (const client of clients.splice(0)) client.destroy()
    expect(await example.stop()).to.equal(0)
    expect(example.errors).to.equal('')
  }
  async function connected(port: number): Promise<Client> {
    const client = await Client.connect(port)
    clients.push(client)
    return client
  }
  async function device(id: string, port = ports.sensors): Promise<Client> {
    const client = await connected(port)
    client.write(protocol.login(id, secret))
    await client.until(({ received }) => received.length >= 3)
    expect(received(client)).to.deep.equal([{ type: protocol.types['welcome'], body: '' }])
    return client
  }
  function received({ received }: Client): { type: number; body: string }[] {
    const messages = []
    for (let at = 0; at + 2 < received.length; at += 2 + received.readUInt16BE(at))
      messages.push({ type: received[at + 2]!, body: received.toString('latin1', at + 3, at + 2 + received.readUInt16BE(at)) })
    return messages
  }
  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    fetch(`http://127.0.0.1:${ports.api}${path}`, { headers: { authorization }, ...init })
  const command = (id: string, body = 'go'): Promise<Response> => ask(`/devices/${id}/command`, { method: 'POST', body })
  const metric = async (name: string, listener: string): Promise<number> =>
    sumOf(parsePrometheus(await (await ask('/metrics')).text()), name, { listener })

  it('reaches devices on every reactor, and counts for each listener', async () => {
    await started({ REACTORS: '2' })
    const ids = Array.from({ length: 12 }, (_, i) => `device-${i}`)
    const all = await Promise.all(ids.map((id, i) => device(id, i % 3 === 0 ? ports.actuators : ports.sensors)))
    for (const [i, one] of all.entries()) {
      const reading = Buffer.alloc(8)
      reading.writeDoubleBE(i)
      one.write(protocol.message(protocol.types['reading']!, reading))
      one.socket.on('data', (data: Buffer) => {
        if (data[2] === protocol.types['command'])
          one.write(
            protocol.numbered(protocol.types['result']!, data.readUInt32BE(3), `${ids[i]} did ${data.toString('utf8', 7)}`),
          )
      })
    }
    for (const id of ids) expect(await (await command(id, 'this')).text()).to.equal(`${id} did this`)
    const { devices } = (await (await ask('/devices')).json()) as { devices: { device: string; reading: number }[] }
    expect(devices.map(({ device }) => device).sort()).to.deep.equal([...ids].sort())
    expect(devices.find(({ device }) => device === 'device-7')!.reading).to.equal(7)
    expect(await metric('gateway_devices', 'sensors')).to.equal(8)
    expect(await metric('gateway_devices', 'actuators')).to.equal(4)
    expect(await metric('gateway_readings', 'sensors')).to.equal(8)
    expect(await metric('gateway_commands', 'actuators')).to.equal(4)

    // New code: the devices stay, and are found again.
    example.signal('SIGHUP')
    await example.until((output) => output.includes('reloaded'))
    for (const id of ids) expect(await (await command(id, 'that')).text()).to.equal(`${id} did that`)
    expect(await metric('gateway_devices', 'sensors')).to.equal(8)
    await stopped()
  })

  it('does not find a device that it has refused and that has not gone yet', async () => {
    await started({ REACTORS: '1' })
    const socket = connect({ port: ports.sensors, host: '127.0.0.1', allowHalfOpen: true })
    socket.write(Buffer.concat([protocol.login('stays', secret), protocol.message(99)]))
    socket.resume()
    await once(socket, 'end')
    const response = await command('stays')
    expect([response.status, await response.json()]).to.deep.equal([404, { error: 'the device is not connected' }])
    socket.destroy()
    await stopped()
  })

  it('closes a peer that does not log in: a silent one, one that drips, one that talks of other things', async () => {
    await started({ LOGIN_MS: '2000', REACTORS: '1' })
    const good = await device('good', ports.actuators)
    const silent = await connected(ports.sensors)
    const dripping = await connected(ports.sensors)
    const drip = setInterval(() => dripping.write('\0'), 20)
    dripping.write(Buffer.from([7, 255]))
    const talking = await connected(ports.actuators)
    talking.write(Buffer.concat(Array.from({ length: 50 }, () => protocol.message(protocol.types['ping']!))))
    await Promise.all([silent.untilClosed(), dripping.untilClosed(), talking.untilClosed()])
    clearInterval(drip)
    expect(received(silent)).to.deep.equal([{ type: protocol.types['refused'], body: 'no login in time' }])
    expect(received(talking)).to.deep.equal([
      { type: protocol.types['refused'], body: 'a login must come first, with the token of the device' },
    ])
    expect(await metric('gateway_refused', 'sensors')).to.equal(2)
    expect(await metric('gateway_refused', 'actuators')).to.equal(1)
    // It came before them, and its time would be over, too.
    expect(good.closed).to.equal(false)
    await stopped()
  })

  it('refuses logins that are none, and messages that are none, and goes on', async () => {
    await started({ REACTORS: '1' })
    const { types, message, login } = protocol
    const longId = Buffer.concat([Buffer.from([200]), Buffer.alloc(200, 'x'), Buffer.alloc(32)])
    const wrong = [
      login('device', 'another secret, which is wrong'),
      message(types['login']!),
      message(types['login']!, Buffer.from([255])),
      message(types['login']!, longId),
      message(types['login']!, Buffer.concat([Buffer.from([3]), Buffer.from('a\nb'), Buffer.alloc(32)])),
      message(types['login']!, Buffer.concat([Buffer.from([9]), Buffer.from('__proto__'), Buffer.alloc(31)])),
      message(0),
      Buffer.from([0, 0]), // not even a type
      Buffer.concat([login('a', 'no'), login('a', secret)]),
    ]
    for (const bytes of wrong) {
      const peer = await connected(ports.sensors)
      peer.write(bytes)
      await peer.untilClosed()
      expect(
        received(peer).map(({ type }) => type),
        bytes.toString('hex'),
      ).to.deep.equal([types['refused']])
    }
    for (const bytes of [
      message(types['reading']!, 'short'),
      message(types['reading']!, Buffer.alloc(8, 255)),
      message(99),
      Buffer.from([0, 0]),
    ]) {
      const peer = await device('device')
      peer.write(Buffer.concat([bytes, bytes, bytes]))
      await peer.untilClosed()
      expect(received(peer).map(({ type }) => type)).to.deep.equal([types['welcome'], types['refused']])
    }
    const large = await connected(ports.sensors)
    large.write(Buffer.from([255, 255, 1]))
    await large.untilClosed()
    // Unexpected results are dropped.
    const honest = await device('honest')
    honest.write(
      Buffer.concat([protocol.numbered(types['result']!, 7, 'x'), message(types['result']!, '1'), message(types['ping']!)]),
    )
    await honest.until((client) => received(client).length === 2)
    expect(received(honest)[1]).to.deep.equal({ type: types['pong'], body: '' })
    for (let i = 0; i < 20; i++) {
      const noisy = await connected(ports.sensors)
      noisy.write(randomBytes(2_000))
      noisy.socket.end()
      await noisy.untilClosed()
    }
    expect(honest.closed).to.equal(false)
    await stopped()
  })

  it('has one connection for each device: the latest, wherever it is', async () => {
    await started({ REACTORS: '2' })
    const all: Client[] = []
    for (let i = 0; i < 12; i++) all.push(await device('twin'))
    const last = all.pop()!
    await Promise.all(all.map((client) => client.untilClosed()))
    expect(last.closed).to.equal(false)
    last.socket.on('data', (data: Buffer) => last.write(protocol.numbered(protocol.types['result']!, data.readUInt32BE(3), 'me')))
    expect(await (await command('twin')).text()).to.equal('me')
    await stopped()
  })

  it('bounds what waits for a device that does not answer, and says when it has gone', async () => {
    await started({ REACTORS: '2', COMMAND_MS: '20000' })
    const mute = await device('mute')
    const waiting = Array.from({ length: 16 }, () => command('mute'))
    await mute.until((client) => received(client).length === 17)
    expect((await command('mute')).status).to.equal(429)
    mute.destroy()
    expect(new Set((await Promise.all(waiting)).map(({ status }) => status))).to.deep.equal(new Set([502]))
    // It may be some time until the gateway has seen that.
    let last = 0
    while (last !== 404) last = (await command('mute')).status
    await stopped()
  })

  it('gives a command up after its time, and refuses requests without a token, a device or a size', async () => {
    await started({ REACTORS: '1', COMMAND_MS: '100' })
    const slow = await device('slow')
    expect((await command('slow')).status).to.equal(504)
    await slow.until((client) => received(client).length === 2)
    // Its result comes too late, and changes nothing.
    slow.write(protocol.numbered(protocol.types['result']!, received(slow)[1]!.body.charCodeAt(3), 'late'))
    expect((await command('slow')).status).to.equal(504)
    expect((await command('nobody')).status).to.equal(404)
    expect((await command('__proto__')).status).to.equal(404)
    expect((await ask('/devices/a%2Fb/command', { method: 'POST', body: 'x' })).status).to.equal(404)
    expect((await command('slow', 'x'.repeat(1_025))).status).to.equal(413)
    for (const headers of [{}, { authorization: 'Bearer' }, { authorization: `${authorization}x` }])
      expect((await ask('/devices', { headers })).status).to.equal(401)
    await stopped()
  })

  it('does not start without secrets', async () => {
    Example.environment = { DEVICE_SECRET: '', API_TOKEN: 'short', REACTORS: '0' }
    example = new Example('gateway')
    expect(await example.exit()).to.equal(2)
    expect(example.errors).to.match(/^REACTORS must be .*\nDEVICE_SECRET must have 16 characters .*\nAPI_TOKEN must have/)
  })
})
