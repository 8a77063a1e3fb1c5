import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer as createTlsServer } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { delimiter, fixed, lengthPrefixed, lines } from '@multireactor/core'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'

const root = new URL('../../../', import.meta.url)
const bin = fileURLToPath(new URL('packages/multireactor/bin/multireactor.js', root))
const pem = (name: string) => fileURLToPath(new URL(`test/existing/certificates/${name}.pem`, root))

interface Ended {
  code: number | null
  out: string
  err: string
}

/** Without input stdin is at its end. */
async function sending(args: readonly string[], input = ''): Promise<Ended> {
  const child = spawn(process.execPath, [bin, 'send', ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  const ended = { out: '', err: '' }
  child.stdout.setEncoding('latin1').on('data', (text: string) => (ended.out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (ended.err += text))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [code] = await once(child, 'close')
  return { code: code as number | null, ...ended }
}

describe('multireactor send', () => {
  let reactor: Reactor | undefined
  let server: NetServer | undefined
  const sockets = new Set<Socket>()
  afterEach(async () => {
    await reactor?.close()
    reactor = undefined
    for (const socket of sockets) socket.destroy()
    sockets.clear()
    server?.close()
    server = undefined
  })

  /** A plain server, by its handler of connections. */
  const serving = async (on: (socket: Socket) => void): Promise<string> => {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      on(socket)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  const framings = [
    { what: 'lines', args: [], framing: lines(), messages: ['one', ''], replies: 'one\n\n' },
    { what: 'lines, said', args: ['--lines'], framing: lines(), messages: ['one'], replies: 'one\n' },
    { what: 'frames', args: ['--frames'], framing: lengthPrefixed(), messages: ['one', '', 'three'], replies: 'one\n\nthree\n' },
    ...(['u8', 'u16be', 'u16le', 'u32le', 'u64be', 'varint'] as const).map((type) => ({
      what: `frames with ${type}`,
      args: ['--length', type],
      framing: lengthPrefixed({ type }),
      messages: ['x'.repeat(200), 'two'],
      replies: `${'x'.repeat(200)}\ntwo\n`,
    })),
    {
      what: 'a delimiter',
      args: ['--delimiter', '\\0\\x1f'],
      framing: delimiter('\0\x1f'),
      messages: ['one', 'two'],
      replies: 'one\ntwo\n',
    },
    { what: 'fixed frames', args: ['--fixed', '3'], framing: fixed(3), messages: ['one', 'two'], replies: 'one\ntwo\n' },
    {
      what: 'frames in hex',
      args: ['--frames', '--hex'],
      framing: lengthPrefixed(),
      messages: ['00 ff', 'AB'],
      replies: '00ff\nab\n',
    },
  ]
  for (const { what, args, framing, messages, replies } of framings) {
    it(`sends and prints ${what}, as the framings of an app cut them`, async () => {
      reactor = new Reactor()
      const wire = (frame: Buffer): Buffer => {
        if (args[0] === '--delimiter') return Buffer.concat([frame, Buffer.from('\0\x1f')])
        const type = args.includes('--frames') ? 'u32be' : args[0] === '--length' ? args[1]! : ''
        if (type === '') return args[0] === '--fixed' ? frame : Buffer.concat([frame, Buffer.from('\n')])
        const head = Buffer.alloc(10)
        const size = { u8: 1, u16be: 2, u16le: 2, u32be: 4, u32le: 4, u64be: 8 }[type]
        if (size === undefined)
          return Buffer.concat([
            frame.length > 127 ? Buffer.from([(frame.length % 128) | 128, frame.length >> 7]) : Buffer.from([frame.length]),
            frame,
          ])
        if (type.endsWith('le')) head.writeUIntLE(frame.length, 0, size)
        else head.writeUIntBE(frame.length, Math.max(0, size - 4), Math.min(4, size))
        return Buffer.concat([head.subarray(0, size), frame])
      }
      const { port } = await reactor.listen(
        { port: 0, host: '127.0.0.1' },
        {
          framing,
          message: (conn, frame) => {
            // In pieces, to be put together.
            for (const byte of wire(frame)) conn.write(Buffer.from([byte]))
          },
        },
      )
      expect(await sending([...args, `127.0.0.1:${port}`, ...messages])).to.deep.equal({ code: 0, out: replies, err: '' })
    })
  }

  it('takes messages from stdin: a line each, the last one without its newline', async () => {
    const at = await serving((socket) => socket.pipe(socket))
    expect(await sending([at], 'one\ntwo\nthree')).to.deep.equal({ code: 0, out: 'one\ntwo\nthree\n', err: '' })
    expect(await sending([at, '--hex', '--frames'], '00\nff01\n')).to.deep.equal({ code: 0, out: '00\nff01\n', err: '' })
    const many = Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join('')
    expect(await sending([at], many)).to.deep.equal({ code: 0, out: many, err: '' })
  })

  it('sends raw bytes, ends, and prints all until the server ends', async () => {
    const at = await serving((socket) => {
      let got = ''
      socket.on('data', (chunk) => (got += chunk.toString('latin1')))
      socket.on('end', () => socket.end(`[${got}]`, 'latin1'))
    })
    expect(await sending(['--raw', at], 'a\nb')).to.deep.equal({ code: 0, out: '[a\nb]', err: '' })
    expect(await sending([at, '--hex', '00 ff'])).to.deep.equal({ code: 0, out: '5b00ff5d\n', err: '' })
  })

  it('follows a server until it ends, and waits for no reply with --count 0', async () => {
    const greeting = await serving((socket) => socket.end('one\ntwo'))
    expect(await sending([greeting, '--follow'])).to.deep.equal({ code: 0, out: 'one\ntwo\n', err: '' })
    server!.close()
    let got = ''
    const ended = new Promise<void>((resolve) => {
      void serving((socket) => {
        socket.on('data', (chunk) => (got += chunk.toString())).on('end', resolve)
      }).then(async (at) => {
        expect(await sending([at, '--count', '0', 'a', 'b'])).to.deep.equal({ code: 0, out: '', err: '' })
      })
    })
    await ended
    expect(got).to.equal('a\nb\n')
  })

  it('reaches Unix sockets, IPv6, and TLS', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'mr-send-'))
    const echo = (socket: Socket) => socket.on('error', () => {}).pipe(socket)
    const path = join(folder, 'app.sock')
    for (const [where, address] of [
      [{ path }, () => path],
      [{ port: 0, host: '::1' }, (port: number) => `[::1]:${port}`],
      [{ port: 0, host: '127.0.0.1' }, (port: number) => `${port}`],
    ] as const) {
      const listening = createServer(echo).listen(where)
      await once(listening, 'listening')
      const { port } = listening.address() as AddressInfo
      expect(await sending([address(port), 'one'])).to.deep.equal({ code: 0, out: 'one\n', err: '' })
      listening.close()
    }
    const secure = createTlsServer({ cert: readFileSync(pem('first')), key: readFileSync(pem('first-key')) }, echo)
    secure.on('tlsClientError', () => {}).listen(0, '127.0.0.1')
    await once(secure, 'listening')
    const at = `localhost:${(secure.address() as AddressInfo).port}`
    expect(await sending([at, '--ca', pem('ca'), 'one'])).to.deep.equal({ code: 0, out: 'one\n', err: '' })
    expect(await sending([at, '--insecure', 'one'])).to.deep.equal({ code: 0, out: 'one\n', err: '' })
    const refused = await sending([at, '--tls', 'one'])
    expect([refused.code, refused.out]).to.deep.equal([1, ''])
    expect(refused.err).to.match(/certificate/)
    secure.close()
    rmSync(folder, { recursive: true })
  })

  it('exits with 1 when a reply does not come, and says how many have', async () => {
    const once_ = await serving((socket) => {
      socket.once('data', () => socket.end('one\n'))
    })
    const ended = await sending([once_, 'a', 'b'])
    expect(ended).to.deep.equal({
      code: 1,
      out: 'one\n',
      err: 'multireactor send: the server ended the connection after 1 of 2 replies\n',
    })
    server!.close()
    const silent = await serving((socket) => socket.resume())
    const late = await sending([silent, '--timeout', '50', 'a'])
    expect(late).to.deep.include({ code: 1, err: 'multireactor send: nothing came for 50 ms, after 0 of 1 reply\n' })
    server!.close()
    const half = await serving((socket) => socket.end('\0\0\0\x05one'))
    expect((await sending([half, '--frames', 'a'])).err).to.include('the server ended within a reply')
    server!.close()
    const huge = await serving((socket) => socket.write('\xff\xff\xff\xff', 'latin1'))
    expect((await sending([huge, '--frames', 'a'])).err).to.include('a reply of 4294967299 bytes, which is more than')
    server!.close()
    expect((await sending([huge, 'a'])).err).to.include('ECONNREFUSED')
  })

  it('exits with 2 for what cannot be meant', async () => {
    for (const [args, text] of [
      [[], 'send needs an address'],
      [['nowhere'], 'the address must be HOST:PORT'],
      [['localhost:0'], 'the address must be HOST:PORT'],
      [['1', '--lines', '--raw'], 'one of --lines'],
      [['1', '--fixed', '0'], '--fixed must be 1 or more'],
      [['1', '--length', 'u3'], '--length must be u8'],
      [['1', '--delimiter', ''], '--delimiter must not be empty'],
      [['1', '--hex', 'abc'], 'pairs of hex digits'],
      [['1', '--ca', '/none'], '--ca: ENOENT'],
      [['1', '--cuont', '1'], "unknown option '--cuont', did you mean '--count'?"],
      [['1', '--follow', '--count', '1'], 'leave out --count'],
    ] as const) {
      const { code, err, out } = await sending(args)
      expect(err).to.include(text)
      expect([code, out]).to.deep.equal([2, ''])
    }
  })
})
