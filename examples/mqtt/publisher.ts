// Publications of clients, on every reactor: sent to the others first, then to the broker here, which then acknowledges it.
import type { Aedes, AedesPublishPacket, Client, PublishPacket } from 'aedes'
import { counts } from './counts.ts'
import { type FanOut, isQuestion, publications } from './fan_out.ts'
import { encodeAll, type Message } from './message.ts'
import type { PacketStream } from './packet_stream.ts'
import type { Retained } from './retained.ts'
import type { Sessions } from './sessions.ts'

type Done = (error?: Error | null) => void

export class Publisher {
  readonly #fanOut: FanOut
  readonly #retained: Retained
  readonly #sessions: Sessions
  readonly #broker: () => Aedes
  #open = 0
  #onIdle: (() => void) | undefined

  constructor(fanOut: FanOut, retained: Retained, sessions: Sessions, broker: () => Aedes) {
    this.#fanOut = fanOut
    this.#retained = retained
    this.#sessions = sessions
    this.#broker = broker
  }

  /** `authorizePublish` of the broker: `done()` acknowledges, an error closes the connection. The client is null for a will without one. */
  readonly authorize = (client: Client | null, packet: PublishPacket, done: Done): void => {
    // A will is published when its client has closed.
    const stream = client && !client.closed ? (client.conn as PacketStream) : undefined
    const previous = stream?.lastPublication
    const publication = this.#publish(client, stream !== undefined, packet, previous).then(
      () => undefined,
      (error: Error) => error,
    )
    if (stream) stream.lastPublication = publication
    this.#open++
    void publication.then((error) => {
      done(error ?? null)
      if (--this.#open === 0) this.#onIdle?.()
      // The broker publishes it here behind the acknowledgement, and later packets must not overtake it.
      if (stream) setImmediate(() => stream.published())
    })
  }

  /** An `onCall` of another reactor. */
  onCall(bytes: Buffer): Buffer | undefined {
    if (isQuestion(bytes)) return encodeAll([...this.#retained.all()])
    for (const message of publications(bytes)) {
      if (message.retain && !this.#store(message)) counts.retainedWithoutRoom++
      this.#emit(message)
    }
    return undefined
  }

  /** Resolves when all publications have reached all reactors. */
  idle(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#open === 0) resolve()
      else this.#onIdle = resolve
    })
  }

  /** A message of the server itself. */
  async publishOwn(topic: string, payload: string): Promise<void> {
    const message: Message = { topic, payload: Buffer.from(payload), qos: 0, retain: true, madeAt: process.hrtime.bigint() }
    this.#store(message)
    this.#emit(message)
    await this.#fanOut.tell(message)
  }

  async #publish(client: Client | null, isLive: boolean, packet: PublishPacket, previous?: Promise<unknown>): Promise<void> {
    const { topic, qos, retain } = packet
    if (topic.startsWith('$SYS')) throw new Error("$SYS topics are the server's")
    const message: Message = { topic, payload: packet.payload as Buffer, qos, retain, madeAt: process.hrtime.bigint() }
    const exactlyOnce = isLive && qos === 2
    if (exactlyOnce) {
      // It has been published before: the broker only says so once more.
      if (this.#sessions.hasIncoming(client!.id, packet.messageId!)) return
      if (!this.#sessions.addIncoming(client!.id, packet.messageId!)) throw new Error('too many messages wait for PUBREL')
    }
    try {
      if (retain && !this.#store(message)) throw new Error('no room for more retained messages')
      await this.#tell(message)
    } catch (error) {
      // Not acknowledged: it may come again.
      if (exactlyOnce) this.#sessions.removeIncoming(client!.id, packet.messageId!)
      throw error
    }
    await previous
    // The broker does not publish messages in `incoming`, nor for a client that has left.
    if (exactlyOnce || (isLive && qos === 1 && client!.closed)) this.#emit(message)
  }

  async #tell(message: Message): Promise<void> {
    try {
      await this.#fanOut.tell(message)
    } catch (error) {
      if (message.qos > 0) throw error
      counts.droppedBetweenReactors++
    }
  }

  #store(message: Message): boolean {
    if (!this.#retained.hasRoom(message)) return false
    this.#retained.store(message)
    return true
  }

  #emit({ topic, payload, qos, retain }: Message): void {
    const packet: PublishPacket = { cmd: 'publish', topic, payload, qos, retain, dup: false }
    this.#broker().publish(packet, () => {})
  }
}

/** `authorizeForward` of the broker: the form of a publication for this subscriber. */
export function forwarder(sessions: Sessions) {
  return (client: Client, packet: AedesPublishPacket): AedesPublishPacket | null => {
    const stream = client.conn as PacketStream
    const waits = packet.messageId !== undefined
    // Goes behind the session's waiting messages: the replay comes to it.
    if (!waits && packet.qos > 0 && sessions.isReplaying(client)) return null
    const qos = Math.min(packet.qos, stream.mostQos) as 0 | 1 | 2
    if (qos === 0 && stream.isSlow && !packet.retain) {
      counts.droppedForSlow++
      return null
    }
    return qos === packet.qos || waits ? packet : { ...packet, qos }
  }
}
