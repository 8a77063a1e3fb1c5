import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { mkdtempSync, openSync, readFileSync, rmSync, closeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { native } from '@multireactor/addon'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { fixture } from '../fixtures/bad-failure.js'

interface Outcome {
  status: number | null
  signal: string | null
  lines: string[]
  errors: string
}

/** In a process and a folder of its own. Its outputs are files: a pipe of ours would be one of the sockets that it may close. */
async function fuzz(seed: number): Promise<Outcome> {
  const folder = mkdtempSync(join(tmpdir(), 'mr-native-'))
  try {
    const log = join(folder, 'log')
    const output = openSync(join(folder, 'output'), 'w')
    const child = spawn(process.execPath, [fileURLToPath(fixture('bad-native.mjs')), log, String(seed)], {
      cwd: folder,
      stdio: ['ignore', output, output],
    })
    closeSync(output)
    const [status, signal] = (await once(child, 'exit')) as [number | null, string | null]
    return {
      status,
      signal,
      lines: readFileSync(log, 'utf8').trim().split('\n'),
      errors: readFileSync(join(folder, 'output'), 'utf8'),
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Every function and method by its name, from the addon's exports: a new one is among them by itself. */
const names = Object.entries(native).flatMap(([name, value]) => {
  const methods = Object.getOwnPropertyNames((value as { prototype?: object }).prototype ?? {})
  return /^[A-Z]/.test(name) ? [`new ${name}`, ...methods.filter((method) => method !== 'constructor')] : [name]
})

function codeOf(call: () => unknown): string {
  try {
    call()
    return 'none'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('native functions', () => {
  const seed = Number(process.env['MR_SEED'] ?? 1)
  it(`end no process, whatever they are given and whenever they are called (MR_SEED=${seed})`, async function () {
    this.timeout(60_000)
    const { status, signal, lines, errors } = await fuzz(seed)
    expect({ status, signal, last: lines.at(-1), errors }).to.include({ status: 0, signal: null, last: 'answered still here' })
    expect(lines.filter((line) => !line.startsWith('calls ')).slice(0, -1)).to.deep.equal([])
    const called = new Set(lines.map((line) => line.replace(/^calls /, '')))
    expect(names.filter((name) => !called.has(name))).to.deep.equal([])
    expect(names.length).to.be.greaterThan(100)
  })

  it('say which argument is wrong, and what it must be', () => {
    const wrong = (call: () => unknown): string => {
      try {
        call()
      } catch (error) {
        return `${(error as { code: string }).code}: ${(error as Error).message}`
      }
      return 'nothing'
    }
    const { createRuntime, isAddressRange, steerByCpu } = native as unknown as Record<string, (...args: unknown[]) => unknown>
    expect(wrong(() => isAddressRange!(5))).to.equal('ERR_MR_OPTION_TYPE: native isAddressRange(): argument 1 must be a string')
    expect(wrong(() => steerByCpu!(1, -1, []))).to.equal(
      'ERR_MR_OPTION_RANGE: native steerByCpu(): argument 2 must be a whole number from 0 to 4294967295',
    )
    expect(wrong(() => createRuntime!({}))).to.equal(
      "ERR_MR_OPTION_TYPE: native createRuntime(): 'maxReactors' must be a whole number from 0 to 3839",
    )
    expect(
      wrong(() =>
        createRuntime!({
          get maxReactors() {
            throw new RangeError('of the caller')
          },
        }),
      ),
    ).to.match(/of the caller$/)
  })

  it('take no framing that is none, nor one that would be cut for ever', async () => {
    const framings = [
      { kind: 99, maxBytes: 10 },
      { kind: Number.NaN, maxBytes: 10 },
      { kind: 1, maxBytes: 10, delimiter: new Uint8Array(0) },
      { kind: 2, maxBytes: 10, fixedBytes: 0 },
      { kind: 3, maxBytes: 10, lengthType: 7 },
      { kind: 11, maxBytes: 10, maxDepth: 1e6 },
      { kind: 13, maxBytes: 10, maxHeadBytes: 2 ** 31 },
    ]
    const codes: string[] = []
    await using reactor = new Reactor()
    const { port } = await reactor.listen(
      { port: 0, host: '127.0.0.1' },
      {
        message(conn) {
          for (const framing of framings) {
            codes.push(codeOf(() => conn.setFraming({ native: framing } as never)))
          }
          conn.end('still here')
        },
      },
    )
    const socket = connect(port, '127.0.0.1')
    socket.write('go')
    let text = ''
    socket.on('data', (chunk) => {
      text += String(chunk)
    })
    await once(socket, 'close')
    expect(text).to.equal('still here')
    expect(codes).to.deep.equal(framings.map(() => 'ERR_MR_OPTION_RANGE'))
  })
})
