import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { closeReasons, native, OptionReader, reactorCounterNames } from '@multireactor/addon'
import { delimiter, lengthPrefixed, lines, serve } from '@multireactor/core'
import { Pool } from '@multireactor/pool'
import { machine } from '@multireactor/pool/group'
import { Reactor } from '@multireactor/reactor'
import { expect } from 'chai'
import { app } from '../support/app.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const page = readFileSync(join(root, 'docs/limits.md'), 'utf8')

/** The rows below a heading as [first cell without its backticks, the other cells]. */
function table(heading: string): Map<string, string[]> {
  const text = page.split(`\n## ${heading}\n`)[1]!.split('\n## ')[0]!
  return new Map([...text.matchAll(/^\| `([^`]+)` \| (.*) \|$/gm)].map((row) => [row[1]!, row[2]!.split(' | ')]))
}

const units: Record<string, number> = { KiB: 2 ** 10, MiB: 2 ** 20, µs: 1 / 1_000, ms: 1, s: 1_000 }

/** '64 KiB' as 65536, '600 s' as 600000. */
function amount(cell: string): number {
  const [, digits, unit] = /^([\d,]+)(?: (\S+))?$/.exec(cell) ?? []
  return Number(digits?.replaceAll(',', '')) * (unit === undefined ? 1 : units[unit]!)
}

/** Runs `work`, and returns the default of each whole-number option. */
async function defaults(work: () => Promise<unknown> | unknown): Promise<Map<string, number>> {
  const { integer } = OptionReader.prototype
  const seen = new Map<string, number>()
  OptionReader.prototype.integer = function (name, fallback, least, most) {
    seen.set(name, fallback)
    return integer.call(this, name, fallback, least, most)
  }
  try {
    await work()
  } finally {
    OptionReader.prototype.integer = integer
  }
  return seen
}

/** Numbers that are no limits. */
const noLimits = ['port', 'reactors', 'size', 'keepAliveMs', 'timeoutMs', 'drainDelayMs', 'nice']

/** Whole expressions such as `64 << 10`, `size_t{64} << 20` and `1u << kSlotBits`. */
function constant(source: string, name: string): number {
  const text = new RegExp(`\\b${name}(?:: number)? = ([^;,\\n]+)`).exec(source)?.[1]
  if (text === undefined) return Number.NaN
  const [left, right] = text.split('<<').map((side) => {
    const word = side
      .trim()
      .replace(/^\w+\{(.*)\}$/, '$1')
      .replace(/(?<=\d)u$/, '')
    return /^[\d_']+$/.test(word) ? Number(word.replaceAll(/[_']/g, '')) : constant(source, word)
  })
  return right === undefined ? left! : left! * 2 ** right
}

describe('the table of limits', () => {
  const settable = table('Limits you can set')
  const fixed = table('Limits that are fixed')

  it('has every option that is a limit, with the default that the code falls back to', async () => {
    const seen = await defaults(async () => {
      const server = await serve({ app: app('echo'), listen: 0, reactors: 1, pool: 0 })
      await server.close()
      const reactor = new Reactor()
      await reactor.listen({ port: 0 }, { message() {} })
      await reactor.close()
      lines()
    })
    const limits = [...seen].filter(([name]) => !noLimits.includes(name))
    expect(limits.map(([name]) => name).sort()).to.deep.equal([...settable.keys()].sort())
    // Those of the machine are said in words.
    const words: Record<string, [string, number]> = {
      connections: ['`ulimit -n` less 128, and 16 for each reactor and 8 for each worker', native.fileLimit() - 128 - 16],
      connectionsPerAddress: ['as `connections`', native.fileLimit() - 128 - 16],
      memory: ['half of the memory that the process may use', Math.floor(machine().memory / 2)],
    }
    for (const [name, fallback] of limits) {
      const cell = settable.get(name)![1]!
      const [text, value] = words[name] ?? [cell, amount(cell)]
      expect(cell, name).to.equal(text)
      expect(fallback, name).to.equal(value)
    }
  })

  it('says the default of every framing, and what differs in a pool of its own', async () => {
    for (const framing of [() => lines(), () => delimiter('\0'), () => lengthPrefixed()]) {
      expect((await defaults(framing)).get('maxBytes')).to.equal(amount(settable.get('maxBytes')![1]!))
    }
    const seen = await defaults(() => new Pool({ worker: join(root, 'test/fixtures/pool-echo.js'), size: 1 }).close())
    expect(page).to.include(`\`maxQueued\` of ${seen.get('maxQueued')!.toLocaleString('en')}`)
    for (const same of ['concurrency', 'taskTimeoutMs', 'maxQueuedBytes']) {
      expect(seen.get(same), same).to.equal(amount(settable.get(same)![1]!))
    }
  })

  it('has the values of the fixed limits', () => {
    expect(fixed.size).to.be.above(10)
    for (const [name, [value, file]] of fixed) {
      const source = readFileSync(join(root, file!.replaceAll('`', '')), 'utf8')
      const perUnit = name.endsWith('Ns') ? 1e6 : 1
      expect(constant(source, name), `${name} in ${file}`).to.equal(Math.round(amount(value!) * perUnit))
    }
  })

  it('names every close reason that is a limit, and every counter of what is held back', () => {
    const noLimit = [
      'end',
      'destroyed',
      'reset',
      'malformed-frame',
      'handler-error',
      'parse-error',
      'server-closing',
      'system-error',
      'proxy-header',
      'tls-error',
    ]
    const missing = closeReasons.filter((reason) => !noLimit.includes(reason) && !page.includes(`\`${reason}\``))
    expect(missing).to.deep.equal([])
    const counters = ['pausesByQueue', 'pausesByPeer', 'acceptErrors', 'acceptsDelayed', 'framesShed'] as const
    expect(counters.filter((name) => !reactorCounterNames.includes(name) || !page.includes(`\`${name}\``))).to.deep.equal([])
  })
})
