// The broker of one reactor, and the state that its thread hands to the next one at a reload.
import { setImmediate as turn } from 'node:timers/promises'
import { BroadcastChannel } from 'node:worker_threads'
import { Aedes, type AuthenticateError, type Client, type Subscription } from 'aedes'
import mqemitter from 'mqemitter'
import type { StartContext } from 'multireactor'
import { counts } from './counts.ts'
import { FanOut, isQuestion } from './fan_out.ts'
import { homeOf } from './home.ts'
import { limits } from './limits.ts'
import { decodeAll, encodeAll } from './message.ts'
import type { PacketStream } from './packet_stream.ts'
import { forwarder, Publisher } from './publisher.ts'
import { Retained } from './retained.ts'
import { Sessions, type SessionState } from './sessions.ts'
import { hasWildcard, isGranted } from './topics.ts'
import { Users } from './users.ts'

const refused = { unavailable: 3, credentials: 4, notAuthorized: 5 } as const

/** The state that a thread leaves to the next one of its reactor. */
interface Legacy {
  sessions: SessionState[]
  retained: Uint8Array
}

type ReactorContext = Extract<StartContext, { role: 'reactor' }>

export class BrokerThread {
  readonly reactor: number
  readonly #server: ReactorContext['server']
  readonly #users: Users | undefined
  readonly #retained = new Retained()
  readonly #sessions = new Sessions(this.#retained)
  readonly #fanOut: FanOut
  readonly #publisher: Publisher
  readonly #channel: BroadcastChannel
  readonly #timers: NodeJS.Timeout[]
  #broker!: Aedes
  #legacy: Legacy | undefined
  #ready: Promise<void> | undefined
  #isReady = false
  #told = JSON.stringify(counts)

  static async start(context: ReactorContext): Promise<BrokerThread> {
    const thread = new BrokerThread(context)
    await thread.#start()
    return thread
  }

  private constructor({ index, listeners, server }: ReactorContext) {
    const file = process.env['MQTT_USERS']
    const open = listeners.find(({ address }) => !isLoopback(address))
    if (!file && open) {
      throw new Error(`${open.address} can be reached from outside: set MQTT_USERS to a file of users, or listen on 127.0.0.1`)
    }
    this.#users = file ? new Users(file) : undefined
    this.reactor = index
    this.#server = server
    this.#fanOut = new FanOut(server, index)
    this.#publisher = new Publisher(this.#fanOut, this.#retained, this.#sessions, () => this.#broker)
    this.#channel = new BroadcastChannel(`mqtt ${server.token} ${index}`)
    this.#channel.unref()
    this.#channel.onmessage = (event) => {
      this.#legacy = (event as { data: Legacy }).data
    }
    this.#timers = [setInterval(() => this.#sessions.expire(), 60_000), setInterval(() => this.#tellCounts(), 1_000)]
    for (const timer of this.#timers) timer.unref()
  }

  async #start(): Promise<void> {
    const mq = mqemitter()
    const emit = mq.emit.bind(mq)
    // A publisher does not wait for subscribers: `PacketStream` bounds the queue of each of them.
    mq.emit = (message, done) => {
      emit(message, () => {})
      done?.()
    }
    this.#broker = await Aedes.createBroker({
      mq,
      persistence: this.#sessions,
      // Of listeners on a connection; packets before CONNACK wait in `PacketStream`.
      concurrency: 0,
      preConnect: (client, packet, done) => {
        const { will } = packet
        if (will && (will.topic === '' || hasWildcard(will.topic))) return done(new Error('not a topic for a will'), false)
        const size = will ? will.topic.length + will.payload.length : 0
        const stream = client.conn as PacketStream
        if (size > limits.willBytes || (size > 0 && !this.#sessions.hasRoomForWill(size))) stream.refusal = refused.unavailable
        done(null, true)
      },
      authenticate: (client, name, token, done) => {
        const code = this.#refusal(client, name, token)
        if (code === 0) return done(null, true)
        done(Object.assign(new Error('refused'), { returnCode: code }) as AuthenticateError, false)
      },
      authorizeSubscribe: (client, subscription, done) => done(null, this.#grants(client, subscription) ? subscription : null),
      authorizePublish: this.#publisher.authorize,
      authorizeForward: forwarder(this.#sessions),
    })
    const broker = this.#broker
    broker.on('connackSent', ({ returnCode }, client) => {
      if (returnCode === 0) (client.conn as PacketStream).enter('served')
    })
    // At a takeover the old connection leaves between the CONNECT of the new one and this.
    broker.on('client', ({ id }) => this.#sessions.arrive(id))
    broker.on('clientDisconnect', ({ id }) => this.#sessions.leave(id))
    broker.on('unsubscribe', (topics, client) => {
      const { subscribed } = client.conn as PacketStream
      for (const topic of topics) subscribed.delete(topic)
    })
    // A fault of a peer closes its connection, and is not an error of the server.
    broker.on('clientError', () => {})
    broker.on('connectionError', () => {})
  }

  /** The reactor of a client. One without an id stays where it is. */
  homeOf(clientId: string): number {
    return clientId === '' ? this.reactor : homeOf(clientId, this.#server.reactors)
  }

  /** Gives the stream to the broker as soon as the broker is ready for it. */
  admit(stream: PacketStream): void {
    this.#ready ??= this.#begin()
    void this.#ready.then(() => {
      if (stream.destroyed) return
      this.#broker.handle(stream)
      stream.enter('connecting')
    })
  }

  onCall(bytes: Buffer): Buffer | undefined | Promise<Buffer | undefined> {
    this.#ready ??= this.#begin()
    // A thread that begins may be asked by one that it asks itself. A publication waits for the sessions that it belongs to.
    if (this.#isReady || isQuestion(bytes)) return this.#publisher.onCall(bytes)
    return this.#ready.then(() => this.#publisher.onCall(bytes))
  }

  closed(reason: string): void {
    if (reason === 'slow-consumer') counts.closedAsSlow++
  }

  /** The thread ends: at a reload, the next one takes over. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    await new Promise<void>((resolve) => this.#broker.close(resolve))
    // The wills of clients that were closed.
    await this.#publisher.idle()
    const legacy: Legacy = { sessions: this.#sessions.state(), retained: encodeAll([...this.#retained.all()]) }
    this.#channel.postMessage(legacy)
    this.#channel.close()
  }

  /** The first thing that this thread does on its reactor. */
  async #begin(): Promise<void> {
    await this.#takeOver()
    this.#isReady = true
  }

  async #takeOver(): Promise<void> {
    // The state of the thread before was posted before this one got the reactor: in one turn of the loop it is here.
    await turn()
    await turn()
    const legacy = this.#legacy
    if (legacy) {
      this.#legacy = undefined
      const { sessions, retained } = legacy
      const bytes = Buffer.from(retained.buffer, retained.byteOffset, retained.byteLength)
      for (const message of decodeAll(bytes)) this.#retained.store(message)
      return this.#sessions.adopt(sessions)
    }
    try {
      for await (const message of this.#fanOut.retained()) this.#retained.store(message)
    } catch {
      // One that has just died has none either.
    }
  }

  #refusal(client: Client, name: string | undefined, token: Buffer | undefined): number {
    const stream = client.conn as PacketStream
    if (this.#users) {
      if (!this.#users.knows(name, token)) return refused.credentials
      stream.user = name
      // A client id is its user's: another one gets neither its session nor its place.
      const owner = this.#sessions.owner(client.id) ?? (this.#clients()[client.id]?.conn as PacketStream | undefined)
      if (owner && owner.user !== name) return refused.notAuthorized
    }
    if (stream.refusal !== undefined) return stream.refusal
    return client.clean || this.#sessions.open(client, stream.user) ? 0 : refused.unavailable
  }

  #clients(): Record<string, Client | undefined> {
    return (this.#broker as unknown as { clients: Record<string, Client | undefined> }).clients
  }

  #grants(client: Client, { topic, qos }: Subscription): boolean {
    const stream = client.conn as PacketStream
    const { subscribed } = stream
    if (!isGranted(topic)) return false
    if (!subscribed.has(topic)) {
      let bytes = Buffer.byteLength(topic)
      for (const other of subscribed) bytes += other.length
      if (subscribed.size >= limits.subscriptions || bytes > limits.subscriptionBytes) return false
      subscribed.add(topic)
    }
    stream.mostQos = Math.max(stream.mostQos, qos) as 0 | 1 | 2
    return true
  }

  #tellCounts(): void {
    const now = JSON.stringify(counts)
    if (now === this.#told) return
    this.#told = now
    this.#publisher.publishOwn(`$SYS/reactors/${this.reactor}/counts`, now).catch(() => {})
  }
}

function isLoopback(address: string): boolean {
  // A Unix path can be reached from this machine only, and only with the permissions of its folder.
  return address.startsWith('127.') || address === '::1' || address.startsWith('/')
}
