import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import net from 'node:net'
import tls from 'node:tls'
import { attach, Reactor, type ExistingServer } from '@multireactor/reactor'
import { expect } from 'chai'
import { census, expectNothingLeft } from '../support/leaks.js'
import { connectTo, onNet, onReactor, readAll, type Side } from './sides.js'

const page = readFileSync(new URL('../../../docs/existing-servers.md', import.meta.url), 'utf8')
const pem = (name: string): Buffer => readFileSync(new URL(`../../existing/certificates/${name}.pem`, import.meta.url))

type Verdict = 'same' | 'differs' | 'absent'
interface Row {
  verdict: Verdict
  why: string
}

/** The rows of the table for one of Node's classes, by member. Events are those in quotes. */
function tableOf(name: string): Map<string, Row> {
  const rows = new Map<string, Row>()
  for (const line of page.split('\n')) {
    const [of, members, here] = line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim())
    if (!members || !here || !of!.startsWith(`\`${name}\``)) continue
    const verdict = /^(same|differs|absent)/.exec(here)![1] as Verdict
    for (const [, member] of members.matchAll(/`([^`]+)`/g)) rows.set(member!.replace(/\(\)$/, ''), { verdict, why: here })
  }
  return rows
}

/** The members that Node's types declare and its classes have: members by their names, events in quotes. */
function membersOf(file: 'net' | 'tls', name: string, made: { prototype: object }): Set<string> {
  const folder = createRequire(import.meta.url)
    .resolve('@types/node/package.json')
    .replace(/package\.json$/, '')
  const text = readFileSync(`${folder}${file}.d.ts`, 'utf8')
  const from = text.indexOf(`    class ${name} `)
  const body = text.slice(from, text.indexOf('\n    }\n', from))
  const members = new Set([...body.matchAll(/^ {8}(?:readonly )?(\w+)\??[(:<]/gm)].map(([, member]) => member!))
  for (const [, event] of body.matchAll(/ on\(\s*event: "(\w+)"/g)) members.add(`'${event}'`)
  for (const member of Object.getOwnPropertyNames(made.prototype)) if (!member.startsWith('_')) members.add(member)
  // Of every class and every emitter.
  const common = ['constructor', 'addListener', 'emit', 'on', 'once', 'prependListener', 'prependOnceListener', 'read', 'end']
  // Out of date since long ago, and gone from Node.
  for (const member of [...common, 'connections']) members.delete(member)
  return members
}

interface At {
  socket: tls.TLSSocket
  client: net.Socket
  server: net.Server
  side: Side
}
type Probe = (at: At) => unknown

const codeOf = (call: () => unknown): unknown => {
  try {
    return typeof call()
  } catch (error) {
    return (error as { code?: string }).code
  }
}
const returnsItself =
  (name: string, ...args: unknown[]): Probe =>
  ({ socket }) =>
    (socket as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...args) === socket
const large = 'x'.repeat(3 << 20)
/** The server's side of an event that its peer, or the call, brings about. */
const event =
  (name: string, cause: (at: At) => unknown): Probe =>
  async (at) => {
    at.socket.on('error', () => {})
    const told = once(at.socket, name).catch((error: NodeJS.ErrnoException) => [error])
    await cause(at)
    return (await told).map((value: unknown) => (value instanceof Error ? (value as NodeJS.ErrnoException).code : String(value)))
  }
const never =
  (name: string): Probe =>
  async ({ socket, client }) => {
    let told = 0
    socket.on(name, () => told++)
    socket.resume()
    client.end()
    await once(socket, 'close')
    return told
  }

/** Each is asked of a fresh connection, on a port of the server's own and on a reactor. */
const ofSockets: Record<string, Probe> = {
  address: ({ socket, side }) => ({
    ...(socket.address() as object),
    port: (socket.address() as net.AddressInfo).port === side.port,
  }),
  autoSelectFamilyAttemptedAddresses: ({ socket }) => socket.autoSelectFamilyAttemptedAddresses,
  bufferSize: ({ socket }) => [socket.bufferSize, socket.write('text'), socket.bufferSize],
  bytesRead: async ({ socket, client }) => {
    client.write('hello')
    await once(socket, 'readable')
    return socket.bytesRead
  },
  bytesWritten: async ({ socket, client }) => {
    socket.write('ä', 'latin1')
    socket.write('ä')
    socket.write(large)
    socket.write('more')
    const before = socket.bytesWritten
    socket.end()
    await readAll(client)
    return [before, socket.bytesWritten]
  },
  connect: ({ socket }) => typeof socket.connect,
  connecting: ({ socket }) => socket.connecting,
  destroy: event('close', ({ socket }) => socket.destroy()),
  destroyed: ({ socket }) => [socket.destroyed, socket.destroy().destroyed],
  destroySoon: async ({ socket, client }) => {
    socket.write(large)
    socket.destroySoon()
    return (await readAll(client)).length
  },
  localAddress: ({ socket }) => socket.localAddress,
  localFamily: ({ socket }) => socket.localFamily,
  localPort: ({ socket, side }) => socket.localPort === side.port,
  pause: async ({ socket, client }) => {
    let heard = ''
    socket.on('data', (part) => {
      heard += String(part)
    })
    const paused = socket.pause().isPaused()
    client.end('text')
    await once(socket, 'readable')
    const before = heard
    socket.resume()
    await once(socket, 'end')
    return [paused, before, heard]
  },
  pending: ({ socket }) => [socket.pending, socket.destroy().pending],
  readyState: async ({ socket, client }) => {
    const states = [socket.readyState]
    socket.allowHalfOpen = true
    socket.resume()
    client.end()
    await once(socket, 'end')
    states.push(socket.readyState)
    socket.destroy()
    return [...states, socket.readyState]
  },
  ref: returnsItself('ref'),
  unref: returnsItself('unref'),
  remoteAddress: ({ socket }) => socket.remoteAddress,
  remoteFamily: ({ socket }) => socket.remoteFamily,
  remotePort: ({ socket, client }) => socket.remotePort === client.localPort,
  resetAndDestroy: async ({ socket, client }) => {
    const closed = once(socket, 'close')
    if (codeOf(() => socket.resetAndDestroy()) !== 'object') return 'refused'
    return [await readAll(client), await closed]
  },
  resume: returnsItself('resume'),
  setEncoding: async ({ socket, client }) => {
    socket.setEncoding('hex')
    client.write('hi')
    return once(socket, 'data')
  },
  setKeepAlive: returnsItself('setKeepAlive', true, 1000),
  setNoDelay: returnsItself('setNoDelay', true),
  setTimeout: ({ socket }) => ['5', -1, Number.NaN, 5].map((value) => codeOf(() => socket.setTimeout(value as number))),
  timeout: ({ socket }) => [socket.timeout, socket.setTimeout(70_000).timeout],
  write: async ({ socket, client }) => {
    client.end('bye')
    socket.resume()
    socket.on('error', () => {})
    await once(socket, 'end')
    const told = new Promise((resolve) =>
      socket.end(() => socket.write('late', (error) => resolve((error as { code?: string }).code))),
    )
    return told
  },
  "'close'": event('close', ({ client, socket }) => socket.resume() && client.end()),
  "'connect'": never('connect'),
  "'connectionAttempt'": never('connectionAttempt'),
  "'connectionAttemptFailed'": never('connectionAttemptFailed'),
  "'connectionAttemptTimeout'": never('connectionAttemptTimeout'),
  "'data'": event('data', ({ client }) => client.write('text')),
  "'drain'": event('drain', ({ client, socket }) => {
    client.pause()
    while (socket.write(large));
    client.resume()
  }),
  "'end'": event('end', ({ client }) => client.end()),
  "'error'": event('error', ({ socket }) => socket.destroy(Object.assign(new Error('any'), { code: 'ANY' }))),
  "'lookup'": never('lookup'),
  "'ready'": never('ready'),
  "'timeout'": event('timeout', ({ socket }) => socket.setTimeout(20)),
}

const textOf = (name: string, ...args: unknown[]): Probe => {
  return ({ socket }) => {
    const value = (socket as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!(...args)
    if (value instanceof Uint8Array) return `${value.length > 0} bytes`
    const { subject, name: cipher } = (value ?? {}) as { subject?: unknown; name?: string }
    return subject ?? cipher ?? (value === undefined || typeof value === 'object' ? JSON.stringify(value) : value)
  }
}
const ofTls: Record<string, Probe> = {
  alpnProtocol: ({ socket }) => socket.alpnProtocol,
  authorizationError: ({ socket }) => socket.authorizationError,
  authorized: ({ socket }) => socket.authorized,
  disableRenegotiation: textOf('disableRenegotiation'),
  enableTrace: ({ socket }) => typeof socket.enableTrace,
  encrypted: ({ socket }) => socket.encrypted,
  exportKeyingMaterial: textOf('exportKeyingMaterial', 32, 'a label', Buffer.from('context')),
  getCertificate: textOf('getCertificate'),
  getCipher: textOf('getCipher'),
  getEphemeralKeyInfo: textOf('getEphemeralKeyInfo'),
  getFinished: textOf('getFinished'),
  getPeerCertificate: textOf('getPeerCertificate'),
  getPeerFinished: textOf('getPeerFinished'),
  getPeerX509Certificate: textOf('getPeerX509Certificate'),
  getProtocol: textOf('getProtocol'),
  getSession: textOf('getSession'),
  getSharedSigalgs: textOf('getSharedSigalgs'),
  getTLSTicket: textOf('getTLSTicket'),
  getX509Certificate: textOf('getX509Certificate'),
  isSessionReused: textOf('isSessionReused'),
  renegotiate: ({ socket }) => typeof socket.renegotiate,
  servername: ({ socket }) => (socket as unknown as { servername: unknown }).servername,
  setKeyCert: ({ socket }) => typeof (socket as unknown as Record<string, unknown>)['setKeyCert'],
  setMaxSendFragment: textOf('setMaxSendFragment', 4096),
  setServername: ({ socket }) => typeof (socket as unknown as Record<string, unknown>)['setServername'],
  setSession: ({ socket }) => typeof (socket as unknown as Record<string, unknown>)['setSession'],
  "'OCSPResponse'": never('OCSPResponse'),
  "'keylog'": ({ socket }) => (socket as unknown as { _handle?: object })._handle !== undefined,
  "'secureConnect'": never('secureConnect'),
  "'session'": never('session'),
}

const ofServers: Record<string, Probe> = {
  address: ({ server, side }) => ({
    ...(server.address() as object),
    port: (server.address() as net.AddressInfo).port === side.port,
  }),
  close: async ({ server, client, socket }) => {
    const closed = new Promise((resolve) => server.close(resolve))
    const { listening } = server
    socket.resume()
    client.destroy()
    return [listening, await closed, codeOf(() => server.close())]
  },
  getConnections: ({ server }) => new Promise((resolve) => server.getConnections((_error, count) => resolve(count))),
  listen: ({ server }) => codeOf(() => server.listen(0)),
  listening: ({ server }) => server.listening,
  maxConnections: async ({ server, side }) => {
    server.maxConnections = 1
    const dropped = once(server, 'drop') as Promise<[Record<string, unknown>]>
    const second = await connectTo(side)
    const [data] = await dropped
    second.destroy()
    return { ...data, localPort: data['localPort'] === side.port, remotePort: typeof data['remotePort'] }
  },
  ref: ({ server }) => server.ref() === server,
  unref: ({ server }) => server.unref() === server,
  "'close'": ({ server, client, socket }) => {
    const closed = once(server, 'close')
    socket.resume()
    server.close()
    client.destroy()
    return closed
  },
  "'connection'": async ({ server, side }) => {
    const told = once(server, 'connection') as Promise<[net.Socket & { server: unknown }]>
    const second = await connectTo(side)
    const [socket] = await told
    second.destroy()
    return socket.server === server
  },
  "'drop'": ({ server, side }) => ofServers['maxConnections']!({ server, side } as At),
  "'error'": ({ server }) => codeOf(() => server.emit('error', Object.assign(new Error('any'), { code: 'ANY' }))),
  "'listening'": ({ server }) => server.listening,
}

/** Their differences do not show in a connection. */
const unseen = new Set(['ref', 'unref', "'error'"])
/** Only newer Nodes have them; here they are absent, as the page says. */
const newer = new Set(['setTypeOfService', 'getTypeOfService'])

type Made = net.Server & ExistingServer

/** A client, and its connection as the server gets it. */
async function meet(side: Side, server: Made, secure: boolean): Promise<At> {
  const arrived = once(server, secure ? 'secureConnection' : 'connection') as Promise<[tls.TLSSocket]>
  const raw = await connectTo(side)
  const client = secure ? tls.connect({ socket: raw, ca: pem('ca'), servername: 'first.example', ALPNProtocols: ['echo'] }) : raw
  client.on('error', () => {})
  const [socket] = await arrived
  return { socket, client, server, side }
}

/** A server behind a listener with TLS: its connections are streams that know of it. */
async function onSecureReactor(server: Made): Promise<Side> {
  const reactor = new Reactor()
  const { port } = await reactor.listen(
    { port: 0, host: '127.0.0.1', tls: { cert: pem('first'), key: pem('first-key'), ALPNProtocols: ['echo'] } },
    attach(server),
  )
  server.on('connection', (socket) => server.emit('secureConnection', socket))
  return { name: 'tls', port, reasons: [], close: async () => void (await reactor.close({ timeoutMs: 0 })) }
}

const makeTls = () => tls.createServer({ cert: pem('first'), key: pem('first-key'), ALPNProtocols: ['echo'] }) as unknown as Made

async function seen(start: (server: Made) => Promise<Side>, make: () => Made, secure: boolean, probe: Probe): Promise<unknown> {
  const server = make()
  const side = await start(server)
  const at = await meet(side, server, secure)
  try {
    return await probe(at)
  } finally {
    at.client.destroy()
    if (!at.socket.closed) await Promise.all([once(at.socket, 'close').catch(() => {}), at.socket.destroy()])
    await side.close()
  }
}

describe("Node's members", () => {
  let before: ReturnType<typeof census>
  beforeEach(() => {
    before = census()
  })
  afterEach(() => expectNothingLeft(before))

  const classes = [
    {
      of: 'net.Server',
      declared: membersOf('net', 'Server', net.Server),
      probes: ofServers,
      secure: false,
      start: onReactor,
      make: () => net.createServer() as Made,
    },
    {
      of: 'net.Socket',
      declared: membersOf('net', 'Socket', net.Socket),
      probes: ofSockets,
      secure: false,
      start: onReactor,
      make: () => net.createServer() as Made,
    },
    {
      of: 'tls.TLSSocket',
      declared: membersOf('tls', 'TLSSocket', tls.TLSSocket),
      probes: { ...ofSockets, ...ofTls },
      secure: true,
      start: onReactor,
      make: makeTls,
    },
    {
      of: 'SecureDuplex',
      declared: membersOf('tls', 'TLSSocket', tls.TLSSocket),
      probes: { ...ofSockets, ...ofTls },
      secure: true,
      start: onSecureReactor,
      make: () => net.createServer() as Made,
    },
  ]
  for (const { of, declared, probes, secure, start, make } of classes) {
    const table = tableOf(of)
    // The common members of Node's two stream classes have their rows there.
    const common = secure ? tableOf('net.Socket') : new Map<string, Row>()

    it(`${of}: the table has every member`, () => {
      const isKnown = (member: string) => table.has(member) || common.has(member) || newer.has(member)
      expect([...declared].filter((member) => !isKnown(member))).to.deep.equal([])
      expect([...table.keys(), ...common.keys()].filter((member) => !(member in probes))).to.deep.equal([])
    })

    for (const [member, { verdict }] of new Map([...common, ...table])) {
      it(`${of}: ${member} ${verdict === 'same' ? 'is the same' : verdict}`, async () => {
        const probe = probes[member]!
        const expected = await seen(onNet as never, secure ? makeTls : make, secure, probe)
        const found = await seen(start, make, secure, probe).catch((error: Error) => error.message)
        if (verdict === 'same') expect(found).to.deep.equal(expected)
        else if (!unseen.has(member)) expect(found).to.not.deep.equal(expected)
      })
    }
  }
})
