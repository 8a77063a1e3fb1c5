import type { TLSSocket } from 'node:tls'
import { ConnectionDuplex, type DuplexMaking } from './duplex.js'

/** Members of a `tls.TLSSocket` beside those fixed by the handshake. */
const told = [
  'disableRenegotiation',
  'enableTrace',
  'exportKeyingMaterial',
  'getCertificate',
  'getCipher',
  'getEphemeralKeyInfo',
  'getFinished',
  'getPeerCertificate',
  'getPeerFinished',
  'getPeerX509Certificate',
  'getProtocol',
  'getSession',
  'getSharedSigalgs',
  'getTLSTicket',
  'getX509Certificate',
  'isSessionReused',
  'renegotiate',
  'setMaxSendFragment',
] as const

/** Made by `conn.toDuplex()` of a connection with TLS: with the facts of a `tls.TLSSocket` about the handshake and of the peer, too. */
// biome-ignore lint/suspicious/noUnsafeDeclarationMerging: the loop below defines the members of the interface
export class SecureDuplex extends ConnectionDuplex {
  /** Always true. */
  override encrypted = true
  /** Whether the peer's certificate was verified, as of `tls.TLSSocket`. */
  readonly authorized: boolean
  /** Why it was not; null when it was. */
  readonly authorizationError: Error | null
  /** The protocol that ALPN chose; false without one. */
  readonly alpnProtocol: string | false | null
  /** The name that the client asked for (SNI); false without one. */
  readonly servername: string | false | null

  /** @internal Made by `conn.toDuplex()`. */
  constructor(made: DuplexMaking) {
    super(made)
    const { tls } = made.link
    this.timeout = 0 // as Node's
    this.authorized = tls?.authorized ?? false
    this.authorizationError = tls?.authorizationError ?? null
    this.alpnProtocol = tls?.alpnProtocol ?? null
    this.servername = tls?.servername ?? null
  }
}

/** By `node:tls`, which answers for a closed connection as it does for a closed socket. */
export interface SecureDuplex extends Pick<TLSSocket, (typeof told)[number]> {}

for (const name of told) {
  Object.defineProperty(SecureDuplex.prototype, name, {
    configurable: true,
    writable: true,
    value(this: SecureDuplex, ...args: unknown[]): unknown {
      const socket = this.connection.tls as unknown as Partial<Record<string, (...args: unknown[]) => unknown>> | undefined
      return socket?.[name]?.(...args)
    },
  })
}
