import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'
import { Command } from '../support/command.js'

const root = new URL('../../../', import.meta.url)
const pem = (name: string): string => fileURLToPath(new URL(`test/existing/certificates/${name}.pem`, root))
const echo = fileURLToPath(new URL('test/fixtures/cli-echo.js', root))

async function subject(port: number): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1', ca: readFileSync(pem('ca')), servername: 'localhost' })
  await once(socket, 'secureConnect')
  const { CN } = socket.getPeerCertificate().subject as unknown as { CN: string }
  socket.destroy()
  return CN
}

/** The ways in which programs that renew certificates change the two files. */
const ways: Record<string, { files(folder: string): [cert: string, key: string]; use(folder: string, name: string): void }> = {
  'files that are written over': {
    files: (folder) => [join(folder, 'cert.pem'), join(folder, 'key.pem')],
    use(folder, name) {
      copyFileSync(pem(name), join(folder, 'cert.pem'))
      copyFileSync(pem(`${name}-key`), join(folder, 'key.pem'))
    },
  },
  'links to files, one after the other (certbot)': {
    files: (folder) => [join(folder, 'live', 'cert.pem'), join(folder, 'live', 'key.pem')],
    use(folder, name) {
      for (const part of ['archive', 'live']) mkdirSync(join(folder, part), { recursive: true })
      for (const [from, to] of [
        [name, 'cert.pem'],
        [`${name}-key`, 'key.pem'],
      ] as const) {
        const target = join(folder, 'archive', `${name}-${to}`)
        copyFileSync(pem(from), target)
        symlinkSync(target, join(folder, 'live', `new-${to}`))
        renameSync(join(folder, 'live', `new-${to}`), join(folder, 'live', to))
      }
    },
  },
  'a link to a folder with both (Kubernetes)': {
    files: (folder) => [join(folder, 'tls.crt'), join(folder, 'tls.key')],
    use(folder, name) {
      const data = mkdtempSync(join(folder, '..data-'))
      copyFileSync(pem(name), join(data, 'tls.crt'))
      copyFileSync(pem(`${name}-key`), join(data, 'tls.key'))
      symlinkSync(data, join(folder, '..next'))
      renameSync(join(folder, '..next'), join(folder, '..data'))
      for (const file of ['tls.crt', 'tls.key']) {
        rmSync(join(folder, file), { force: true })
        symlinkSync(join('..data', file), join(folder, file))
      }
    },
  },
}

describe('certificates of the command', function () {
  this.timeout(120_000)
  let folder = ''
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'mr-renewal-'))
  })
  afterEach(async () => {
    await Command.killAll()
    rmSync(folder, { recursive: true, force: true })
  })
  const start = async (cert: string, key: string): Promise<{ server: Command; port: number }> => {
    const server = Command.serve(
      echo,
      '--port',
      '0',
      '--host',
      '127.0.0.1',
      '--reactors',
      '2',
      '--tls-cert',
      cert,
      '--tls-key',
      key,
    )
    return { server, port: Number((await server.line(/:(\d+) with/))[1]) }
  }
  const stop = async (server: Command): Promise<void> => {
    server.child.kill('SIGTERM')
    expect((await server.ended).code).to.equal(0)
  }

  for (const [way, { files, use }] of Object.entries(ways)) {
    it(`are renewed without a reload: ${way}`, async () => {
      use(folder, 'first')
      const { server, port } = await start(...files(folder))
      expect(await subject(port)).to.equal('first.example')
      const stays = connect({ port, host: '127.0.0.1', ca: readFileSync(pem('ca')), servername: 'first.example' })
      await once(stays, 'secureConnect')
      use(folder, 'second')
      await server.line(/^renewed the certificate$/)
      for (let i = 0; i < 8; i++) expect(await subject(port)).to.equal('second.example')
      stays.write('still here')
      expect(String((await once(stays, 'data'))[0])).to.equal('still here')
      stays.destroy()
      await stop(server)
      expect((await server.ended).out).to.not.include('reloaded')
    })
  }

  it('go on being used when the new ones do not fit, and are renewed when they do', async () => {
    const { files, use } = ways['files that are written over']!
    use(folder, 'first')
    const [cert, key] = files(folder)
    const { server, port } = await start(cert, key)
    writeFileSync(cert, readFileSync(pem('second')))
    await server.complaint(/the new certificate cannot be used, the old one goes on: /)
    expect(await subject(port)).to.equal('first.example')
    writeFileSync(key, readFileSync(pem('second-key')))
    await server.line(/^renewed the certificate$/)
    expect(await subject(port)).to.equal('second.example')
    await stop(server)
    expect((await server.ended).err.match(/cannot be used/g)).to.have.length(1)
  })
})
