import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect } from 'chai'
import { type Installed, installAlone, nativeBuilds, nodes, type Packed, packAll } from './packed.js'

const run = promisify(execFile)
const checkSymbols = fileURLToPath(new URL('../../../scripts/check-symbols.mjs', import.meta.url))

const exchange = `
import { connect } from 'node:net'
export function exchange(port, text) {
  return new Promise((resolve, reject) => {
    let got = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(text))
    socket.setEncoding('utf8').on('error', reject).on('close', () => resolve(got))
    socket.on('data', (part) => { got += part; if (got.endsWith('\\n')) socket.end() })
  })
}
`

const programs: { name: string; files: Record<string, string>; args: string[]; prints: string }[] = [
  {
    name: '@multireactor/addon',
    files: {
      'main.js': `
import { MultireactorError } from '@multireactor/addon'
console.log(new MultireactorError('ERR_MR_EXAMPLE', 'loaded').code)
`,
    },
    args: ['main.js'],
    prints: 'ERR_MR_EXAMPLE',
  },
  {
    name: '@multireactor/reactor',
    files: {
      'exchange.js': exchange,
      'main.js': `
import { Reactor } from '@multireactor/reactor'
import { exchange } from './exchange.js'
const reactor = new Reactor()
const listener = await reactor.listen({ port: 0 }, { message(conn, chunk) { conn.write(chunk) } })
console.log((await exchange(listener.port, 'echo\\n')).trim())
await reactor.close()
`,
    },
    args: ['main.js'],
    prints: 'echo',
  },
  {
    name: '@multireactor/pool',
    files: {
      'double.js': 'export default (bytes) => Buffer.concat([bytes, bytes])\n',
      'main.js': `
import { Pool } from '@multireactor/pool'
const pool = new Pool({ worker: new URL('./double.js', import.meta.url), size: 2 })
console.log(Buffer.from(await pool.run(Buffer.from('ab'))).toString())
await pool.close()
`,
    },
    args: ['main.js'],
    prints: 'abab',
  },
  {
    name: '@multireactor/codecs',
    files: {
      'main.js': `
import { CommandReader, encodeCommand, resp } from '@multireactor/codecs'
const reader = new CommandReader(encodeCommand(['GET', 'key']))
console.log(reader.next(), reader.count, reader.text(1), resp().native.kind)
`,
    },
    args: ['main.js'],
    prints: 'true 2 key 10',
  },
  {
    name: '@multireactor/core',
    files: {
      'exchange.js': exchange,
      'app.js': `
import { defineApp, lines } from '@multireactor/core'
export default defineApp({
  framing: lines({ maxBytes: 1024 }),
  parse(frame) { return frame.toString().toUpperCase() + '\\n' },
})
`,
      'main.js': `
import { serve } from '@multireactor/core'
import { exchange } from './exchange.js'
const server = await serve({ app: new URL('./app.js', import.meta.url), listen: 0, reactors: 2, pool: 1 })
console.log((await exchange(server.listeners[0].port, 'hello\\n')).trim())
await server.close()
`,
    },
    args: ['main.js'],
    prints: 'HELLO',
  },
  { name: 'multireactor', files: {}, args: ['node_modules/multireactor/bin/multireactor.js', '--version'], prints: '0.1.0' },
]

describe('each package alone, without a compiler', function () {
  this.timeout(120_000)
  let packed: Packed
  before(async () => {
    packed = await packAll()
  })
  after(() => {
    rmSync(packed.folder, { recursive: true })
  })

  for (const { name, files, args, prints } of programs) {
    it(`${name} installs and works on every Node under test`, async () => {
      const user: Installed = await installAlone(packed, name)
      for (const [file, text] of Object.entries(files)) user.write(file, text)
      for (const node of nodes) expect(await user.node(node, args), node).to.equal(prints)
    })
  }

  it('the native build asks for no newer C and C++ library than old distributions have', async () => {
    const user = await installAlone(packed, '@multireactor/addon')
    const builds = nativeBuilds(join(user.folder, 'node_modules/@multireactor/addon/native/prebuilds'))
    expect(builds).to.not.deep.equal([])
    await run(process.execPath, [checkSymbols, ...builds])
  })

  it('the tarball of the addon can be compiled, and is silent about it when installed', async () => {
    const { stdout } = await run('tar', ['-tzf', packed.tarballs.get('@multireactor/addon') as string])
    expect(stdout.split('\n')).to.include.members(['package/native/binding.gyp', 'package/LICENSE', 'package/dist/index.js'])
    expect(stdout).to.match(/package\/native\/src\/bindings\/.*\.cc/)
    expect(stdout).to.not.match(/package\/native\/(build|test)\//)
    expect(stdout).to.not.include('package/binding.gyp')
  })
})
