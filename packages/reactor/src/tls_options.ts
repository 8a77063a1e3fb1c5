import type { SecureContextOptions, TlsOptions } from 'node:tls'
import { MultireactorError, OptionReader, shown } from '@multireactor/addon'

const certificateNames = [
  'cert',
  'key',
  'ca',
  'pfx',
  'passphrase',
  'crl',
  'dhparam',
  'ecdhCurve',
  'ciphers',
  'honorCipherOrder',
  'sigalgs',
  'minVersion',
  'maxVersion',
] as const

/** The options of `node:tls` for a certificate; the words are those of `tls.createSecureContext`. Contents, not file names. */
export type TlsCertificate = Pick<SecureContextOptions, (typeof certificateNames)[number]>

/** TLS of a listener. */
export interface ListenTls extends TlsCertificate {
  /** Certificates for other names, as clients ask for them (SNI); `'*.example.com'` takes one label. */
  contexts?: Record<string, TlsCertificate>
  /** For names that are not in `contexts`; only with a `Reactor` of this thread, since functions cannot cross threads. */
  SNICallback?: TlsOptions['SNICallback']
  /** In order of preference, such as `['h2', 'http/1.1']`. A client that offers only others is refused. */
  ALPNProtocols?: readonly string[]
  /** Ask clients for a certificate. Default false. */
  requestCert?: boolean
  /** Reject clients without a certificate signed by `ca`. Default true; without effect unless `requestCert`. */
  rejectUnauthorized?: boolean
  /** 48 bytes that encrypt session tickets. Default: random, the same on every reactor. Give your own to share them between processes. */
  ticketKeys?: Uint8Array
  /** Seconds for which a session can be resumed. Default 300. */
  sessionTimeout?: number
}

const tlsNames = [
  ...certificateNames,
  'contexts',
  'SNICallback',
  'ALPNProtocols',
  'requestCert',
  'rejectUnauthorized',
  'ticketKeys',
  'sessionTimeout',
] as const

/**
 * Checks names, types, and that keys and certificates fit together, without a handshake. Its result can cross
 * threads, unless there is an `SNICallback`. Throws `ERR_MR_TLS` with OpenSSL's words as the cause.
 */
export function readTls(where: string, value: unknown, crossesThreads: boolean): ListenTls {
  const at = `${where} tls`
  const read = new OptionReader(at, value, tlsNames)
  const tls = value as ListenTls
  if (tls.cert === undefined && tls.pfx === undefined && tls.contexts === undefined) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${at}: needs cert and key, or pfx, or contexts: the contents of the files, not their names`,
    )
  }
  if (read.func('SNICallback') && crossesThreads) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${at}: 'SNICallback' is a function and cannot cross threads: use 'contexts'`,
    )
  }
  const { ALPNProtocols: protocols, ticketKeys } = tls
  if (
    protocols !== undefined &&
    !(Array.isArray(protocols) && protocols.every((one) => typeof one === 'string' && one.length > 0 && one.length < 256))
  ) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${at}: 'ALPNProtocols' must be a list of names such as ['http/1.1'], and is ${shown(protocols)}`,
    )
  }
  if (ticketKeys !== undefined && !(ticketKeys instanceof Uint8Array && ticketKeys.length === 48)) {
    throw new MultireactorError('ERR_MR_OPTION_RANGE', `${at}: 'ticketKeys' must be 48 bytes`)
  }
  read.boolean('requestCert', false)
  read.boolean('rejectUnauthorized', true)
  read.integer('sessionTimeout', 300, 1, 604_800)
  check(at, tls)
  for (const [name, context] of Object.entries(tls.contexts ?? {})) {
    new OptionReader(`${at} contexts ${name}`, context, certificateNames)
    check(`${at} contexts ${name}`, context)
  }
  return { ...tls, ticketKeys: ticketKeys ?? process.getBuiltinModule('node:crypto').randomBytes(48) }
}

/** The part of the options that makes a context. */
export function certificateOf(tls: TlsCertificate): SecureContextOptions {
  return Object.fromEntries(certificateNames.flatMap((name) => (tls[name] === undefined ? [] : [[name, inBuffers(tls[name])]])))
}

function check(where: string, tls: TlsCertificate): void {
  const named = notContents(tls)
  try {
    // Loaded here: few servers need it.
    process.getBuiltinModule('node:tls').createSecureContext(certificateOf(tls))
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new MultireactorError('ERR_MR_TLS', `${where}: ${reason}: ${named ?? 'cert and key must be PEM and belong together'}`, {
      cause,
    })
  }
  // OpenSSL skips input that is not a certificate among those of authorities.
  if (named !== undefined) throw new MultireactorError('ERR_MR_TLS', `${where}: ${named}`)
}

/** Says which of them looks like the name of a file. */
function notContents(tls: TlsCertificate): string | undefined {
  for (const name of ['cert', 'key', 'ca', 'crl'] as const) {
    const wrong = [tls[name]].flat().find((one) => typeof one === 'string' && !one.includes('-----BEGIN'))
    if (wrong !== undefined)
      return `'${name}' must be the contents of a PEM file, such as readFileSync(name), and is ${shown(wrong)}`
  }
  return undefined
}

/** Bytes that crossed threads are a Uint8Array there, and OpenSSL is asked with Buffers. */
function inBuffers(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inBuffers)
  return value instanceof Uint8Array && !Buffer.isBuffer(value)
    ? Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    : value
}

export function noTls(where: string, listener: unknown, known: readonly string[]): MultireactorError {
  return new MultireactorError(
    'ERR_MR_OPTION_RANGE',
    `${where}: must be the name of a listener with tls (${known.join(', ') || 'there is none'}), and is ${shown(listener)}`,
  )
}
