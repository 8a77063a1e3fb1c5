import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Server, serve } from '@multireactor/core'
import { expect } from 'chai'
import { Client } from '../support/client.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))

describe('the program of docs/handover.md', () => {
  let folder: string
  let server: Server | undefined

  before(() => {
    mkdirSync(join(root, '.cache'), { recursive: true })
    folder = mkdtempSync(join(root, '.cache/handover-'))
  })
  after(async () => {
    await server?.close({ timeoutMs: 500 })
    rmSync(folder, { recursive: true })
  })

  it('keeps its data over a move and a reload', async () => {
    const program = /```ts\n(\/\/ app\.ts\n.*?)```/s.exec(readFileSync(join(root, 'docs/handover.md'), 'utf8'))?.[1]
    writeFileSync(join(folder, 'app.ts'), program!)
    server = await serve({ app: join(folder, 'app.ts'), listen: 0, reactors: 2, pool: 0 })
    const client = await Client.connect(server.listeners[0]!.port)
    client.write('hello\n')
    await client.lines(1)
    for (const reactor of [0, 1]) client.write(`move ${reactor}\n`)
    client.write('again\n')
    await client.lines(2)
    await server.reload()
    client.write('still\n')
    expect(await client.lines(3)).to.deep.equal(['guest 1: hello', 'guest 4: again', 'guest 5: still'])
    expect(server.stats().reactors.reduce((sum, { moved }) => sum + moved, 0)).to.be.within(1, 2)
    client.destroy()
  })
})
