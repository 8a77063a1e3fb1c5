import { Duplex } from 'node:stream'
import { createSecureContext, createServer, type SecureContext, type Server, type TLSSocket } from 'node:tls'
import { type NativeReactorDriver, shown } from '@multireactor/addon'
import { leastPiece, PieceSize } from './piece_size.js'
import { certificateOf, type ListenTls } from './tls_options.js'

/**
 * So much may come between two pieces of plaintext once the handshake is over: several records, or a handshake with certificates. A peer
 * that goes on asking for new keys costs CPU and says nothing.
 */
const mostSilentBytes = 64 << 10
/** Read at once of a connection whose cost for a byte is still unknown; `kFirstCipher` of `native/src/reactor/secure.h`. */
const firstPiece = 16 << 10

/** The part of an engine that the layers of a thread use. */
export interface SecureEngine {
  readonly driver: NativeReactorDriver
  /** Something was written. */
  touched(): void
}

/** TLS of one listener, on one reactor: the handshakes' settings, which can change while connections live. */
export class SecureListener {
  readonly #server: Server
  #tls: ListenTls
  #contexts: Map<string, SecureContext>

  constructor(tls: ListenTls) {
    this.#tls = tls
    this.#contexts = contextsOf(tls)
    this.#server = createServer({
      ...this.#context(),
      SNICallback: (name, done) => this.#choose(name, done),
      ...(tls.ALPNProtocols ? { ALPNProtocols: [...tls.ALPNProtocols] } : {}),
      requestCert: tls.requestCert ?? false,
      rejectUnauthorized: tls.rejectUnauthorized ?? true,
      allowHalfOpen: true,
      // The reactor's own limits end a handshake that takes too long.
      handshakeTimeout: 0x7fff_ffff,
    })
    this.#server.on('secureConnection', (socket: Wrapped) => socket._handle?._parentWrap?.stream?.layer.onEstablished(socket))
    // The stream below is destroyed, and says so.
    this.#server.on('tlsClientError', () => {})
  }

  /** New certificates for handshakes from now on; open connections keep theirs. */
  replace(tls: ListenTls): void {
    this.#contexts = contextsOf(tls)
    this.#tls = tls
    this.#server.setSecureContext(this.#context())
  }

  accept(stream: CipherStream): void {
    this.#server.emit('connection', stream)
  }

  /** A fresh connection. */
  layer(engine: SecureEngine, slot: number, generation: number): SecureLayer {
    return new SecureLayer(engine, this, slot, generation)
  }

  #context() {
    const { ticketKeys, sessionTimeout } = this.#tls
    return {
      ...certificateOf(this.#tls),
      ticketKeys: Buffer.from(ticketKeys!),
      sessionIdContext: 'multireactor',
      ...(sessionTimeout === undefined ? {} : { sessionTimeout }),
    }
  }

  #choose(name: string, done: (error: Error | null, context?: SecureContext) => void): void {
    const lower = name.toLowerCase()
    const context = this.#contexts.get(lower) ?? this.#contexts.get(lower.replace(/^[^.]+/, '*'))
    if (context) return done(null, context)
    if (!this.#tls.SNICallback) return done(null)
    // Its error or rejection ends the handshake at hand: `tls-error`.
    const failed = (error: unknown): void => done(error instanceof Error ? error : new Error(shown(error)))
    try {
      const result: unknown = this.#tls.SNICallback(name, done)
      if (result instanceof Promise) result.catch(failed)
    } catch (error) {
      failed(error)
    }
  }
}

function contextsOf(tls: ListenTls): Map<string, SecureContext> {
  const { ticketKeys } = tls
  return new Map(
    Object.entries(tls.contexts ?? {}).map(([name, one]) => [
      name.toLowerCase(),
      createSecureContext({ ...certificateOf(one), ticketKeys: Buffer.from(ticketKeys!), sessionIdContext: 'multireactor' }),
    ]),
  )
}

/** `node:tls` over a stream keeps it there. */
type Wrapped = TLSSocket & { _handle?: { _parentWrap?: { stream?: CipherStream } } }

/** TLS of one connection: received bytes go through it to the framing, and sent bytes to the socket. */
export class SecureLayer {
  readonly #engine: SecureEngine
  readonly #slot: number
  readonly #generation: number
  readonly #stream: CipherStream
  #socket: TLSSocket | undefined
  readonly #pieces = new PieceSize(firstPiece, 1)
  /** Received since the last plaintext. */
  #silentBytes = 0
  #closed = false
  #failed = false

  constructor(engine: SecureEngine, listener: SecureListener, slot: number, generation: number) {
    this.#engine = engine
    this.#slot = slot
    this.#generation = generation
    this.#stream = new CipherStream(this)
    this.#stream.on('error', () => {})
    listener.accept(this.#stream)
  }

  /** Knows the peer's certificate, the protocol and the cipher. There from the handshake's end on. */
  get socket(): TLSSocket | undefined {
    return this.#socket
  }

  // ---------------------------------------------------------------- calls of the engine

  received(bytes: Buffer | undefined): void {
    if (bytes === undefined) return void this.#stream.push(null)
    // Asked before the next piece: by then the plain bytes of the last one are out.
    if (this.#silentBytes > mostSilentBytes) this.#fail()
    else this.#decrypt(bytes)
    this.#engine.driver.decrypted(this.#slot, this.#generation, this.#pieces.bytes)
  }

  #decrypt(bytes: Buffer): void {
    const { length } = bytes
    if (this.#socket) this.#silentBytes += length
    if (length <= leastPiece) return void this.#stream.push(bytes)
    const since = performance.now()
    this.#stream.push(bytes)
    this.#pieces.took(length, performance.now() - since)
  }

  #fail(): void {
    this.#failed = true
    this.#socket!.destroy()
  }

  /** Plaintext to be sent; without it, the last of it has been. */
  send(bytes: Buffer | undefined): void {
    if (bytes === undefined) return void this.#socket?.end()
    this.#socket?.write(bytes, () => {
      this.#engine.driver.encrypted(this.#slot, this.#generation, bytes.length)
      this.#engine.touched()
    })
  }

  closed(): void {
    this.#closed = true
    this.#stream.destroy()
    this.#socket?.destroy()
  }

  // ---------------------------------------------------------------- calls of node:tls

  onEstablished(socket: TLSSocket): void {
    this.#socket = socket
    const { driver } = this.#engine
    driver.established(this.#slot, this.#generation)
    socket.on('data', (plain: Buffer) => {
      this.#silentBytes = 0
      driver.feed(this.#slot, this.#generation, plain)
    })
    socket.on('end', () => driver.feedEnd(this.#slot, this.#generation))
    // Of a peer that asks for handshakes again and again it only tells, and would go on.
    socket.on('error', () => this.#fail())
  }

  write(bytes: Uint8Array): void {
    if (this.#closed) return
    this.#engine.driver.writeCipher(this.#slot, this.#generation, bytes)
    this.#engine.touched()
  }

  /** The goodbye has been written. */
  onFinal(): void {
    if (this.#closed) return
    this.#engine.driver.cipherEnd(this.#slot, this.#generation)
    this.#engine.touched()
  }

  onDestroyed(): void {
    if (this.#closed) return
    const { driver } = this.#engine
    if (!this.#socket || this.#failed) driver.secureFailed(this.#slot, this.#generation)
    else driver.cipherEnd(this.#slot, this.#generation)
    this.#engine.touched()
  }
}

/** The socket, as `node:tls` sees it. */
class CipherStream extends Duplex {
  readonly layer: SecureLayer

  constructor(layer: SecureLayer) {
    super({ allowHalfOpen: true })
    this.layer = layer
  }

  /** The reactor stops reading by itself where the connection pauses. */
  override _read(): void {}

  override _write(chunk: Uint8Array, _encoding: BufferEncoding, callback: () => void): void {
    this.layer.write(chunk)
    callback()
  }

  override _writev(chunks: { chunk: Uint8Array }[], callback: () => void): void {
    for (const { chunk } of chunks) this.layer.write(chunk)
    callback()
  }

  override _final(callback: () => void): void {
    this.layer.onFinal()
    callback()
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.layer.onDestroyed()
    callback(error)
  }
}
