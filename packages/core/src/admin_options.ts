import { createHash } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import { isIP } from 'node:net'
import { MultireactorError, OptionReader, shown } from '@multireactor/addon'
import { hostPortOf } from './host_port.js'

/** Where `/metrics`, `/healthz` and `/readyz` are answered. */
export interface AdminSettings {
  /** 0 to 65535; 0 lets the kernel choose. */
  port: number
  /** Default `'127.0.0.1'`. Any address that is not a loopback address needs `tokenFile`. */
  host?: string
  /** File with the token that `/metrics` asks for (`Authorization: Bearer …`). Read once, at the start. */
  tokenFile?: string
}

export interface CheckedAdmin {
  port: number
  host: string
  /** SHA-256 of the token: a comparison in constant time needs equal lengths, which digests have. */
  tokenDigest: Buffer | undefined
  /** For the log: the token can be read by every user of the machine. */
  warning: string | undefined
}

const forms = "a port, '[HOST:]PORT', or an object such as { port: 9090, host: '127.0.0.1' }"
const mostTokenBytes = 4_096

/** Throws `ERR_MR_OPTION_TYPE`, `ERR_MR_OPTION_RANGE`, `ERR_MR_ADMIN_TOKEN`. */
export function readAdmin(where: string, value: unknown): CheckedAdmin | undefined {
  if (value === undefined) return undefined
  const spec =
    typeof value === 'number' ? { port: value } : typeof value === 'string' ? adminAddress(`${where} admin`, value) : value
  const read = new OptionReader(`${where} admin`, spec, ['port', 'host', 'tokenFile'], forms)
  const port = read.integer('port', -1, 0, 65_535)
  if (port < 0) throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where} admin: must be ${forms}, and has no port`)
  const host = read.string('host') ?? '127.0.0.1'
  const file = read.string('tokenFile')
  return { port, host, ...(file === undefined ? { tokenDigest: undefined, warning: undefined } : readToken(where, file)) }
}

/** `9090`, `localhost:9090`, `10.0.0.1:9090`, `[::1]:9090`. */
export function adminAddress(what: string, text: string): { port: number; host?: string } {
  const at = hostPortOf(text)
  if (at === undefined || (at.isBracketed && isIP(at.host!) !== 6)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `${what}: must be [HOST:]PORT such as 9090, 10.0.0.1:9090 or [::1]:9090, and is ${shown(text)}`,
    )
  }
  const { host, port } = at
  return { port, ...(host === undefined ? {} : { host }) }
}

function readToken(where: string, file: string): { tokenDigest: Buffer; warning: string | undefined } {
  const refused = (why: string, cause?: unknown): MultireactorError =>
    new MultireactorError('ERR_MR_ADMIN_TOKEN', `${where} admin: the token file ${file} ${why}`, { cause })
  let content: Buffer
  let mode: number
  try {
    // Without O_NONBLOCK opening a FIFO waits for a writer.
    const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stat = fstatSync(fd)
      if (!stat.isFile()) throw refused('is not a regular file')
      mode = stat.mode
      content = Buffer.alloc(mostTokenBytes + 1)
      content = content.subarray(0, readSync(fd, content))
    } finally {
      closeSync(fd)
    }
  } catch (error) {
    if (error instanceof MultireactorError) throw error
    throw refused(`cannot be read: ${(error as Error).message}`, error)
  }
  const token = content.toString('latin1').trim()
  if (token === '') throw refused('is empty: write a token into it, such as the output of `openssl rand -hex 32`')
  if (content.length > mostTokenBytes) throw refused(`has more than ${mostTokenBytes} bytes`)
  // The characters of a token in an Authorization header (RFC 6750 §2.1).
  if (!/^[\w.~+/-]+=*$/.test(token)) {
    throw refused('must hold one token of letters, digits and - . _ ~ + / =, as a Bearer header can carry it')
  }
  const warning =
    (mode & 0o004) === 0 ? undefined : `every user of this machine can read the admin token in ${file}: \`chmod o-r\` it`
  return { tokenDigest: digestOf(token), warning }
}

export function digestOf(token: string): Buffer {
  return createHash('sha256').update(token, 'latin1').digest()
}
