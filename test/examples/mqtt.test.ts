import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import mqtt from 'mqtt'
import { Client } from '../support/client.js'
import { Command } from '../support/command.js'
import { importExample } from '../support/example_module.js'
import { connect, disconnect, MqttPeer, packet, publish, subscribe, type } from '../support/mqtt.js'

const run = promisify(execFile)
const folder = fileURLToPath(new URL('../../../examples/mqtt/', import.meta.url))
const mebibyte = 1 << 20
const reactors = 2

interface Server {
  command: Command
  port: number
}

function start(env: NodeJS.ProcessEnv): Command {
  const given = { PORT: '0', REACTORS: String(reactors), HOST: '127.0.0.1', MQTT_USERS: '', ...env }
  return new Command(process.execPath, [join(folder, 'main.js')], { env: given })
}

async function serve(env: NodeJS.ProcessEnv = {}): Promise<Server> {
  const command = start(env)
  const [, port] = await command.line(/^listening on .*:(\d+) with/)
  return { command, port: Number(port) }
}

async function stop({ command }: Server, said = /^$/g): Promise<void> {
  command.child.kill('SIGTERM')
  const { code, err } = await command.ended
  expect({ code, err: err.replaceAll(said, '') }).to.deep.equal({ code: 0, err: '' })
}

function residentBytes({ command }: Server): number {
  const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${command.pid}/status`, 'utf8'))!
  return Number(kibibytes) * 1024
}

describe('the mqtt example', function () {
  // Its threads load TypeScript, and may have to wait for other tests' threads.
  this.timeout(240_000)
  let server: Server
  let port: number
  let home: (id: string, reactors: number) => number
  let names = 0

  before(async () => {
    home = ((await importExample('mqtt/home.ts')) as { homeOf: typeof home }).homeOf
    server = await serve()
    port = server.port
  })
  after(async () => {
    // Which the tests of stuck subscribers have made.
    await stop(server, /multireactor: warning: \d connections? closed as slow-consumer: .*\n/g)
    await Command.killAll()
  })

  /** A client id that no other test has, at home on that reactor. */
  function idOn(reactor: number): string {
    for (;;) {
      const id = `client-${names++}`
      if (home(id, reactors) === reactor) return id
    }
  }
  const both = [0, 1]
  /** A topic that no other test has. */
  const topic = () => `topic-${names++}`

  async function counts(): Promise<Record<string, number>> {
    const peer = await MqttPeer.connect(port, '')
    await peer.subscribe(['$SYS/reactors/+/counts'])
    await peer.ping()
    const sum: Record<string, number> = {}
    const latest = new Map(peer.publications.map(({ topic: name, payload }) => [name, payload]))
    for (const payload of latest.values()) {
      for (const [name, count] of Object.entries(JSON.parse(payload) as Record<string, number>))
        sum[name] = (sum[name] ?? 0) + count
    }
    await peer.disconnect()
    return sum
  }

  /** Resolves when that count is as large. It is told once a second. */
  async function untilCounted(name: string, least: number): Promise<void> {
    while (((await counts())[name] ?? 0) < least);
  }

  describe('between its reactors', () => {
    it('tells mqtt.js on every reactor what mosquitto_pub says, and later mosquitto_sub what was retained', async () => {
      const rooms = topic()
      const url = `mqtt://127.0.0.1:${port}`
      const subscribers = await Promise.all(
        Array.from({ length: 6 }, (_, i) => mqtt.connectAsync(url, { clientId: idOn(i % reactors), reconnectPeriod: 0 })),
      )
      const heard = subscribers.map(
        (client) => new Promise((resolve) => client.on('message', (name, payload) => resolve(`${name} ${payload.toString()}`))),
      )
      await Promise.all(subscribers.map((client) => client.subscribeAsync(`${rooms}/+`, { qos: 1 })))
      await run('mosquitto_pub', ['-p', String(port), '-h', '127.0.0.1', '-t', `${rooms}/kitchen`, '-m', 'warm', '-q', '1', '-r'])
      expect(new Set(await Promise.all(heard))).to.deep.equal(new Set([`${rooms}/kitchen warm`]))
      for (const reactor of both) {
        const words = ['-h', '127.0.0.1', '-p', String(port), '-i', idOn(reactor), '-t', `${rooms}/#`, '-v', '-C', '1']
        expect((await run('mosquitto_sub', words)).stdout).to.equal(`${rooms}/kitchen warm\n`)
      }
      await Promise.all(subscribers.map((client) => client.endAsync()))
    })

    it('keeps 100 of 100 QoS 1 messages for sessions without a connection, in their order, once', async () => {
      const name = topic()
      const ids = [...both, ...both, ...both].map(idOn)
      for (const id of ids) {
        const peer = await MqttPeer.connect(port, id, { clean: false })
        expect(await peer.subscribe([name], 1)).to.deep.equal([1])
        await peer.disconnect()
      }
      const publisher = await MqttPeer.connect(port, idOn(0))
      const expected = Array.from({ length: 100 }, (_, i) => `message ${i}`)
      publisher.write(...expected.map((payload, i) => publish(name, payload, { qos: 1, id: i + 1 })))
      await publisher.next(type.puback, 100)
      for (const id of ids) {
        const peer = await MqttPeer.connect(port, id, { clean: false })
        expect(peer.connack).to.deep.equal({ present: true, code: 0 })
        await peer.receive(100)
        await peer.ping()
        expect(peer.payloads).to.deep.equal(expected)
        // Nothing is left.
        await peer.disconnect()
        const again = await MqttPeer.connect(port, id, { clean: false })
        await again.ping()
        expect(again.payloads).to.deep.equal([])
        await again.disconnect()
        await (await MqttPeer.connect(port, id)).disconnect()
      }
      await publisher.disconnect()
    })

    it('loses nothing of a publisher that mixes retained and other messages, in one write', async () => {
      const name = topic()
      const subscribers = await Promise.all(both.map((reactor) => MqttPeer.connect(port, idOn(reactor))))
      for (const peer of subscribers) await peer.subscribe([`${name}/#`], 2)
      const publisher = await MqttPeer.connect(port, idOn(0))
      const count = 40
      publisher.write(
        ...Array.from({ length: count }, (_, i) =>
          publish(`${name}/${i % 5}`, `m${i}`, { qos: i % 3, id: i + 1, retain: i % 2 === 0 }),
        ),
        // Later packets do not overtake it.
        disconnect,
      )
      await publisher.client.untilClosed()
      for (const peer of subscribers) {
        await peer.receive(count)
        await peer.ping()
        expect(new Set(peer.payloads)).to.deep.equal(new Set(Array.from({ length: count }, (_, i) => `m${i}`)))
        expect(peer.payloads.length).to.equal(count)
        await peer.disconnect()
      }
    })

    it('keeps the order of a publisher, for subscribers on every reactor', async () => {
      const name = topic()
      const subscribers = await Promise.all(both.map((reactor) => MqttPeer.connect(port, idOn(reactor))))
      for (const peer of subscribers) await peer.subscribe([name], 1)
      const publisher = await MqttPeer.connect(port, idOn(1))
      const expected = Array.from({ length: 2_000 }, (_, i) => String(i))
      publisher.write(...expected.map((payload, i) => publish(name, payload, { qos: 1, id: i + 1 })))
      for (const peer of subscribers) {
        expect(await peer.receive(expected.length)).to.deep.equal(expected)
        await peer.disconnect()
      }
      await publisher.disconnect()
    })

    it('does what a client says in its order: one that publishes and then subscribes does not hear itself', async () => {
      for (const reactor of both) {
        const name = topic()
        const peer = await MqttPeer.connect(port, idOn(reactor))
        peer.write(publish(name, 'before', { qos: 1 }), subscribe([name]), publish(name, 'behind', { qos: 1 }), packet(0xc0))
        await peer.next(type.pingresp)
        expect(await peer.receive(1)).to.deep.equal(['behind'])
        await peer.disconnect()
      }
    })

    it('keeps the later one of two retained messages, whichever comes first', async () => {
      const { Retained } = (await importExample('mqtt/retained.ts')) as {
        Retained: new () => { store(message: object): void; all(): Iterable<{ payload: Buffer }> }
      }
      const message = (payload: string, madeAt: bigint) => ({
        topic: 't',
        payload: Buffer.from(payload),
        qos: 0,
        retain: true,
        madeAt,
      })
      const now = process.hrtime.bigint()
      const orders = [
        [message('first', now), message('second', now + 1n)],
        [message('first', now), message('', now + 1n), message('second', now + 2n)],
        [message('first', now), message('', now + 1n)],
      ]
      for (const order of orders) {
        const [forth, back] = [new Retained(), new Retained()]
        for (const one of order) forth!.store(one)
        for (const one of [...order].reverse()) back!.store(one)
        const left = (of: typeof forth) => [...of!.all()].map(({ payload }) => payload.toString())
        expect(left(forth)).to.deep.equal(order.at(-1)!.payload.length === 0 ? [] : ['second'])
        expect(left(back)).to.deep.equal(left(forth))
      }
    })

    it('remembers as much of topics that were cleared as it may, and no message of those', async () => {
      const { Retained } = (await importExample('mqtt/retained.ts')) as {
        Retained: new () => { store(message: object): void; all(): Iterable<unknown>; clearedBytes: number }
      }
      const retained = new Retained()
      const now = process.hrtime.bigint()
      // Their names have 60 MB.
      const clear = (i: number, at: bigint) =>
        retained.store({ topic: `${i}${'x'.repeat(60_000)}`, payload: Buffer.alloc(0), qos: 0, retain: true, madeAt: at })
      for (let i = 0; i < 1_000; i++) clear(i, now + BigInt(i))
      expect(retained.clearedBytes).to.be.within(7 << 20, 8 << 20)
      // Nothing is counted twice, nor for ever.
      for (let i = 0; i < 1_000; i++) clear(1, now + BigInt(1_000 + i))
      expect(retained.clearedBytes).to.be.within(7 << 20, 8 << 20)
      retained.store({ topic: `1${'x'.repeat(60_000)}`, payload: Buffer.from('m'), qos: 0, retain: true, madeAt: now + 5_000n })
      expect([...retained.all()]).to.have.length(1)
    })

    it('agrees on the retained message of a topic that clients of two reactors set at the same time', async () => {
      const name = topic()
      const publishers = await Promise.all(both.map((reactor) => MqttPeer.connect(port, idOn(reactor))))
      for (let round = 0; round < 50; round++) {
        await Promise.all(publishers.map((peer, i) => peer.publish(`${name}/${round}`, `of ${i}`, { retain: true })))
      }
      const seen = await Promise.all(
        both.map(async (reactor) => {
          const peer = await MqttPeer.connect(port, idOn(reactor))
          await peer.subscribe([`${name}/#`])
          await peer.receive(50)
          await peer.disconnect()
          expect(peer.publications.every(({ retain }) => retain)).to.equal(true)
          return peer.publications.map(({ topic: of, payload }) => `${of} ${payload}`).sort()
        }),
      )
      expect(seen[0]).to.deep.equal(seen[1])
      // Cleared for all.
      for (let round = 0; round < 50; round++) await publishers[round % 2]!.publish(`${name}/${round}`, '', { retain: true })
      for (const reactor of both) {
        const peer = await MqttPeer.connect(port, idOn(reactor))
        await peer.subscribe([`${name}/#`])
        await peer.ping()
        expect(peer.publications).to.deep.equal([])
        await peer.disconnect()
      }
      for (const peer of publishers) await peer.disconnect()
    })

    it('publishes the will of a client that was cut off, and not of one that has said goodbye, on every reactor', async () => {
      const name = topic()
      const subscribers = await Promise.all(both.map((reactor) => MqttPeer.connect(port, idOn(reactor))))
      for (const peer of subscribers) await peer.subscribe([name], 1)
      for (const reactor of both) {
        const will = { topic: name, payload: `lost on ${reactor}`, qos: 1, retain: true }
        const polite = await MqttPeer.connect(port, idOn(reactor), { will: { ...will, payload: 'never' } })
        await polite.disconnect()
        const lost = await MqttPeer.connect(port, idOn(reactor), { will })
        await lost.reset()
        for (const peer of subscribers) await peer.receive(reactor + 1)
      }
      for (const peer of subscribers) {
        expect(peer.payloads).to.deep.equal(['lost on 0', 'lost on 1'])
        await peer.disconnect()
      }
      const late = await MqttPeer.connect(port, idOn(0))
      await late.subscribe([name])
      expect(await late.receive(1)).to.deep.equal(['lost on 1'])
      await late.disconnect()
    })

    it('delivers QoS 2 once, although the publisher was cut off and sends it again', async () => {
      const name = topic()
      const subscribers = await Promise.all(both.map((reactor) => MqttPeer.connect(port, idOn(reactor))))
      for (const peer of subscribers) await peer.subscribe([name], 2)
      const id = idOn(0)
      const first = await MqttPeer.connect(port, id, { clean: false })
      first.acknowledges = false
      first.write(publish(name, 'once', { qos: 2, id: 7 }), publish(name, 'once', { qos: 2, id: 7, dup: true }))
      await first.next(type.pubrec, 2)
      await first.reset()
      const second = await MqttPeer.connect(port, id, { clean: false })
      second.write(publish(name, 'once', { qos: 2, id: 7, dup: true }))
      await second.next(type.pubcomp)
      second.write(publish(name, 'another', { qos: 2, id: 7 }))
      await second.next(type.pubcomp, 2)
      for (const peer of subscribers) {
        await peer.receive(2)
        await peer.ping()
        expect(peer.payloads).to.deep.equal(['once', 'another'])
        await peer.disconnect()
      }
      await second.disconnect()
    })
  })

  describe('says no in the words of the protocol', () => {
    it('to $share and other filters that it cannot serve, with 0x80 in SUBACK', async () => {
      const id = idOn(1)
      const name = topic()
      const peer = await MqttPeer.connect(port, id, { clean: false })
      const filters = [`$share/group/${name}`, `${name}/+`, '$queue/a', '$SYS/#', '$SYS/reactors/+/counts']
      expect(await peer.subscribe(filters, 1)).to.deep.equal([0x80, 1, 0x80, 0x80, 1])
      await peer.disconnect()
      // Nor when the session comes back.
      const publisher = await MqttPeer.connect(port, idOn(0))
      await publisher.publish(`$share/group/${name}`, 'refused')
      await publisher.publish(`${name}/a`, 'granted')
      const again = await MqttPeer.connect(port, id, { clean: false })
      expect(await again.receive(1)).to.deep.equal(['granted'])
      await publisher.publish(`${name}/b`, 'later')
      expect(await again.receive(2)).to.deep.equal(['granted', 'later'])
      await Promise.all([publisher.disconnect(), again.disconnect()])
      await (await MqttPeer.connect(port, id)).disconnect()
    })

    it('to more filters than a client may have, and goes on', async () => {
      const peer = await MqttPeer.connect(port, idOn(0))
      const granted = await peer.subscribe(Array.from({ length: 1_000 }, (_, i) => `${'+/'.repeat(i % 20)}f${i}/#`))
      expect(granted.filter((code) => code === 0).length).to.equal(100)
      expect(granted.filter((code) => code === 0x80).length).to.equal(900)
      // In bytes, too.
      const long = await MqttPeer.connect(port, idOn(0))
      expect(await long.subscribe(['a', 'b', 'c'].map((letter) => letter.repeat(8_000)))).to.deep.equal([0, 0, 0x80])
      peer.write(packet(0xa2, 1, 'f0/#'))
      await peer.next(type.unsuback)
      expect(await peer.subscribe(['again'])).to.deep.equal([0])
      await Promise.all([peer.disconnect(), long.disconnect()])
    })

    it('to a client id of 64 KiB, to none with a session, and to other versions', async () => {
      for (const [bytes, code] of [
        [connect('x'.repeat(0xffff)), 2],
        [connect('x'.repeat(257)), 2],
        [connect('', { clean: false }), 2],
        [connect('a', { level: 5 }), 1],
        [connect('a', { level: 6 }), 1],
      ] as const) {
        const peer = await MqttPeer.open(port)
        peer.write(bytes)
        await peer.client.untilClosed()
        expect(peer.connack).to.deep.equal({ present: false, code })
        expect(peer.packets.length).to.equal(1)
      }
      const longest = await MqttPeer.connect(port, 'y'.repeat(256))
      await longest.ping()
      await longest.disconnect()
    })

    it('to a will that is too large, with 3 in CONNACK, and to one whose topic is a filter, by closing', async () => {
      const large = await MqttPeer.open(port)
      large.write(connect(idOn(0), { will: { topic: 't', payload: 'x'.repeat(17 << 10) } }))
      await large.client.untilClosed()
      expect(large.connack).to.deep.equal({ present: false, code: 3 })
      const filter = await MqttPeer.open(port)
      filter.write(connect(idOn(0), { will: { topic: 't/#', payload: 'x' } }))
      await filter.client.untilClosed()
      expect(filter.packets).to.deep.equal([])
    })
  })

  describe('beside hostile peers', () => {
    it('lets a client take over the id of another one, on whatever reactor they were accepted', async () => {
      const name = topic()
      const id = idOn(1)
      let before: MqttPeer | undefined
      for (let i = 0; i < 20; i++) {
        const peer = await MqttPeer.connect(port, id)
        expect(peer.connack!.code).to.equal(0)
        await before?.client.untilClosed()
        await peer.subscribe([name])
        before = peer
      }
      const publisher = await MqttPeer.connect(port, idOn(0))
      await publisher.publish(name, 'to the last one')
      expect(await before!.receive(1)).to.deep.equal(['to the last one'])
      await Promise.all([publisher.disconnect(), before!.disconnect()])
    })

    it('reads a CONNECT in pieces, and what came in one piece with it', async () => {
      const name = topic()
      for (const reactor of both) {
        const peer = await MqttPeer.open(port)
        for (const byte of connect(idOn(reactor), { will: { topic: 'w', payload: 'gone' } })) {
          await new Promise<void>((resolve) => peer.client.socket.write(Uint8Array.of(byte), () => resolve()))
        }
        await peer.next(type.connack)
        await peer.disconnect()
        const whole = await MqttPeer.open(port)
        const large = 'x'.repeat(300 << 10)
        whole.write(
          connect(idOn(reactor)),
          subscribe([`${name}/${reactor}`], 1),
          publish(`${name}/${reactor}`, large, { qos: 1 }),
          packet(0xc0),
        )
        await whole.next(type.pingresp)
        expect((await whole.receive(1))[0]!.length).to.equal(large.length)
        await whole.disconnect()
      }
    })

    it('closes what is too large, comes twice, or is not MQTT', async () => {
      for (const bytes of [
        // A length of 200 MiB; the first byte suffices.
        Buffer.from([0x10, 0x80, 0x80, 0x80, 0x64]),
        Buffer.from([0x10, 0x80, 0x80, 0x10]),
        Buffer.from('GET / HTTP/1.1\r\n\r\n'),
        publish('before', 'connect'),
        packet(0x10, 'MQTT', Uint8Array.of(4, 2, 0, 0), Buffer.from([0, 9, 0x61])),
        packet(0x10, 'MQTT', Uint8Array.of(4, 2, 0, 0), Buffer.from([0, 2, 0xc3, 0x28])),
      ]) {
        const client = await Client.connect(port)
        client.write(bytes)
        await client.untilClosed()
        expect(client.received.length).to.equal(0)
      }
      for (const bytes of [
        connect(idOn(0)),
        Buffer.from([0x30, 0x80, 0x80, 0x80, 0x01]),
        subscribe(Array.from({ length: 14_000 }, (_, i) => `${i}`)),
        publish('with/+/wildcard', 'x'),
        publish('$SYS/reactors/0/counts', 'x'),
        subscribe(['a/'.repeat(200)]),
      ]) {
        const peer = await MqttPeer.connect(port, idOn(1))
        peer.write(bytes)
        await peer.client.untilClosed()
        expect(peer.packets.length).to.equal(1)
      }
    })

    it('acknowledges and delivers what comes in one piece with a FIN, and then the will', async () => {
      const name = topic()
      const subscriber = await MqttPeer.connect(port, idOn(0))
      await subscriber.subscribe([name])
      for (const reactor of both) {
        const peer = new MqttPeer(await Client.connect(port, { allowHalfOpen: true }))
        peer.write(connect(idOn(reactor), { will: { topic: name, payload: 'will' } }))
        await peer.next(type.connack)
        peer.client.socket.end(publish(name, 'last words', { qos: 1 }))
        await peer.client.untilClosed()
        expect(peer.count(type.puback)).to.equal(1)
        await subscriber.receive(2 * (reactor + 1))
      }
      expect(subscriber.payloads).to.deep.equal(['last words', 'will', 'last words', 'will'])
      await subscriber.disconnect()
    })

    it('sends everything once more that a subscriber had not acknowledged when it was killed', async () => {
      const name = topic()
      const id = idOn(0)
      const words = ['-h', '127.0.0.1', '-p', String(port), '-i', id, '-c', '-q', '1', '-t', name]
      const start = () => {
        const child = spawn('mosquitto_sub', words, { stdio: ['ignore', 'pipe', 'inherit'] })
        return { child, lines: createInterface({ input: child.stdout }) }
      }
      const first = await MqttPeer.connect(port, id, { clean: false })
      await first.subscribe([name], 1)
      await first.disconnect()
      const count = 3_000
      const got = new Set<string>()
      const killed = start()
      const publisher = await MqttPeer.connect(port, idOn(1))
      publisher.write(...Array.from({ length: count }, (_, i) => publish(name, String(i), { qos: 1, id: i + 1 })))
      await new Promise<void>((resolve) => {
        killed.lines.on('line', (text) => {
          got.add(text)
          if (got.size === 500) {
            killed.child.kill('SIGKILL')
            resolve()
          }
        })
      })
      await Promise.all([once(killed.child, 'close'), publisher.next(type.puback, count)])
      const next = start()
      await new Promise<void>((resolve) => {
        next.lines.on('line', (text) => {
          got.add(text)
          if (got.size === count) resolve()
        })
      })
      await end(next.child)
      expect(got.size).to.equal(count)
      await publisher.disconnect()
      await (await MqttPeer.connect(port, id)).disconnect()
    })
  })

  describe('a subscriber that never reads', () => {
    for (const qos of [0, 1]) {
      it(`costs at most 64 MiB while a publisher sends 100 MiB with QoS ${qos}`, async () => {
        const name = topic()
        const before = await counts()
        const stuck = await Promise.all(both.map((reactor) => MqttPeer.connect(port, idOn(reactor))))
        for (const peer of stuck) {
          await peer.subscribe([name], qos)
          peer.client.socket.pause()
        }
        const publisher = await MqttPeer.connect(port, idOn(0))
        const witness = await MqttPeer.connect(port, idOn(1))
        const payload = Buffer.alloc(1 << 10, 'x')
        const block = 256
        const resident = residentBytes(server)
        let most = resident
        for (let sent = 0; sent < 100 * mebibyte; sent += block * payload.length) {
          publisher.write(...Array.from({ length: block }, (_, i) => publish(name, payload, { qos, id: i + 1 })))
          await publisher.ping()
          most = Math.max(most, residentBytes(server))
        }
        console.log(`    +${Math.round((most - resident) / mebibyte)} MiB`)
        expect((most - resident) / mebibyte).to.be.at.most(64)
        await witness.ping()
        if (qos === 0) {
          await untilCounted('droppedForSlow', (before['droppedForSlow'] ?? 0) + 1)
        } else {
          await untilCounted('closedAsSlow', (before['closedAsSlow'] ?? 0) + 2)
          await server.command.complaint(/closed as slow-consumer/)
        }
        for (const peer of stuck) await peer.reset()
        await Promise.all([publisher.disconnect(), witness.disconnect()])
      })
    }

    it('sends what comes during a replay behind it', async () => {
      const name = topic()
      const id = idOn(1)
      const first = await MqttPeer.connect(port, id, { clean: false })
      await first.subscribe([name], 1)
      await first.disconnect()
      const publisher = await MqttPeer.connect(port, idOn(0))
      const padding = 'x'.repeat(16 << 10)
      const send = async (from: number, to: number) => {
        const before = publisher.count(type.puback)
        for (let i = from; i < to; i++) publisher.write(publish(name, `${i} ${padding}`, { qos: 1, id: i + 1 }))
        await publisher.next(type.puback, before + to - from)
      }
      await send(0, 150)
      const back = await MqttPeer.connect(port, id, { clean: false })
      // Its CONNACK has come, and the waiting messages come now.
      back.client.socket.pause()
      await send(150, 200)
      back.client.socket.resume()
      const numbers = (await back.receive(200)).map((payload) => Number(payload.split(' ')[0]))
      expect(numbers).to.deep.equal(Array.from({ length: 200 }, (_, i) => i))
      await Promise.all([publisher.disconnect(), back.disconnect()])
      await (await MqttPeer.connect(port, id)).disconnect()
    })

    it('has a session of 4 MiB at most, which it gets in order when it comes back and reads', async () => {
      const name = topic()
      const id = idOn(1)
      const before = await counts()
      const first = await MqttPeer.connect(port, id, { clean: false })
      await first.subscribe([name], 1)
      await first.disconnect()
      const publisher = await MqttPeer.connect(port, idOn(0))
      const count = 1_000
      const padding = 'x'.repeat(8 << 10)
      publisher.write(...Array.from({ length: count }, (_, i) => publish(name, `${i} ${padding}`, { qos: 1, id: i + 1 })))
      await publisher.next(type.puback, count)
      const kept = Math.floor((4 * mebibyte) / (padding.length + 512 + name.length + 5))
      await untilCounted('droppedForFullSession', (before['droppedForFullSession'] ?? 0) + count - kept - 5)
      const back = await MqttPeer.connect(port, id, { clean: false })
      await back.receive(kept)
      await publisher.publish(name, 'afterwards')
      await back.client.until(() => back.payloads.at(-1) === 'afterwards')
      const numbers = back.payloads.slice(0, -1).map((payload) => Number(payload.split(' ')[0]))
      expect(numbers).to.deep.equal(Array.from({ length: numbers.length }, (_, i) => i))
      expect(numbers.length).to.be.closeTo(kept, 5)
      await Promise.all([publisher.disconnect(), back.disconnect()])
      await (await MqttPeer.connect(port, id)).disconnect()
    })
  })
})

async function end(child: ChildProcess): Promise<void> {
  const closed = once(child, 'close')
  child.kill('SIGTERM')
  await closed
}

describe('the mqtt example, started anew', function () {
  this.timeout(240_000)
  afterEach(() => Command.killAll())

  it('hands sessions, messages that wait and retained ones to the next threads at a reload', async () => {
    const server = await serve()
    const { port } = server
    const ids = Array.from({ length: 8 }, (_, i) => `device-${i}`)
    for (const id of ids) {
      const peer = await MqttPeer.connect(port, id, { clean: false })
      await peer.subscribe(['news'], 1)
      await peer.disconnect()
    }
    const publisher = await MqttPeer.connect(port, 'publisher')
    await publisher.publish('kept', 'retained', { retain: true })
    for (let i = 0; i < 10; i++) await publisher.publish('news', `before ${i}`)
    const online = await MqttPeer.connect(port, ids[0]!, { clean: false })
    await online.receive(10)
    server.command.child.kill('SIGHUP')
    await server.command.line(/^reloaded$/)
    // Connections end with their broker, in order.
    await Promise.all([publisher.client.untilClosed(), online.client.untilClosed()])
    const next = await MqttPeer.connect(port, 'publisher')
    await next.publish('news', 'behind')
    for (const [i, id] of ids.entries()) {
      const peer = await MqttPeer.connect(port, id, { clean: false })
      expect(peer.connack).to.deep.equal({ present: true, code: 0 })
      const expected = [...(i === 0 ? [] : Array.from({ length: 10 }, (_, n) => `before ${n}`)), 'behind']
      expect(await peer.receive(expected.length)).to.deep.equal(expected)
      await peer.subscribe(['kept'])
      await peer.receive(expected.length + 1)
      expect(peer.publications.at(-1)).to.deep.include({ topic: 'kept', payload: 'retained', retain: true })
      await peer.disconnect()
    }
    await next.disconnect()
    await stop(server)
  })

  it('has all retained messages, and no session of it, on a reactor whose thread has died', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'multireactor-mqtt-'))
    try {
      const { homeOf } = (await importExample('mqtt/home.ts')) as { homeOf: (id: string, count: number) => number }
      const [zero, one] = [0, 1].map((reactor) => ['a', 'b', 'c', 'd', 'e'].find((id) => homeOf(id, reactors) === reactor)!)
      const file = join(scratch, 'mortal.mts')
      writeFileSync(
        file,
        `import app from ${JSON.stringify(join(folder, 'app.ts'))}
         export default { ...app, message: (conn, packet) => packet.includes('die') ? process.exit(1) : app.message(conn, packet) }`,
      )
      const command = Command.serve(file, '--port', '0', '--host', '127.0.0.1', '--reactors', String(reactors))
      const [, text] = await command.line(/listening on .*:(\d+) with/)
      const port = Number(text)
      const keeper = await MqttPeer.connect(port, one!)
      await keeper.publish('kept', 'retained', { retain: true })
      const mortal = await MqttPeer.connect(port, zero!, { clean: false })
      await mortal.subscribe(['kept'], 1)
      mortal.write(publish('any', 'die'))
      await mortal.client.untilClosed()
      const back = await MqttPeer.connect(port, zero!, { clean: false })
      expect(back.connack).to.deep.equal({ present: false, code: 0 })
      await back.subscribe(['kept'], 1)
      expect(await back.receive(1)).to.deep.equal(['retained'])
      await keeper.publish('kept', 'goes on')
      expect(await back.receive(2)).to.deep.equal(['retained', 'goes on'])
      await Promise.all([keeper.disconnect(), back.disconnect()])
      command.child.kill('SIGTERM')
      expect((await command.ended).code).to.equal(0)
    } finally {
      rmSync(scratch, { recursive: true })
    }
  })

  it('listens on loopback by default, and does not start where others can reach it, unless it has users', async () => {
    const command = start({ HOST: undefined })
    await command.line(/^listening on 127\.0\.0\.1:/)
    command.child.kill('SIGTERM')
    expect((await command.ended).code).to.equal(0)
    const { code, err } = await start({ HOST: '0.0.0.0' }).ended
    expect(code).to.equal(1)
    expect(err).to.include('set MQTT_USERS')
  })

  it('lets users in by their tokens, each with its own client ids', async () => {
    const scratch = mkdtempSync(join(tmpdir(), 'multireactor-mqtt-'))
    try {
      const file = join(scratch, 'users.txt')
      const hash = (token: string) => createHash('sha256').update(token).digest('hex')
      writeFileSync(file, `ann:${hash('token of ann')}\nben:${hash('token of ben')}\n`)
      const server = await serve({ MQTT_USERS: file, HOST: '0.0.0.0' })
      const { port } = server
      const ann = { user: 'ann', token: 'token of ann' }
      const code = async (id: string, options: object) => {
        const peer = await MqttPeer.connect(port, id, options)
        if (peer.connack!.code !== 0) await peer.client.untilClosed()
        else await peer.disconnect()
        return peer.connack!.code
      }
      expect(await code('a', {})).to.equal(4)
      expect(await code('a', { user: 'ann', token: 'token of ben' })).to.equal(4)
      expect(await code('a', { user: 'carl', token: '' })).to.equal(4)
      expect(await code('a', ann)).to.equal(0)
      // The place of a connection, and the session of one that has left.
      const connected = await MqttPeer.connect(port, 'hers', ann)
      expect(await code('hers', { user: 'ben', token: 'token of ben' })).to.equal(5)
      await connected.ping()
      await connected.disconnect()
      expect(await code('session', { ...ann, clean: false })).to.equal(0)
      expect(await code('session', { user: 'ben', token: 'token of ben', clean: false })).to.equal(5)
      expect(await code('session', { user: 'ben', token: 'token of ben' })).to.equal(5)
      expect(await code('session', ann)).to.equal(0)
      const line = await run(process.execPath, [join(folder, 'new_user.js'), 'dan'])
      expect(line.stdout).to.match(/^dan:[0-9a-f]{64}\n$/)
      await stop(server)
    } finally {
      rmSync(scratch, { recursive: true })
    }
  })
})
