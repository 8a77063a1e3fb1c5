import { Client } from './client.js'

/** One packet as the peer got it. */
export interface Packet {
  type: number
  flags: number
  body: Buffer
}

export interface Publication {
  topic: string
  payload: string
  qos: number
  retain: boolean
  dup: boolean
  id: number
}

export const type = {
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  suback: 9,
  unsuback: 11,
  pingresp: 13,
} as const

export function packet(first: number, ...parts: (string | Uint8Array | number)[]): Buffer {
  const body = Buffer.concat(
    parts.map((part) =>
      typeof part === 'string' ? text(part) : typeof part === 'number' ? Buffer.from([part >> 8, part & 255]) : part,
    ),
  )
  const length: number[] = []
  let rest = body.length
  do {
    length.push((rest & 127) | (rest > 127 ? 128 : 0))
    rest >>= 7
  } while (rest > 0)
  return Buffer.concat([Buffer.from([first, ...length]), body])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([bytes.length >> 8, bytes.length & 255]), bytes])
}

export interface ConnectOptions {
  clean?: boolean
  level?: number
  will?: { topic: string; payload: string; qos?: number; retain?: boolean }
  user?: string
  token?: string
}

export function connect(id: string, { clean = true, level = 4, will, user, token }: ConnectOptions = {}): Buffer {
  let flags = clean ? 2 : 0
  const payload: (string | Buffer)[] = [id]
  if (will) {
    flags |= 4 | ((will.qos ?? 0) << 3) | (will.retain ? 32 : 0)
    payload.push(will.topic, will.payload)
  }
  if (user !== undefined) {
    flags |= 128
    payload.push(user)
  }
  if (token !== undefined) {
    flags |= 64
    payload.push(token)
  }
  // The name of the protocol, its level, the flags, no keep-alive; of level 5, no properties.
  return packet(0x10, 'MQTT', Uint8Array.of(level, flags, 0, 0, ...(level === 5 ? [0] : [])), ...payload)
}

export function publish(
  topic: string,
  payload: string | Uint8Array,
  more: { qos?: number; id?: number; retain?: boolean; dup?: boolean } = {},
): Buffer {
  const { qos = 0, id = 1, retain = false, dup = false } = more
  const first = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
  return packet(first, topic, ...(qos > 0 ? [id] : []), Buffer.from(payload as string))
}

export function subscribe(filters: readonly string[], qos = 0, id = 1): Buffer {
  return packet(0x82, id, ...filters.flatMap((filter) => [filter, Uint8Array.of(qos)]))
}

export const disconnect = packet(0xe0)

/** An MQTT 3.1.1 client that sends only on request: no acknowledgement of its own unless `acknowledges` says so. */
export class MqttPeer {
  readonly client: Client
  readonly packets: Packet[] = []
  acknowledges = true
  #at = 0

  constructor(client: Client) {
    this.client = client
    client.socket.on('data', () => this.#read())
  }

  static async open(port: number): Promise<MqttPeer> {
    return new MqttPeer(await Client.connect(port))
  }

  /** Resolves when the CONNACK has come. */
  static async connect(port: number, id: string, options: ConnectOptions = {}): Promise<MqttPeer> {
    const peer = await MqttPeer.open(port)
    peer.write(connect(id, options))
    await peer.next(type.connack)
    return peer
  }

  get connack(): { present: boolean; code: number } | undefined {
    const found = this.packets.find((one) => one.type === type.connack)
    return found && { present: found.body[0] === 1, code: found.body[1]! }
  }

  get publications(): Publication[] {
    return this.packets.filter((one) => one.type === type.publish).map(publicationOf)
  }

  get payloads(): string[] {
    return this.publications.map(({ payload }) => payload)
  }

  count(wanted: number): number {
    return this.packets.filter((one) => one.type === wanted).length
  }

  write(...parts: Uint8Array[]): void {
    this.client.write(Buffer.concat(parts))
  }

  /** Resolves when so many packets of a type have come. */
  async next(wanted: number, count = 1): Promise<Packet> {
    await this.client.until(() => this.count(wanted) >= count)
    return this.packets.filter((one) => one.type === wanted)[count - 1]!
  }

  /** Resolves to the SUBACK code of each filter. */
  async subscribe(filters: readonly string[], qos = 0): Promise<number[]> {
    const before = this.count(type.suback)
    this.write(subscribe(filters, qos))
    return [...(await this.next(type.suback, before + 1)).body.subarray(2)]
  }

  /** Resolves when it has been acknowledged. */
  async publish(topic: string, payload: string, more: { retain?: boolean; id?: number } = {}): Promise<void> {
    const before = this.count(type.puback)
    this.write(publish(topic, payload, { qos: 1, ...more }))
    await this.next(type.puback, before + 1)
  }

  /** Resolves when so many publications have come, to their payloads. */
  async receive(count: number): Promise<string[]> {
    await this.client.until(() => this.count(type.publish) >= count)
    return this.payloads
  }

  /** Earlier packets have been answered when this resolves. */
  async ping(): Promise<void> {
    const before = this.count(type.pingresp)
    this.write(packet(0xc0))
    await this.next(type.pingresp, before + 1)
  }

  async disconnect(): Promise<void> {
    this.write(disconnect)
    await this.client.untilClosed()
  }

  async reset(): Promise<void> {
    this.client.socket.resetAndDestroy()
    await this.client.untilClosed()
  }

  #read(): void {
    for (let whole = this.#cut(); whole; whole = this.#cut()) {
      this.packets.push(whole)
      if (!this.acknowledges) continue
      const { type: kind, flags, body } = whole
      if (kind === type.pubrec) this.write(packet(0x62, body))
      else if (kind === type.pubrel) this.write(packet(0x70, body))
      else if (kind === type.publish && (flags & 6) !== 0) {
        this.write(packet((flags & 4) !== 0 ? 0x50 : 0x40, publicationOf(whole).id))
      }
    }
  }

  #cut(): Packet | undefined {
    const { received } = this.client
    const first = received[this.#at]
    let length = 0
    let at = this.#at + 1
    for (let shift = 0; ; shift += 7) {
      const byte = received[at++]
      if (byte === undefined) return undefined
      length |= (byte & 127) << shift
      if (byte < 128) break
    }
    if (at + length > received.length) return undefined
    this.#at = at + length
    return { type: first! >> 4, flags: first! & 15, body: received.subarray(at, at + length) }
  }
}

function publicationOf({ flags, body }: Packet): Publication {
  const qos = (flags >> 1) & 3
  const end = 2 + body.readUInt16BE(0)
  const begin = qos > 0 ? end + 2 : end
  return {
    topic: body.toString('utf8', 2, end),
    payload: body.toString('utf8', begin),
    qos,
    retain: (flags & 1) !== 0,
    dup: (flags & 8) !== 0,
    id: qos > 0 ? body.readUInt16BE(end) : 0,
  }
}
