// Checks which room may know which: the includes of addon/native/src, and the imports between the packages.
//   base <- {net, codec, exchange} <- reactor <- bindings        addon <- {reactor, pool} <- core <- http <- multireactor
//                        exchange <- worker <- bindings          reactor <- codecs
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize, relative } from 'node:path'
import { root, StepFailed, whenMain } from './lib.mjs'

const rooms = {
  base: [],
  net: ['base'],
  codec: ['base'],
  exchange: ['base'],
  reactor: ['base', 'net', 'codec', 'exchange'],
  worker: ['base', 'exchange'],
  bindings: ['base', 'net', 'codec', 'exchange', 'reactor', 'worker'],
}

const packages = {
  '@multireactor/addon': { folder: 'addon', knows: [] },
  '@multireactor/reactor': { folder: 'packages/reactor', knows: ['@multireactor/addon'] },
  '@multireactor/pool': { folder: 'packages/pool', knows: ['@multireactor/addon'] },
  '@multireactor/codecs': { folder: 'packages/codecs', knows: ['@multireactor/addon', '@multireactor/reactor'] },
  '@multireactor/core': {
    folder: 'packages/core',
    knows: ['@multireactor/addon', '@multireactor/reactor', '@multireactor/pool'],
  },
  '@multireactor/http': {
    folder: 'packages/http',
    knows: ['@multireactor/addon', '@multireactor/reactor', '@multireactor/core'],
  },
  multireactor: { folder: 'packages/multireactor', knows: ['@multireactor/core', '@multireactor/http'] },
}

// The files of reactor/: what each part may include of its own room. The loop (reactor, reactor_*, moved, registry) may include
// every part, and no part the loop: it holds no Reactor and is no friend of another part. A new part joins the table.
const loop = /^(reactor(?!_core$)(_\w+)?|moved|registry)$/
const parts = {
  acceptors: [],
  aside: [],
  client_profiles: ['listener'],
  clients: ['client_profiles', 'connector', 'framings'],
  compact_peer: [],
  connection: ['aside', 'compact_peer', 'in_buffer', 'order_window', 'secure', 'short_time', 'subscription', 'timer_wheel'],
  connection_table: ['connection'],
  connector: ['timer_wheel'],
  event_batch: ['turn_budget'],
  event_columns: ['event_batch'],
  framings: [],
  hook_pace: [],
  in_buffer: [],
  incoming_calls: ['event_batch'],
  inline_box: [],
  listener: [],
  may_write: ['connection'],
  memory_guard: ['connection_table'],
  order_window: [],
  peer_of: [],
  reactor_core: ['client_profiles', 'connection_table', 'event_batch', 'framings', 'listener', 'turn_budget'],
  secure: [],
  short_time: [],
  subscribers: ['may_write', 'reactor_core', 'subscription', 'topics'],
  subscription: [],
  timer_wheel: [],
  topics: ['subscription'],
  turn_budget: [],
  write_box: [],
}

const nodeHeader = /^(napi|node|node_api|js_native_api|uv|v8|libplatform)([-./_].*)?$/

// The one file with raw socket calls. Names that no other function has are recognised anywhere; the everyday words, which our
// own methods use too, only as `::name(`.
const socketFile = 'net/socket.cc'
const rareCalls = 'accept4|recvfrom|recvmsg|sendto|sendmsg|writev|readv|setsockopt|getsockopt|getsockname|getpeername|socketpair'
const commonCalls = 'socket|bind|listen|accept|connect|recv|send|shutdown'
const socketCall = new RegExp(`(?<![\\w>)\\]])::\\s*(${rareCalls}|${commonCalls})\\s*\\(|(?<![\\w.>:])(${rareCalls})\\s*\\(`)

function sources(folder, pattern) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true })
    .filter((path) => pattern.test(path) && !/(^|\/)(node_modules|dist)\//.test(path))
    .sort()
}

function* linesOf(path) {
  let number = 0
  for (const line of readFileSync(path, 'utf8').split('\n')) yield [++number, line]
}

/** Of one line of a part: an arrow to another part that is not in the table, or a way into the loop. */
function partViolation(part, header, code) {
  if (header !== undefined) {
    const [, target] = header.match(/^reactor\/(\w+)\.h$/) ?? []
    if (target === undefined || target === part || parts[part].includes(target)) return undefined
    return `the part ${part} includes ${header}; it may know ${parts[part].join(', ') || 'no other part'}`
  }
  if (/\bfriend\b/.test(code)) return `the part ${part} names a friend; parts have none`
  if (/\bReactor\s*[&*]/.test(code)) return `the part ${part} holds a Reactor; it gets what it needs`
  return undefined
}

function* includeViolations(base) {
  const folder = join(base, 'addon/native/src')
  for (const path of sources(folder, /\.(cc|h)$/)) {
    const room = path.split('/')[0]
    const at = (number) => `addon/native/src/${path}:${number}`
    const allowed = rooms[room]
    if (allowed === undefined) {
      yield `${at(1)}: ${room} is no room of the house (${Object.keys(rooms).join(', ')})`
      continue
    }
    const part = room === 'reactor' ? path.split('/')[1].replace(/\.(cc|h)$/, '') : undefined
    const isPart = part !== undefined && !loop.test(part)
    if (isPart && parts[part] === undefined) {
      yield `${at(1)}: ${part} is no part of the reactor; add it to the table of scripts/check-arrows.mjs`
      continue
    }
    for (const [number, line] of linesOf(join(folder, path))) {
      const [, bracket, header] = line.match(/^\s*#\s*include\s*([<"])([^>"]+)[>"]/) ?? []
      if (header !== undefined) {
        if (nodeHeader.test(header)) {
          if (room !== 'bindings') yield `${at(number)}: ${room} includes ${header}; only bindings sees Node`
        } else if (bracket === '"') {
          const target = header.includes('/') ? header.split('/')[0] : room
          if (target !== room && !allowed.includes(target)) {
            yield `${at(number)}: ${room} includes ${header}; ${room} may know ${allowed.join(', ') || 'no other room'}`
          }
        }
      }
      const code = line.replace(/\/\/.*/, '')
      const wrong = isPart ? partViolation(part, header, code) : undefined
      if (wrong !== undefined) yield `${at(number)}: ${wrong}`
      const call = code.match(socketCall)
      if (call !== null && path !== socketFile) {
        yield `${at(number)}: calls ${call[1] ?? call[2]}(); only ${socketFile} calls the socket syscalls`
      }
    }
  }
}

function* importViolations(base) {
  for (const [name, { folder, knows }] of Object.entries(packages)) {
    const source = join(base, folder, 'src')
    for (const path of sources(source, /\.[cm]?[jt]s$/)) {
      const at = (number) => `${folder}/src/${path}:${number}`
      for (const [number, line] of linesOf(join(source, path))) {
        if (/^\s*(\/?\*|\/\/)/.test(line)) continue
        for (const [, specifier] of line.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)['"]([^'"]+)['"]/g)) {
          if (specifier.startsWith('.')) {
            const target = relative(join(base, folder), normalize(join(dirname(join(source, path)), specifier)))
            if (target.startsWith('..'))
              yield `${at(number)}: imports ${specifier}, which lies outside its package; import the package`
            continue
          }
          const target = Object.keys(packages).find((other) => specifier === other || specifier.startsWith(`${other}/`))
          if (target !== undefined && target !== name && !knows.includes(target)) {
            yield `${at(number)}: ${name} imports ${specifier}; it may know ${knows.join(', ') || 'no other package'}`
          }
        }
      }
    }
  }
}

/** Every broken arrow below `base`, as `file:line: arrow`. */
export function arrowViolations(base) {
  return [...includeViolations(base), ...importViolations(base)]
}

await whenMain(import.meta.url, () => {
  const violations = arrowViolations(root)
  if (violations.length > 0) throw new StepFailed(violations.join('\n'))
})
