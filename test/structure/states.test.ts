import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

describe('the states of a connection', () => {
  it('have one table: that of docs/states.md is the one that the reactor asks', () => {
    const header = read('addon/native/src/reactor/may_write.h')
    const asked = [...header.matchAll(/^ {4}\{((?:true|false)[^}]*)\},\s*\/\/ (.+)$/gm)].map(([, cells, state]) => [
      state!,
      ...cells!.split(',').map((cell) => (cell.trim() === 'true' ? 'yes' : '-')),
    ])
    const writers = /^ {4}\/\/ (reply, .*)$/m.exec(header)![1]!.split(', ')
    const table = [
      ...read('docs/states.md')
        .split('\n## ')[0]!
        .matchAll(/^\| (.*) \|$/gm),
    ].map(([, row]) => row!.split(' | '))
    expect(table[0]).to.deep.equal(['state', ...writers])
    expect(asked).to.have.length(10)
    expect(table.slice(1).filter(([cell]) => !cell!.startsWith('-'))).to.deep.equal(asked)
  })
})
