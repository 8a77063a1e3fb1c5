import { MultireactorError, type NativeOpenListener, native, OptionReader, shown } from '@multireactor/addon'
import { dns, fs, net } from './builtins.js'
import type { InheritedSockets } from './inherited.js'
import type { ListenTls } from './tls_options.js'
import { readFds } from './listen_fd.js'
import { socketsOfSystemd } from './systemd.js'

/** Where to listen: a port, or an address with its options, or a Unix path, or sockets that listen already. */
export interface ListenAddress {
  /** How the app's hooks and the statistics call it. Default: its port or path. */
  name?: string
  /** 0 to 65535; 0 lets the kernel choose. */
  port?: number
  /** A literal address or a name that resolves to one. Default `'::'`, IPv4 included, where there is IPv6, else `'0.0.0.0'`. */
  host?: string
  /** A Unix socket instead of a port. Replaced when its server has ended, unlinked on close. */
  path?: string
  /**
   * Listening stream sockets opened by another process, by descriptor: all of one address. They belong to the server from then
   * on. Its first reactors accept there, and hand the connections round when there are fewer sockets than reactors. A Unix path
   * is not unlinked.
   */
  fd?: number | readonly number[]
  /** Sockets from systemd (socket activation): all of them, or those with the `FileDescriptorName` given. */
  systemd?: true | string
  /** Connections the kernel queues for each listening socket. Default 1024, capped by net.core.somaxconn. */
  backlog?: number
  /** Only IPv6 on `'::'`. Default false. */
  ipv6Only?: boolean
  /** Let another server listen on the same port, and share its traffic. Default false: the second one fails with EADDRINUSE. */
  shared?: boolean
  /**
   * Each connection begins with a PROXY protocol header, v1 or v2, that names the client behind the proxy: limits and `remoteAddress`
   * see that. `from`: the proxies, as addresses or ranges (`10.0.0.0/8`); other peers, and proxies without a header, are
   * closed as `proxy-header`. On a Unix path every peer that may connect is trusted.
   */
  proxyProtocol?: { from: readonly string[] }
  /** TLS: `cert` and `key` as `node:tls` takes them, and more. The app sees plaintext. See docs/tls.md. */
  tls?: ListenTls
}

export const addressOptionNames = [
  'name',
  'port',
  'host',
  'path',
  'backlog',
  'ipv6Only',
  'shared',
  'proxyProtocol',
  'tls',
  'fd',
  'systemd',
] as const

/** A listener that listens. */
export interface OpenListener {
  group: number
  name: string
  /** The literal address, or the Unix path. */
  address: string
  /** 0 for a Unix path. */
  port: number
  /** Listening sockets: one for each reactor, one in all for a Unix path, and as many as another process has opened. */
  members: number
  /** There are never more of them: a Unix path has one, and inherited ones keep their number. */
  fixed: boolean
  /** The requested address: how a successor of this process recognises the sockets. */
  key: string
}

/** Opens the listening sockets of one address, for `members` reactors. Throws coded errors: our own, or Node's for the kernel's. */
export async function openListener(
  runtime: number,
  where: string,
  spec: ListenAddress | number,
  members: number,
  inherited?: InheritedSockets,
): Promise<OpenListener> {
  const address = typeof spec === 'number' ? { port: spec } : spec
  const read = new OptionReader(where, address, addressOptionNames)
  const path = read.string('path')
  const port = read.integer('port', -1, 0, 65_535)
  const fds = readFds(where, read.raw('fd'))
  const systemd = readSystemd(where, read.raw('systemd'))
  const kinds = [path !== undefined, port !== -1, fds !== undefined, systemd !== undefined].filter(Boolean).length
  if (kinds !== 1) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: needs a port (0 to 65535) or a path, or else fd or systemd, and got ${kinds === 0 ? shown(path ?? spec) : 'several of them'}`,
    )
  }
  const common = {
    backlog: read.integer('backlog', 1024, 1, 65_535),
    ipv6Only: read.boolean('ipv6Only', false),
    shared: read.boolean('shared', false),
    ...readProxyProtocol(where, read.raw('proxyProtocol')),
  }
  const host = read.string('host')
  const named = read.string('name')
  const described = (opened: NativeOpenListener & { error?: undefined }, key: string, fallback?: string): OpenListener => {
    const { group, address: literal, port: real, fixed } = opened
    const name = named ?? fallback ?? (real === 0 ? literal : String(real))
    return { group, name, address: literal, port: real, members: opened.members, fixed, key }
  }
  const adopt = (sockets: readonly number[], guard: number, unlinked: string, borrowed: boolean) =>
    native.adoptListener(runtime, sockets, { ...common, members, guard, path: unlinked, borrowed })

  if (fds !== undefined) {
    return described(checkedFds(where, adopt(fds, -1, '', true), fds), `fd:${fds.join()}`)
  }
  if (systemd !== undefined) {
    const key = `systemd:${systemd === true ? '' : systemd}`
    const fallback = systemd === true ? undefined : systemd
    // After a hot restart the new process has no sockets of systemd's own: the old one hands them on.
    const passed = inherited?.take(key)
    const given = passed?.fds ?? socketsOfSystemd(where, systemd)
    return described(checkedFds(where, adopt(given, passed?.guard ?? -1, '', true), given), key, fallback)
  }

  let literal = host === undefined ? '::' : await resolve(where, host)
  const key = path === undefined ? `port:${host === undefined ? '*' : literal}:${port}` : `path:${path}`
  const same = path ?? (host === undefined ? ['::', '0.0.0.0'] : [literal])
  const passed = inherited?.take(key, same, Math.max(port, 0))
  if (passed) {
    const { fds: sockets, guard, path: unlinked } = passed
    // Where they are too few, more of them follow when the reactors accept: a socket that listens gets connections at once.
    // A path that the predecessor did not own was opened by another process, which may still hold it.
    const borrowed = path !== undefined && unlinked === '' && !path.startsWith('\0')
    return described(checkedFds(where, adopt(sockets, guard, unlinked, borrowed), sockets), key, path)
  }
  const open = (at: string) =>
    native.openListener(runtime, {
      ...common,
      members,
      host: at,
      port: Math.max(port, 0),
      ...(path === undefined ? {} : { path }),
    })
  let opened = open(literal)
  // A machine without IPv6 has no '::'; without a host, IPv4 is used then.
  if (host === undefined && path === undefined && (opened.error === 'EAFNOSUPPORT' || opened.error === 'EADDRNOTAVAIL')) {
    literal = '0.0.0.0'
    opened = open(literal)
  }
  if (opened.error !== undefined) throw listenError(opened.error, path ?? literal, path === undefined ? port : undefined)
  return described(opened, key, path)
}

/** The Unix socket where a server waits for its successor: only for this user. Inherited, or opened. The number of its group. */
export function openControl(runtime: number, where: string, path: string, inherited?: InheritedSockets): number {
  const common = { members: 1, backlog: 16, ipv6Only: false, shared: false }
  const passed = inherited?.take('control')
  const opened = passed
    ? checkedFds(
        where,
        native.adoptListener(runtime, passed.fds, { ...common, guard: passed.guard, path: passed.path, borrowed: false }),
        passed.fds,
      )
    : native.openListener(runtime, { ...common, host: '', port: 0, path, mode: 0o600 })
  if (opened.error !== undefined) throw listenError(opened.error, path, undefined)
  return opened.group
}

function readSystemd(where: string, value: unknown): true | string | undefined {
  if (value === undefined || value === true || (typeof value === 'string' && value !== '')) return value
  throw new MultireactorError(
    'ERR_MR_OPTION_TYPE',
    `${where}: 'systemd' must be true, or the name of a socket (FileDescriptorName), and is ${shown(value)}`,
  )
}

function readProxyProtocol(where: string, value: unknown): { proxyFrom?: readonly string[] } {
  if (value === undefined) return {}
  const from = new OptionReader(`${where} proxyProtocol`, value, ['from']).raw('from')
  if (!Array.isArray(from) || from.length === 0 || !from.every((range) => typeof range === 'string')) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where} proxyProtocol: 'from' must be a list of addresses or ranges of the proxies, such as ['10.0.0.0/8'], and is ${shown(from)}`,
    )
  }
  const wrong = from.find((range: string) => !native.isAddressRange(range)) as string | undefined
  if (wrong !== undefined) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `${where} proxyProtocol: 'from' has ${shown(wrong)}, which is neither an address nor a range such as 10.0.0.0/8 or fd00::/8`,
    )
  }
  return { proxyFrom: from as string[] }
}

async function resolve(where: string, host: string): Promise<string> {
  if (net().isIP(host) !== 0 || host.includes('%')) return host
  try {
    return (await dns().lookup(host)).address
  } catch (cause) {
    throw new MultireactorError('ERR_MR_OPTION_RANGE', `${where}: the host '${host}' has no address`, { cause })
  }
}

const advice: Record<string, string> = {
  EADDRINUSE:
    'another server listens there: stop it, choose another port, or listen with shared: true to share its traffic (servers of one user only)',
  EACCES: 'permission denied: ports below 1024 and other users’ folders need rights that this process does not have',
  EADDRNOTAVAIL: 'no network interface of this machine has that address',
  EINVAL: 'the address is not valid',
  ENAMETOOLONG: 'a Unix path has at most 107 bytes',
  ENOENT: 'the folder of that path does not exist',
  EMFILE: 'the process has no file descriptors left: raise `ulimit -n`',
}

const misfits: Record<string, string> = {
  EBADF: 'it is not open: the parent process must pass it on (in Node: `stdio`)',
  ENOTSOCK: 'it is not a socket: pass the descriptor of a listening socket',
  EPROTOTYPE: 'it is a datagram socket: pass a stream socket',
  EAFNOSUPPORT: 'it is neither a TCP nor a Unix socket',
  EINVAL: 'it is a stream socket that does not listen: call listen() on it before it is passed on',
  EADDRNOTAVAIL: 'it listens on another address than the first one: give it an entry of its own in `listen`',
}

type Opened = NativeOpenListener & { error?: undefined }

function checkedFds(where: string, opened: NativeOpenListener, fds: readonly number[]): Opened {
  if (opened.error === undefined) return opened
  const which = opened.culprit ?? fds[0]
  const reason = misfits[opened.error] ?? `the kernel refused it (${opened.error})`
  throw new MultireactorError('ERR_MR_LISTEN_FD', `${where}: cannot listen with descriptor ${which}: ${reason}`)
}

function takenPath(path: string): string {
  let isSocket = true
  try {
    isSocket = fs().lstatSync(path).isSocket()
  } catch {
    // An abstract one, or it has just gone.
  }
  return isSocket
    ? 'another server listens there: stop it, or choose another path'
    : 'a file that is not a socket has that name: remove it, or choose another path'
}

const noPortIsFree =
  'no port of net.ipv4.ip_local_port_range is free, which connections of the last minute (TIME_WAIT) keep as well: wait, name a port outside of that range, or widen it'

/** Carries the fields of a `net` server's error: code, syscall, address, port. */
function listenError(code: string, address: string, port: number | undefined): MultireactorError {
  const place = port === undefined ? address : `${address.includes(':') ? `[${address}]` : address}:${port}`
  const taken = port === undefined ? takenPath(address) : port === 0 ? noPortIsFree : advice['EADDRINUSE']
  const reason = code === 'EADDRINUSE' ? taken : (advice[code] ?? 'the kernel refused')
  const error = new MultireactorError(code, `listen ${code} ${place}: ${reason}`)
  return Object.assign(error, { syscall: 'listen', address, ...(port === undefined ? {} : { port }) })
}
