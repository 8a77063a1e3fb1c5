import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { load, MultireactorError } from '@multireactor/addon'
import { expect } from 'chai'

function failureOf(action: () => unknown): MultireactorError {
  try {
    action()
  } catch (err) {
    expect(err).to.be.instanceOf(MultireactorError)
    return err as MultireactorError
  }
  throw new Error('nothing was thrown')
}

describe('loading the native build', () => {
  let folder: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'load-'))
  })
  after(() => {
    rmSync(folder, { recursive: true })
  })

  it('says in one sentence what to run when there is none', () => {
    const err = failureOf(() => load({ folder }))
    expect(err.code).to.equal('ERR_MR_ADDON_MISSING')
    expect(err.message).to.include('npx --yes node-gyp@12 rebuild -j max -C').and.include(folder)
    expect(err.message).to.not.include('\n')
    expect(err.cause).to.be.instanceOf(Error)
  })

  it('says so too when there is one that does not load', () => {
    mkdirSync(join(folder, 'build/Release'), { recursive: true })
    writeFileSync(join(folder, 'build/Release/multireactor.node'), 'no library')
    const err = failureOf(() => load({ folder }))
    expect(err.code).to.equal('ERR_MR_ADDON_MISSING')
    expect(err.message).to.include('does not load')
  })

  it('names the platform where it cannot run', () => {
    const err = failureOf(() => load({ platform: 'darwin' }))
    expect(err.code).to.equal('ERR_MR_PLATFORM')
    expect(err.message).to.include('darwin')
  })

  it('names the Node that is too old', () => {
    for (const node of ['18.20.8', '20.18.3']) {
      const err = failureOf(() => load({ node }))
      expect(err.code).to.equal('ERR_MR_PLATFORM')
      expect(err.message).to.include(`needs Node 20.19 or newer, and this is ${node}`)
    }
    expect(load({ node: '100.0.0' })).to.be.an('object')
  })
})
