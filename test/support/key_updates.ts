import { createCipheriv, createDecipheriv, createHmac } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { Duplex } from 'node:stream'
import tls from 'node:tls'

/** Types of the contents of a record, by RFC 8446 (B.1, B.3). */
const handshakeType = 22
const applicationData = 23
const keyUpdate = 24

/** The keys of one direction, and how many records they have protected. */
class Keys {
  #secret: Buffer
  #key!: Buffer
  #iv!: Buffer
  #records = 0

  constructor(secret: Buffer) {
    this.#secret = secret
    this.#derive()
  }

  /** RFC 8446, 7.2. */
  update(): void {
    this.#secret = expand(this.#secret, 'traffic upd', 32)
    this.#derive()
  }

  #derive(): void {
    this.#key = expand(this.#secret, 'key', 16)
    this.#iv = expand(this.#secret, 'iv', 12)
    this.#records = 0
  }

  /** RFC 8446, 5.3. */
  #nonce(): Buffer {
    const nonce = Buffer.from(this.#iv)
    nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ this.#records) >>> 0, 8)
    return nonce
  }

  seal(type: number, content: Buffer): Buffer {
    const head = Buffer.from([applicationData, 3, 3, 0, 0])
    head.writeUInt16BE(content.length + 17, 3)
    const cipher = createCipheriv('aes-128-gcm', this.#key, this.#nonce()).setAAD(head)
    this.#records++
    return Buffer.concat([head, cipher.update(content), cipher.update(Buffer.from([type])), cipher.final(), cipher.getAuthTag()])
  }

  /** Undefined when it is not the next record of these keys. */
  open(record: Buffer): { type: number; content: Buffer } | undefined {
    const cipher = createDecipheriv('aes-128-gcm', this.#key, this.#nonce()).setAAD(record.subarray(0, 5))
    cipher.setAuthTag(record.subarray(-16))
    const plain = cipher.update(record.subarray(5, -16))
    try {
      cipher.final()
    } catch {
      return undefined
    }
    this.#records++
    return { type: plain.at(-1)!, content: plain.subarray(0, -1) }
  }
}

/** HKDF-Expand-Label of RFC 8446 (7.1) with SHA-256, for at most one of its blocks. */
function expand(secret: Buffer, label: string, length: number): Buffer {
  const name = `tls13 ${label}`
  const info = Buffer.from([0, length, name.length, ...Buffer.from(name), 0, 1])
  return createHmac('sha256', secret).update(info).digest().subarray(0, length)
}

/**
 * A client of TLS 1.3 that asks for new keys (KeyUpdate, RFC 8446, 4.6.3), for which `node:tls` has no call: the handshake is Node's, and
 * later records are made here with the secrets from `keylog`.
 */
export class KeyUpdateClient {
  readonly #socket: net.Socket
  readonly #sends: Keys
  readonly #receives: Keys
  #unread: Buffer
  /** Unrequested messages of the server: KeyUpdate messages. */
  updates = 0
  text = ''

  private constructor(socket: net.Socket, sends: Keys, receives: Keys, unread: Buffer) {
    this.#socket = socket
    this.#sends = sends
    this.#receives = receives
    this.#unread = unread
    this.#take()
    socket.on('data', (bytes: Buffer) => {
      this.#unread = Buffer.concat([this.#unread, bytes])
      this.#take()
    })
  }

  static async connect(port: number, ca: Buffer, servername: string): Promise<KeyUpdateClient> {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    socket.on('error', () => {})
    const received: Buffer[] = []
    const below = new Duplex({
      read() {},
      write(bytes: Buffer, _encoding, done) {
        if (!taken) socket.write(bytes)
        done()
      },
    })
    let taken = false
    const forward = (bytes: Buffer): void => {
      received.push(bytes)
      below.push(bytes)
    }
    socket.on('data', forward)
    const handshake = tls.connect({ socket: below, ca, servername, minVersion: 'TLSv1.3', ciphers: 'TLS_AES_128_GCM_SHA256' })
    const secrets = new Map<string, Buffer>()
    handshake.on('keylog', (line: Buffer) => {
      const [name, , secret] = line.toString().trim().split(' ') as [string, string, string]
      secrets.set(name, Buffer.from(secret, 'hex'))
    })
    await once(handshake, 'secureConnect')
    // Node's side has sent no record with these keys, and hears and says nothing from here on.
    taken = true
    socket.off('data', forward)
    handshake.destroy()
    const [sends, receives] = ['CLIENT_TRAFFIC_SECRET_0', 'SERVER_TRAFFIC_SECRET_0'].map((name) => new Keys(secrets.get(name)!))
    return new KeyUpdateClient(socket, sends!, receives!, Buffer.concat(received))
  }

  /** Records that the traffic secret does not protect belong to the handshake. */
  #take(): void {
    while (this.#unread.length >= 5 && this.#unread.length >= 5 + this.#unread.readUInt16BE(3)) {
      const record = this.#unread.subarray(0, 5 + this.#unread.readUInt16BE(3))
      this.#unread = this.#unread.subarray(record.length)
      const opened = record[0] === applicationData ? this.#receives.open(record) : undefined
      if (opened?.type === applicationData) this.text += opened.content.toString()
      if (opened?.type !== handshakeType || opened.content[0] !== keyUpdate) continue
      this.updates++
      this.#receives.update()
    }
  }

  /** The records of so many requests for new keys, and behind them of `text`. */
  updatesAnd(count: number, text = '', request: number = 1): Buffer {
    const records: Buffer[] = []
    for (let i = 0; i < count; i++) {
      records.push(this.#sends.seal(handshakeType, Buffer.from([keyUpdate, 0, 0, 1, request])))
      this.#sends.update()
    }
    if (text !== '') records.push(this.#sends.seal(applicationData, Buffer.from(text)))
    return Buffer.concat(records)
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  pause(): void {
    this.#socket.pause()
  }

  /** Until the server has sent `text`, or has closed. */
  async until(text: string): Promise<void> {
    while (this.text !== text && !this.#socket.closed) {
      await new Promise((resolve) => this.#socket.once('data', resolve).once('close', resolve))
    }
  }

  async untilClosed(): Promise<void> {
    if (!this.#socket.closed) await new Promise((resolve) => this.#socket.once('close', resolve))
  }

  destroy(): void {
    this.#socket.destroy()
  }
}
