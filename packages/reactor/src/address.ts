import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import { MultireactorError, native, OptionReader, shown } from '@multireactor/addon'

/** Where to listen: a port, or an address with its options, or a Unix path. */
export interface ListenAddress {
  /** How the app's hooks and the statistics call it. Default: its port or path. */
  name?: string
  /** 0 to 65535; 0 lets the kernel choose. */
  port?: number
  /** A literal address or a name that resolves to one. Default `'::'`, IPv4 included, where there is IPv6, else `'0.0.0.0'`. */
  host?: string
  /** A Unix socket instead of a port. Replaced when nobody accepts on it any more, unlinked on close. */
  path?: string
  /** Connections the kernel queues for each listening socket. Default 1024, capped by net.core.somaxconn. */
  backlog?: number
  /** Only IPv6 on `'::'`. Default false. */
  ipv6Only?: boolean
  /** Let another server listen on the same port, and share its traffic. Default false: the second one fails with EADDRINUSE. */
  shared?: boolean
  /**
   * Each connection begins with a PROXY protocol header, v1 or v2, that says who is behind the proxy: limits and `remoteAddress`
   * see that. `from`: the proxies, as addresses or ranges (`10.0.0.0/8`); whoever else connects, and whoever sends no header, is
   * closed as `proxy-header`. On a Unix path everybody is trusted who may connect.
   */
  proxyProtocol?: { from: readonly string[] }
}

export const addressOptionNames = ['name', 'port', 'host', 'path', 'backlog', 'ipv6Only', 'shared', 'proxyProtocol'] as const

/** A listener that listens. */
export interface OpenListener {
  group: number
  name: string
  /** The literal address, or the Unix path. */
  address: string
  /** 0 for a Unix path. */
  port: number
  /** Listening sockets: one for each reactor, one in all for a Unix path. */
  members: number
  isPath: boolean
}

/** Opens the listening sockets of one address, for `members` reactors. Throws coded errors: our own, or Node's for the kernel's. */
export async function openListener(
  runtime: number,
  where: string,
  spec: ListenAddress | number,
  members: number,
): Promise<OpenListener> {
  const address = typeof spec === 'number' ? { port: spec } : spec
  const read = new OptionReader(where, address, addressOptionNames)
  const path = read.string('path')
  const port = read.integer('port', -1, 0, 65_535)
  if ((path === undefined) === (port === -1)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: needs a port (0 to 65535) or a path, and got ${shown(path ?? spec)}`,
    )
  }
  const common = {
    backlog: read.integer('backlog', 1024, 1, 65_535),
    ipv6Only: read.boolean('ipv6Only', false),
    shared: read.boolean('shared', false),
    members,
  }
  const proxyFrom = readProxyProtocol(where, read.raw('proxyProtocol'))
  const host = read.string('host')
  const open = (literal: string) =>
    native.openListener(runtime, {
      ...common,
      ...(proxyFrom ? { proxyFrom } : {}),
      host: literal,
      port: Math.max(port, 0),
      ...(path === undefined ? {} : { path }),
    })
  let literal = host === undefined ? '::' : await resolve(where, host)
  let opened = open(literal)
  // A machine without IPv6 has no '::'; who named no host gets what there is.
  if (host === undefined && path === undefined && (opened.error === 'EAFNOSUPPORT' || opened.error === 'EADDRNOTAVAIL')) {
    literal = '0.0.0.0'
    opened = open(literal)
  }
  if (opened.error !== undefined) throw listenError(opened.error, path ?? literal, path === undefined ? port : undefined)
  const name = read.string('name') ?? (path === undefined ? String(opened.port) : path)
  return {
    group: opened.group,
    name,
    address: opened.address,
    port: opened.port,
    members: opened.members,
    isPath: path !== undefined,
  }
}

function readProxyProtocol(where: string, value: unknown): readonly string[] | undefined {
  if (value === undefined) return undefined
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
      `${where} proxyProtocol: 'from' has ${shown(wrong)}, which is no address and no range such as 10.0.0.0/8 or fd00::/8`,
    )
  }
  return from as string[]
}

async function resolve(where: string, host: string): Promise<string> {
  if (isIP(host) !== 0 || host.includes('%')) return host
  try {
    return (await lookup(host)).address
  } catch (cause) {
    throw new MultireactorError('ERR_MR_OPTION_RANGE', `${where}: the host '${host}' has no address`, { cause })
  }
}

const advice: Record<string, string> = {
  EADDRINUSE:
    'another server listens there: stop it, choose another port, or listen with shared: true to share its traffic on purpose',
  EACCES: 'permission denied: ports below 1024 and other users’ folders need rights that this process does not have',
  EADDRNOTAVAIL: 'no network interface of this machine has that address',
  EINVAL: 'that is no address',
  ENAMETOOLONG: 'a Unix path has at most 107 bytes',
  ENOENT: 'the folder of that path does not exist',
  EMFILE: 'the process has no file descriptors left: raise `ulimit -n`',
}

/** Carries what a `net` server's error carries: code, syscall, address, port. */
function listenError(code: string, address: string, port: number | undefined): MultireactorError {
  const place = port === undefined ? address : `${address.includes(':') ? `[${address}]` : address}:${port}`
  const error = new MultireactorError(code, `listen ${code} ${place}: ${advice[code] ?? 'the kernel refused'}`)
  return Object.assign(error, { syscall: 'listen', address, ...(port === undefined ? {} : { port }) })
}
