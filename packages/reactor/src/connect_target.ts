import { MultireactorError, OptionReader, shown } from '@multireactor/addon'
import { net } from './builtins.js'

/** Where to connect: a port of a host, or a Unix path. */
export interface ConnectTarget {
  /** 1 to 65535. */
  port?: number
  /** A literal address, or a name that node:dns resolves. Default `'localhost'`. */
  host?: string
  /** Only addresses of this family. Default: both, in turn. */
  family?: 4 | 6
  /** A Unix socket instead of a port. */
  path?: string
  /** Connect from this address of this machine. */
  localAddress?: string
  /** Connect from this port. Default: the kernel chooses. */
  localPort?: number
  /** Its name in `conn.listener` and errors. Default: `host:port`, or the path. */
  name?: string
}

const targetNames = ['port', 'host', 'family', 'path', 'localAddress', 'localPort', 'name'] as const

/** A target that has been checked. */
export interface Plan {
  name: string
  /** To resolve, or resolved. */
  host: string
  port: number
  path: string | undefined
  family: 0 | 4 | 6
  local: { host: string; port: number } | undefined
}

export function readTarget(where: string, target: ConnectTarget): Plan {
  const read = new OptionReader(where, target, targetNames)
  const path = read.string('path')
  const port = read.integer('port', -1, 1, 65_535)
  if ((path === undefined) === (port === -1)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: needs either a port (1 to 65535) or a path, and got ${path === undefined ? shown(target) : 'both'}`,
    )
  }
  const family = read.integer('family', 0, 4, 6)
  if (family === 5) throw new MultireactorError('ERR_MR_OPTION_RANGE', `${where}: 'family' must be 4 or 6, and is 5`)
  const localAddress = read.string('localAddress')
  const localPort = read.integer('localPort', 0, 0, 65_535)
  const host = read.string('host') ?? 'localhost'
  if (path !== undefined && (localAddress !== undefined || localPort !== 0)) {
    throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where}: 'localAddress' and 'localPort' are for ports, not for a path`)
  }
  if (localAddress !== undefined && net().isIP(localAddress) === 0 && !localAddress.includes('%')) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `${where}: 'localAddress' must be an address of this machine such as '192.0.2.7', and is ${shown(localAddress)}`,
    )
  }
  const own = localAddress === undefined ? 0 : localAddress.includes(':') ? 6 : 4
  if (own !== 0 && family !== 0 && own !== family) {
    throw new MultireactorError('ERR_MR_OPTION_RANGE', `${where}: 'localAddress' is not of family ${family}`)
  }
  const wanted = (own || family) as 0 | 4 | 6
  return {
    name: read.string('name') ?? path ?? (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`),
    host,
    port: Math.max(port, 0),
    path,
    family: wanted,
    local: own === 0 && localPort === 0 ? undefined : { host: localAddress ?? '', port: localPort },
  }
}
