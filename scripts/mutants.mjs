// Takes one protection after the other out of a copy of the tree, and expects the test that claims to hold it to fail: a test that
// passes without its subject proves nothing. `npm run mutants [TEXT ...]` tries those whose name or file contains one of the texts.
import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { output, root, StepFailed, whenMain } from './lib.mjs'
import { mutants } from './mutants/table.mjs'

/** Stays for the next time, so that make and tsc have little to do. */
const copy = join(root, '.cache/mutants/tree')
const native = join(copy, 'addon/native')
/** One compilation for the C++ tests and for the addon in Node; not optimized, because that is quicker. */
const variant = 'node-mutant'
/** A test that hangs without its protection has failed, too. */
const mostMs = 180_000

function writeWhenOther(path, content) {
  if (existsSync(path) && readFileSync(path).equals(content)) return
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}

/** The files of the repository as they lie here, committed or not. Unchanged files keep their times, for make. */
function copyTree() {
  const list = join(copy, '../files.json')
  const before = existsSync(list) ? JSON.parse(readFileSync(list, 'utf8')) : []
  const files = output('git', ['ls-files', '-co', '--exclude-standard'])
    .split('\n')
    .filter((path) => existsSync(join(root, path)))
  for (const path of before) if (!files.includes(path)) rmSync(join(copy, path), { force: true })
  for (const path of files) writeWhenOther(join(copy, path), readFileSync(join(root, path)))
  writeFileSync(list, JSON.stringify(files))
}

/** The dependencies are shared; the links to our own packages are repeated, so that they lead to those of the copy. */
function linkModules(from, to) {
  rmSync(to, { recursive: true, force: true })
  mkdirSync(to, { recursive: true })
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const path = join(from, entry.name)
    if (entry.name === '@multireactor') linkModules(path, join(to, entry.name))
    else symlinkSync(entry.isSymbolicLink() ? readlinkSync(path) : path, join(to, entry.name))
  }
}

/** The status of a command in the copy, and its output. A signal or too long a time is no status 0 either. */
function attempt(command, args, timeout) {
  const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` }
  const { status, stdout, stderr } = spawnSync(command, args, {
    cwd: copy,
    env,
    encoding: 'utf8',
    timeout,
    killSignal: 'SIGKILL',
  })
  return { passed: status === 0, text: `${stdout}${stderr}` }
}

const lastLines = (text) => text.split('\n').slice(-40).join('\n')

function mustPass(what, { passed, text }) {
  if (!passed) throw new StepFailed(`${what}\n${lastLines(text)}`)
}

const make = (...targets) => attempt('make', ['--no-print-directory', '-C', native, '-j2', `VARIANT=${variant}`, ...targets])

function buildAddon() {
  mustPass('the addon does not compile', make('addon'))
  mkdirSync(join(native, 'build/Release'), { recursive: true })
  cpSync(join(native, 'build-test', variant, 'multireactor.node'), join(native, 'build/Release/multireactor.node'))
}

const buildTests = () => mustPass('the C++ tests do not compile', make('build'))
function compile() {
  mustPass('the TypeScript does not compile', attempt('tsc', ['-b']))
  mustPass('the packages are not bundled', attempt(process.execPath, ['scripts/bundle.mjs']))
}
const inNode = ({ test }) => test.includes('.js: ')

function buildFor(mutant) {
  if (mutant.file.endsWith('.ts')) compile()
  else if (inNode(mutant)) buildAddon()
  else buildTests()
}

/** `room: claim` is a C++ test, `path.js: claim` one of mocha. */
function runTest(mutant) {
  if (!inNode(mutant)) return attempt(join(native, 'build-test', variant, 'tests'), [mutant.test], mostMs)
  const [path, claim] = mutant.test.split(/(?<=\.js): /)
  // Without .mocharc.json it is one process, which ends when it is killed.
  const options = ['--no-config', '--fail-zero', '--forbid-pending', '--timeout', '60000', '--fgrep', claim]
  return attempt(process.execPath, [join(root, 'node_modules/mocha/bin/mocha.js'), ...options, path], mostMs)
}

const places = ({ file, from }) => readFileSync(join(root, file), 'utf8').split(from).length - 1

/** True when the test fails without the protection. */
function isCaught(mutant) {
  const path = join(copy, mutant.file)
  const source = readFileSync(path, 'utf8')
  // A function, because a text would have its own meaning of '$'.
  writeFileSync(
    path,
    source.replace(mutant.from, () => mutant.to),
  )
  try {
    buildFor(mutant)
    return !runTest(mutant).passed
  } finally {
    writeFileSync(path, source)
  }
}

export function tryMutants(texts) {
  const wanted = mutants.filter(
    (m) => texts.length === 0 || texts.some((text) => `${m.protects} ${m.file} ${m.test}`.includes(text)),
  )
  if (wanted.length === 0) throw new StepFailed('no mutant has such a name')
  const lost = wanted.filter((mutant) => places(mutant) !== 1)
  if (lost.length > 0) {
    throw new StepFailed(`The source has changed: not exactly once in\n${lost.map((m) => `  ${m.file}: ${m.from}`).join('\n')}`)
  }
  copyTree()
  linkModules(join(root, 'node_modules'), join(copy, 'node_modules'))
  compile()
  buildTests()
  buildAddon()
  // With the protection in its place the test has to pass, or its failure says nothing.
  const broken = new Set()
  for (const mutant of new Map(wanted.map((one) => [one.test, one])).values()) {
    const { passed, text } = runTest(mutant)
    if (passed) continue
    broken.add(mutant.test)
    console.log(`FAILS also with its protection: ${mutant.test}\n${lastLines(text)}`)
  }
  const survivors = []
  // Of one file one after the other: there is less to compile.
  for (const mutant of wanted.filter(({ test }) => !broken.has(test)).sort((a, b) => a.file.localeCompare(b.file))) {
    const caught = isCaught(mutant)
    console.log(`${caught ? 'fails' : 'PASSES'} without ${mutant.protects} (${mutant.file}): ${mutant.test}`)
    if (!caught) survivors.push(mutant)
    // The next one is to meet nothing of it.
    if (mutant.file.endsWith('.ts')) compile()
    else if (inNode(mutant)) buildAddon()
  }
  if (broken.size > 0) throw new StepFailed(`${broken.size} tests fail as it is`)
  if (survivors.length > 0) throw new StepFailed(`${survivors.length} of ${wanted.length} protections are not held by their test`)
  console.log(`${wanted.length} protections: each has a test that fails without it.`)
}

await whenMain(import.meta.url, () => tryMutants(process.argv.slice(2)))
