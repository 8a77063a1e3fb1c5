import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A program of a user of the packages. Its compiler sees the declarations as they are built. */
const program = `import { httpApp, LightResponse, Response as Light } from '@multireactor/http'

export default httpApp({ fetch: (request) => new LightResponse(request.url) })
export const later = httpApp({ fetch: async (request: Request): Promise<Response> => Light.json({ url: request.url }) })
export const bytes: Promise<Uint8Array> = new LightResponse('x').bytes()
`

describe('the types of a light response', function () {
  this.timeout(120_000)
  // Without `lib`, TypeScript includes the DOM.
  for (const lib of ['es2023', 'es2023,dom']) {
    it(`are those of a Response (lib: ${lib})`, async () => {
      const folder = mkdtempSync(join(root, 'test/dist/types-'))
      try {
        const file = join(folder, 'program.mts')
        writeFileSync(file, program)
        const settings = ['--target', 'es2023', '--module', 'nodenext', '--types', 'node', '--lib', lib]
        const compile = promisify(execFile)(
          join(root, 'node_modules/.bin/tsc'),
          ['--ignoreConfig', '--noEmit', '--strict', ...settings, file],
          { cwd: root },
        )
        expect(await compile.catch(({ stdout }: { stdout: string }) => ({ stdout }))).to.have.property('stdout', '')
      } finally {
        rmSync(folder, { recursive: true, force: true })
      }
    })
  }
})
