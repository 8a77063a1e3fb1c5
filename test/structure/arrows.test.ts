import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../../', import.meta.url))
const { arrowViolations } = (await import(join(root, 'scripts/check-arrows.mjs'))) as { arrowViolations(base: string): string[] }

describe('arrows', () => {
  let house: string
  beforeEach(() => {
    house = mkdtempSync(join(tmpdir(), 'arrows-'))
  })
  afterEach(() => {
    rmSync(house, { recursive: true })
  })

  function violationsOf(path: string, text: string): string[] {
    mkdirSync(dirname(join(house, path)), { recursive: true })
    writeFileSync(join(house, path), text)
    return arrowViolations(house)
  }

  it('are kept by the rooms and packages of this repository', () => {
    expect(arrowViolations(root)).to.deep.equal([])
  })

  it('forbid a room to include a later or a sibling room', () => {
    expect(violationsOf('addon/native/src/codec/lines.cc', '#include <vector>\n#include "net/epoll.h"\n')).to.deep.equal([
      'addon/native/src/codec/lines.cc:2: codec includes net/epoll.h; codec may know base',
    ])
  })

  it('forbid Node outside of bindings', () => {
    expect(violationsOf('addon/native/src/reactor/reactor.h', '#include <uv.h>\n')).to.deep.equal([
      'addon/native/src/reactor/reactor.h:1: reactor includes uv.h; only bindings sees Node',
    ])
    expect(violationsOf('addon/native/src/bindings/module.cc', '#include <napi.h>\n')).to.have.length(1)
  })

  it('forbid a worker to know the reactor', () => {
    expect(violationsOf('addon/native/src/worker/worker.cc', '#include "reactor/reactor.h"\n')).to.deep.equal([
      'addon/native/src/worker/worker.cc:1: worker includes reactor/reactor.h; worker may know base, exchange',
    ])
  })

  it('forbid a part of the reactor to know the loop, or a part that is not in the table', () => {
    const path = 'addon/native/src/reactor/memory_guard.h'
    const text =
      '#include "reactor/connection_table.h"\n#include "reactor/clients.h"\nclass Reactor;\nReactor& reactor;\nfriend class Clients;\n'
    expect(violationsOf(path, text)).to.deep.equal([
      `${path}:2: the part memory_guard includes reactor/clients.h; it may know connection_table`,
      `${path}:4: the part memory_guard holds a Reactor; it gets what it needs`,
      `${path}:5: the part memory_guard names a friend; parts have none`,
    ])
    expect(violationsOf(path, '#include "reactor/reactor.h"\n')).to.have.length(1)
    expect(violationsOf(path, '')).to.deep.equal([])
    expect(violationsOf('addon/native/src/reactor/reactor_memory.cc', '#include "reactor/clients.h"\n')).to.deep.equal([])
  })

  it('forbid a file of the reactor that the table does not have', () => {
    expect(violationsOf('addon/native/src/reactor/surprise.h', '')).to.deep.equal([
      'addon/native/src/reactor/surprise.h:1: surprise is no part of the reactor; add it to the table of scripts/check-arrows.mjs',
    ])
  })

  it('forbid raw socket calls outside of their file', () => {
    expect(violationsOf('addon/native/src/net/acceptor.cc', 'int a = ::accept4(1, nullptr, nullptr, 0);\n')).to.deep.equal([
      'addon/native/src/net/acceptor.cc:1: calls accept4(); only net/socket.cc calls the socket syscalls',
    ])
    expect(violationsOf('addon/native/src/net/socket.cc', 'int b = ::listen(1, 2);\n')).to.have.length(1)
    expect(violationsOf('addon/native/src/net/out_buffer.cc', 'auto c = sock::send(1, p, n); mailbox.send(m);\n')).to.have.length(
      1,
    )
  })

  it('forbid reactor and pool to import each other', () => {
    expect(violationsOf('packages/pool/src/pool.ts', "import { Reactor } from '@multireactor/reactor'\n")).to.deep.equal([
      'packages/pool/src/pool.ts:1: @multireactor/pool imports @multireactor/reactor; it may know @multireactor/addon',
    ])
  })

  it('forbid an import that reaches into another package by its path', () => {
    expect(violationsOf('packages/core/src/core.ts', "export * from '../../pool/src/pool.js'\n")).to.deep.equal([
      'packages/core/src/core.ts:1: imports ../../pool/src/pool.js, which lies outside its package; import the package',
    ])
  })
})
