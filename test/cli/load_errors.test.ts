import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { serve } from 'multireactor'
import { Command } from '../support/command.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const bad = 'export const a = 1\n\nexport const b = {\n  c: 1,\n  d 2,\n}\n'
const app = (from: string) =>
  `import { lines } from 'multireactor'\nimport { b } from '${from}'\nexport default { framing: lines(), parse: () => b }\n`

describe('an app that does not load', () => {
  let folder: string
  const write = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text)
    return join(folder, name)
  }
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'mr load errors-'))
    mkdirSync(join(folder, 'node_modules'))
    symlinkSync(join(root, 'packages/multireactor'), join(folder, 'node_modules/multireactor'))
    write('package.json', '{ "type": "module" }')
    write('bad.js', bad)
    write('badly.ts', bad)
    write('bad.cjs', bad.replaceAll('export ', ''))
    write('between.js', "import './bad.js'\nexport const b = globalThis.process.stdout.write('it ran')\n")
    write('good.js', 'export const a = 1\n')
  })
  after(() => rmSync(folder, { recursive: true }))
  afterEach(() => Command.killAll())

  const serving = (file: string) =>
    Command.serve(file, '--port', '0', '--host', '127.0.0.1', '--reactors', '1', '--pool', '1').ended

  for (const [what, name, text, place] of [
    ['an imported ES module', 'esm.js', app('./bad.js'), 'bad.js:5'],
    ['a module that an imported one imports, which does not run', 'deep.js', app('./between.js'), 'bad.js:5'],
    ['the app itself', 'self.js', 'export default {\n  parse: () => 1 2,\n}\n', 'self.js:2'],
    [
      'an imported CommonJS module',
      'app.cjs',
      "const { b } = require('./bad.cjs')\nmodule.exports = { parse: () => b }\n",
      'bad.cjs:5',
    ],
    ['an imported TypeScript module', 'typed.ts', app('./badly.ts'), 'badly.ts:5'],
    ['JavaScript that TypeScript imports', 'mixed.ts', app('./bad.js'), 'bad.js:5'],
    ['a name that a module does not export', 'missing.js', app('./good.js'), 'missing.js:2'],
  ] as const) {
    it(`tells file and line of a syntax error in ${what}`, async () => {
      const { code, out, err } = await serving(write(name, text))
      expect(err.split('\n').slice(0, 2).join('\n')).to.include(place)
      expect(err).to.include('[ERR_MR_APP_LOAD]').and.include('failed to load')
      expect([code, out]).to.deep.equal([1, ''])
    })
  }

  it('tells it on reload, too, and goes on with the old code', async () => {
    const file = write('reloaded.js', "export default { framing: (await import('multireactor')).lines(), message() {} }\n")
    const server = await serve({ app: file, listen: { port: 0, host: '127.0.0.1' }, reactors: 1, pool: 0 })
    write('reloaded.js', 'export default {\n  message() {}\n')
    const failed = await server.reload().catch((error: Error) => error)
    expect(String(failed)).to.match(/reloaded\.js:\d+: /)
    await server.close()
  })

  it('ends with 2 for what somebody has to change, whichever option it is', async () => {
    for (const text of [
      'export default { framing: (await import("multireactor")).lines, parse: () => 1 }\n',
      'export default { framming: 1, parse: () => 1 }\n',
      'export default { run: "inline", message() {} }\n',
      'export default {}\n',
      'export const nothing = 1\n',
    ]) {
      const { code, err } = await serving(write('wrong.js', text))
      expect(err).to.match(/^multireactor: the app .* \[ERR_MR_\w+\]\n$/)
      expect(code).to.equal(2)
    }
  })
})
