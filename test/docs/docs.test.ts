import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { closeReasons, errorCodes } from '@multireactor/addon'
import { expect } from 'chai'

const root = fileURLToPath(new URL('../../..', import.meta.url))

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** The text below a heading, up to the next one of the same or a higher level. */
function section(page: string, heading: string): string {
  const after = read(page).split(`\n## ${heading}\n`)[1]
  expect(after, `${page} has no heading "${heading}"`).to.be.a('string')
  return after!.split(/\n##? /)[0]!
}

/** The rows of a table as [first cell without its backticks, second cell]. */
function rows(text: string): [string, string][] {
  return [...text.matchAll(/^\| `([^`]+)` \| (.*) \|$/gm)].map((match) => [match[1]!, match[2]!])
}

function pages(): string[] {
  const docs = readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
  const packages = readdirSync(join(root, 'packages')).map((name) => `packages/${name}/README.md`)
  return ['README.md', ...docs.filter((path) => path.endsWith('.md')).map((path) => `docs/${path}`), ...packages]
}

/** A heading as a link names it. */
function anchors(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.*)$/gm)].map((match) =>
    match[1]!
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replace(/ /g, '-'),
  )
}

describe('the documentation', () => {
  it('lists exactly the error codes, each with its sentence', () => {
    expect(rows(section('docs/errors.md', 'Codes'))).to.deep.equal(Object.entries(errorCodes))
  })

  it('lists exactly the close reasons', () => {
    expect(rows(section('docs/errors.md', 'Close reasons')).map(([reason]) => reason)).to.deep.equal([...closeReasons])
  })

  it('has what a command of the bench writes, wherever it has a place for it', () => {
    const parts = pages().flatMap((page) =>
      [...read(page).matchAll(/<!-- bench:(\w+) -->\n([\s\S]*?)<!-- \/bench:\1 -->/g)].map((match) => [
        `${page}: ${match[1]}`,
        match[2]!,
      ]),
    )
    expect(parts).to.have.length.above(5)
    expect(parts.filter(([, text]) => text!.trim() === '').map(([where]) => where)).to.deep.equal([])
  })

  it('names only files that exist in the life of a byte', () => {
    const paths = [...read('docs/life-of-a-byte.md').matchAll(/`([\w/.-]+\.(?:cc|h|ts))`/g)].map((match) => match[1]!)
    expect(paths).to.have.length.above(10)
    const missing = paths.filter((path) => !existsSync(join(root, path)) && !existsSync(join(root, 'addon/native/src', path)))
    expect(missing).to.deep.equal([])
  })

  it('numbers the decisions without a gap', () => {
    const names = readdirSync(join(root, 'docs/decisions')).sort()
    const numbers = names.map((name) => Number(/^(\d{4})-[a-z0-9-]+\.md$/.exec(name)?.[1]))
    expect(numbers, 'the next decision takes the next number').to.deep.equal(names.map((_, i) => i + 1))
    const titles = names.map((name) => Number(/^# (\d+)\. /.exec(read(`docs/decisions/${name}`))?.[1]))
    expect(titles, 'a decision begins with "# its number. what was decided"').to.deep.equal(numbers)
  })

  it('keeps to the names of files that CONTRIBUTING.md promises', () => {
    const folders = ['addon/src', 'addon/native/src', 'addon/native/test', 'packages', 'test']
    const odd = folders
      .flatMap((folder) =>
        readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((path) => `${folder}/${path}`),
      )
      .filter((path) => /\.(ts|cc|h)$/.test(path) && !/(^|\/)(node_modules|dist|fixtures|support)\//.test(path))
      .filter((path) => !/^[a-z0-9_]+(\.(test|storm))?\.(ts|cc|h)$/.test(path.split('/').at(-1)!))
    expect(odd, 'lower case, with underscores').to.deep.equal([])
  })

  it('names only methods, fields and constants of C++ that exist', () => {
    const folders = ['addon/native/src', 'addon/native/test', 'bench/native']
    const all = folders
      .flatMap((folder) =>
        readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((path) => `${folder}/${path}`),
      )
      .filter((path) => /\.(cc|h)$/.test(path))
      .map(read)
      .join('\n')
    // docs/costs.md quotes profilers, with names of Node as well.
    const named = [...pages().filter((page) => page !== 'docs/costs.md'), 'CONTRIBUTING.md'].flatMap((page) =>
      [...read(page).matchAll(/\b([A-Z]\w+)::(\w+)/g)].map(([name, owner, member]) => ({ page, name, owner, member })),
    )
    expect(named).to.have.length.above(30)
    const exists = (owner: string, member: string): boolean => {
      if (new RegExp(`\\b${owner}::${member}\\b`).test(all)) return true
      const body = new RegExp(`\\b(?:class|struct|enum(?: class)?) ${owner}\\b[^;{]*\\{([\\s\\S]*?)^ *\\};`, 'gm')
      return [...all.matchAll(body)].some(([, text]) => new RegExp(`\\b${member}\\b`).test(text!))
    }
    const gone = named.filter(({ owner, member }) => !exists(owner!, member!)).map(({ page, name }) => `${page}: ${name}`)
    expect(gone, 'it was renamed or moved: say where it is now').to.deep.equal([])
  })

  for (const page of pages()) {
    it(`has no dead link in ${page}`, () => {
      const links = [...read(page).matchAll(/\]\(([^)\s]+)\)/g)].map((match) => match[1]!).filter((link) => !/^\w+:/.test(link))
      const dead = links.filter((link) => {
        const [path = '', anchor] = link.split('#')
        const target = path === '' ? page : relative(root, join(root, dirname(page), path))
        return !existsSync(join(root, target)) || (anchor !== undefined && !anchors(target).includes(anchor))
      })
      expect(dead).to.deep.equal([])
    })
  }
})

describe('the program of the README', () => {
  let folder: string
  let server: ChildProcess | undefined

  before(() => {
    // Inside of the repository, where the import of 'multireactor' finds the workspace.
    mkdirSync(join(root, '.cache'), { recursive: true })
    folder = mkdtempSync(join(root, '.cache/readme-'))
  })
  after(() => {
    if (server?.exitCode === null) server.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  })

  it('answers as the README says, and ends on SIGTERM', async () => {
    const program = /```ts\n(\/\/ app\.ts\n.*?)```/s.exec(read('README.md'))?.[1]
    const [, request, answer] = /npx multireactor send \S+ '([^']+)' +# (\S+)/.exec(read('README.md')) ?? []
    const command = /npx multireactor (serve app\.ts .*)/.exec(read('README.md'))?.[1]
    expect([program, request, answer, command]).to.not.include(undefined)
    writeFileSync(join(folder, 'app.ts'), program!)

    const args = command!.replace('--port 7000', '--port 0').split(' ')
    const bin = join(root, 'packages/multireactor/bin/multireactor.js')
    server = spawn(process.execPath, [bin, ...args], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] })
    const exited = once(server, 'exit')
    // A server that ends before it listens ends its output too.
    let port: number | undefined
    for await (const line of createInterface(server.stdout!)) {
      port = Number(/^listening on .*:(\d+) with 2 reactors$/.exec(line)?.[1])
      break
    }
    expect(port).to.be.above(0)

    const client = spawn(process.execPath, [bin, 'send', `127.0.0.1:${port}`, request!], { stdio: ['ignore', 'pipe', 'inherit'] })
    let received = ''
    for await (const chunk of client.stdout.setEncoding('utf8')) received += chunk
    expect(received).to.equal(`${answer}\n`)

    server.kill('SIGTERM')
    expect(await exited).to.deep.equal([0, null])
  })
})
