// The sessions of this reactor's clients, as aedes asks its `persistence` for them: subscriptions, messages that wait, QoS 2 in progress.
// In memory, bounded, and fit to be handed to the next thread.
import { Readable } from 'node:stream'
import type { Client } from 'aedes'
import { counts } from './counts.ts'
import { limits } from './limits.ts'
import type { Retained } from './retained.ts'
import { FilterTree, isGranted } from './topics.ts'

type Qos = 0 | 1 | 2
type Named = Pick<Client, 'id'>

interface Subscription {
  topic: string
  qos: Qos
}

/** A waiting message: a publication, or PUBREL behind one of QoS 2. */
interface Outgoing {
  cmd: 'publish' | 'pubrel'
  brokerId?: string
  brokerCounter?: number
  messageId?: number | undefined
  topic: string
  payload: Buffer
  qos: Qos
  retain: boolean
  dup: boolean
}

interface Entry {
  packet: Outgoing
  bytes: number
  /** It may have left before. */
  sent: boolean
  /** The replay goes on. */
  taken: (() => void) | undefined
}

interface Session {
  id: string
  /** Whose it is. */
  user: string | undefined
  subscriptions: Map<string, Subscription & { session: Session }>
  /** By broker and number of the message, in their order. */
  queue: Map<string, Entry>
  /** Keys of the queue, by the packet ids that the client knows. */
  ids: Map<number, string>
  bytes: number
  incoming: Set<number>
  /** When its last connection closed. */
  offlineSince: number | undefined
  /** The client that gets the waiting messages, one after the other: later messages go behind them. */
  replayingTo: Named | undefined
}

/** The state that a thread hands to the next one. */
export type SessionState = Pick<Session, 'id' | 'user' | 'incoming' | 'offlineSince'> & {
  subscriptions: Subscription[]
  queue: { key: string; packet: Outgoing; sent: boolean }[]
}

/** For each message that waits, beside its topic and payload. */
const entryBytes = 512

export class Sessions {
  readonly #retained: Retained
  readonly #sessions = new Map<string, Session>()
  readonly #filters = new FilterTree<Subscription & { session: Session }>()
  /** QoS 2 in progress of clients without a session. */
  readonly #incoming = new Map<string, Set<number>>()
  readonly #wills = new Map<string, { will: unknown; bytes: number }>()
  #willBytes = 0
  #bytes = 0

  constructor(retained: Retained) {
    this.#retained = retained
  }

  // ---------------------------------------------------------------- asked by the app

  /** Opens a session for a client. False: there are too many. From here on publications wait for the replay. */
  open(client: Named, user: string | undefined): boolean {
    const { id } = client
    let session = this.#sessions.get(id)
    if (!session) {
      if (this.#sessions.size >= limits.sessions) return false
      session = fresh(id, user)
      this.#sessions.set(id, session)
    }
    session.replayingTo = client
    return true
  }

  arrive(id: string): void {
    const session = this.#sessions.get(id)
    if (session) session.offlineSince = undefined
  }

  /** Undefined: there is none. */
  owner(id: string): { user: string | undefined } | undefined {
    return this.#sessions.get(id)
  }

  leave(id: string): void {
    const session = this.#sessions.get(id)
    if (session) session.offlineSince = Date.now()
  }

  isReplaying(client: Named): boolean {
    return this.#sessions.get(client.id)?.replayingTo === client
  }

  hasIncoming(id: string, messageId: number): boolean {
    return this.#incomingOf(id)?.has(messageId) ?? false
  }

  /** False: that client has too many. */
  addIncoming(id: string, messageId: number): boolean {
    let incoming = this.#incomingOf(id)
    if (!incoming) {
      incoming = new Set()
      this.#incoming.set(id, incoming)
    }
    if (incoming.size >= limits.incoming) return false
    incoming.add(messageId)
    return true
  }

  removeIncoming(id: string, messageId: number): void {
    this.#incomingOf(id)?.delete(messageId)
  }

  hasRoomForWill(bytes: number): boolean {
    return this.#wills.size < limits.wills && this.#willBytes + bytes <= limits.willsBytes
  }

  expire(): void {
    const oldest = Date.now() - limits.sessionSeconds * 1000
    for (const session of this.#sessions.values()) {
      if ((session.offlineSince ?? Infinity) > oldest) continue
      this.#forget(session)
      counts.sessionsExpired++
    }
  }

  state(): SessionState[] {
    return [...this.#sessions.values()].map(({ id, user, incoming, offlineSince, subscriptions, queue }) => ({
      id,
      user,
      incoming,
      offlineSince: offlineSince ?? Date.now(),
      subscriptions: [...subscriptions.values()].map(({ topic, qos }) => ({ topic, qos })),
      queue: [...queue].map(([key, { packet, sent }]) => ({ key, packet: { ...packet }, sent })),
    }))
  }

  adopt(states: SessionState[]): void {
    for (const { id, user, incoming, offlineSince, subscriptions, queue } of states) {
      const session: Session = { ...fresh(id, user), incoming, offlineSince }
      this.#sessions.set(id, session)
      this.#subscribe(session, subscriptions)
      for (const { key, packet, sent } of queue) {
        const { payload } = packet
        // A structured clone: buffers are plain bytes behind it.
        packet.payload = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)
        this.#add(session, key, packet, sent)
      }
    }
  }

  // ---------------------------------------------------------------- asked by aedes
  // Where it says `now`, the answer is there at once: aedes numbers a publication first and drops a message to a subscriber with a lower
  // number than the one before, so none may overtake another between its steps.

  async setup(): Promise<void> {}

  /** `Publisher` has done that, here and on the other reactors. */
  storeRetained(): PromiseLike<void> {
    return now(undefined)
  }

  createRetainedStreamCombi(filters: string[]): Readable {
    return Readable.from(this.#retainedPackets(filters), { highWaterMark: 1 })
  }

  async *#retainedPackets(filters: string[]) {
    for await (const { topic, payload, qos } of this.#retained.matching(filters)) {
      yield { cmd: 'publish', topic, payload, qos, retain: true }
    }
  }

  async addSubscriptions({ id }: Named, subscriptions: Subscription[]): Promise<void> {
    const session = this.#sessions.get(id)
    // aedes names those too that were refused.
    if (session) this.#subscribe(session, subscriptions)
  }

  async removeSubscriptions({ id }: Named, topics: string[]): Promise<void> {
    const session = this.#sessions.get(id)
    if (session) this.#unsubscribe(session, topics)
  }

  async subscriptionsByClient({ id }: Named): Promise<Subscription[]> {
    return [...(this.#sessions.get(id)?.subscriptions.values() ?? [])].map(({ topic, qos }) => ({ topic, qos }))
  }

  /** Each session once, with the highest QoS of those that match. */
  subscriptionsByTopic(topic: string): PromiseLike<(Subscription & { clientId: string })[]> {
    const best = new Map<string, Subscription & { clientId: string }>()
    for (const { topic: filter, qos, session } of this.#filters.match(topic)) {
      const { id } = session
      if (qos > (best.get(id)?.qos ?? 0)) best.set(id, { clientId: id, topic: filter, qos })
    }
    return now([...best.values()])
  }

  /** The client has said that it wants no session. */
  async cleanSubscriptions({ id }: Named): Promise<void> {
    const session = this.#sessions.get(id)
    if (session) this.#forget(session)
  }

  outgoingEnqueueCombi(subscribers: { clientId: string; qos: Qos }[], packet: Outgoing): PromiseLike<void> {
    if (subscribers.length === 0) return now(undefined)
    // One copy for all: the payload is a part of a block that it would keep in memory.
    const payload = Buffer.from(packet.payload)
    for (const { clientId, qos } of subscribers) {
      const session = this.#sessions.get(clientId)
      const least = Math.min(qos, packet.qos) as Qos
      if (session) this.#add(session, keyOf(packet), { ...packet, payload, qos: least, retain: false }, false)
    }
    return now(undefined)
  }

  async outgoingEnqueue({ clientId }: { clientId: string }, packet: Outgoing): Promise<void> {
    await this.outgoingEnqueueCombi([{ clientId, qos: packet.qos }], packet)
  }

  /** A message is about to leave, with the id that the client will know it by; or PUBREL takes its place. */
  async outgoingUpdate({ id }: Named, packet: Outgoing): Promise<void> {
    const session = this.#sessions.get(id)
    const key = packet.cmd === 'pubrel' ? session?.ids.get(packet.messageId!) : keyOf(packet)
    const entry = key === undefined ? undefined : session!.queue.get(key)
    // The session was full, or is not there any more. aedes closes the connection; its messages go to the next one.
    if (!entry) throw new Error('the session of the client is full')
    if (packet.cmd === 'pubrel') {
      this.#bytes += entryBytes - entry.bytes
      session!.bytes += entryBytes - entry.bytes
      entry.bytes = entryBytes
      entry.packet = { ...entry.packet, cmd: 'pubrel', payload: Buffer.alloc(0) }
    } else {
      packet.messageId = freeId(session!, key!, entry.packet.messageId ?? packet.messageId!)
      packet.qos = entry.packet.qos
      entry.packet.messageId = packet.messageId
      session!.ids.set(packet.messageId, key!)
    }
    entry.sent = true
    entry.taken?.()
  }

  /** The client has it, or will never get it. */
  async outgoingClearMessageId({ id }: Named, { messageId }: Pick<Outgoing, 'messageId'>): Promise<Outgoing | undefined> {
    const session = this.#sessions.get(id)
    const key = messageId === undefined ? undefined : session?.ids.get(messageId)
    if (key === undefined) return undefined
    const { packet } = session!.queue.get(key)!
    this.#remove(session!, key)
    return packet
  }

  /** The waiting messages, for a client that has come back. */
  outgoingStream(client: Named): Readable {
    const session = this.#sessions.get(client.id)
    return Readable.from(session ? replay(session, client) : [], { highWaterMark: 1 })
  }

  async incomingStorePacket(): Promise<void> {
    throw new Error('Publisher notes those')
  }

  async incomingGetPacket({ id }: Named, { messageId }: { messageId: number }): Promise<object> {
    if (!this.hasIncoming(id, messageId)) throw new Error('no such packet')
    return { messageId }
  }

  async incomingDelPacket({ id }: Named, { messageId }: { messageId: number }): Promise<void> {
    this.removeIncoming(id, messageId)
  }

  async cleanIncoming({ id }: Named): Promise<void> {
    this.#incoming.delete(id)
  }

  async putWill({ id }: Named, will: { topic: string; payload: Buffer }): Promise<void> {
    await this.delWill({ id })
    const bytes = will.topic.length + will.payload.length + entryBytes
    this.#wills.set(id, { will, bytes })
    this.#willBytes += bytes
  }

  async getWill({ id }: Named): Promise<unknown> {
    return this.#wills.get(id)?.will
  }

  async delWill({ id }: Named): Promise<unknown> {
    const known = this.#wills.get(id)
    if (!known) return undefined
    this.#wills.delete(id)
    this.#willBytes -= known.bytes
    return known.will
  }

  /** Those of brokers that died: theirs died with them. */
  streamWill(): Readable {
    return Readable.from([])
  }

  // ---------------------------------------------------------------- within

  #incomingOf(id: string): Set<number> | undefined {
    return this.#sessions.get(id)?.incoming ?? this.#incoming.get(id)
  }

  #subscribe(session: Session, subscriptions: Subscription[]): void {
    for (const { topic, qos } of subscriptions) {
      if (!isGranted(topic) || (!session.subscriptions.has(topic) && session.subscriptions.size >= limits.subscriptions)) continue
      this.#unsubscribe(session, [topic])
      const subscription = { topic, qos, session }
      session.subscriptions.set(topic, subscription)
      this.#filters.add(topic, subscription)
    }
  }

  #unsubscribe(session: Session, topics: Iterable<string>): void {
    for (const topic of topics) {
      const subscription = session.subscriptions.get(topic)
      if (!subscription) continue
      session.subscriptions.delete(topic)
      this.#filters.remove(topic, subscription)
    }
  }

  #add(session: Session, key: string, packet: Outgoing, sent: boolean): void {
    const bytes = packet.topic.length + packet.payload.length + entryBytes
    if (
      session.queue.size >= limits.sessionMessages ||
      session.bytes + bytes > limits.sessionBytes ||
      this.#bytes + bytes > limits.sessionsBytes
    ) {
      counts.droppedForFullSession++
      return
    }
    session.queue.set(key, { packet, bytes, sent, taken: undefined })
    if (packet.messageId !== undefined) session.ids.set(packet.messageId, key)
    session.bytes += bytes
    this.#bytes += bytes
  }

  #remove(session: Session, key: string): void {
    const { packet, bytes } = session.queue.get(key)!
    session.queue.delete(key)
    if (packet.messageId !== undefined) session.ids.delete(packet.messageId)
    session.bytes -= bytes
    this.#bytes -= bytes
  }

  #forget(session: Session): void {
    this.#sessions.delete(session.id)
    this.#unsubscribe(session, [...session.subscriptions.keys()])
    this.#bytes -= session.bytes
  }
}

function fresh(id: string, user: string | undefined): Session {
  return {
    id,
    user,
    subscriptions: new Map(),
    queue: new Map(),
    ids: new Map(),
    bytes: 0,
    incoming: new Set(),
    offlineSince: Date.now(),
    replayingTo: undefined,
  }
}

function keyOf({ brokerId, brokerCounter }: Outgoing): string {
  return `${brokerId}/${brokerCounter}`
}

/** The id that aedes proposes, or the next one that names no other message of the session. */
function freeId(session: Session, key: string, proposed: number): number {
  let id = proposed
  while ((session.ids.get(id) ?? key) !== key) id = (id % 0xffff) + 1
  return id
}

/** One after the other, with messages added meanwhile, until none waits. */
async function* replay(session: Session, client: Named) {
  for (const entry of session.queue.values()) {
    const taken = new Promise<void>((resolve) => {
      entry.taken = resolve
    })
    // [MQTT-3.3.1-1]
    yield { ...entry.packet, dup: entry.sent && entry.packet.cmd === 'publish' }
    await taken
    if (session.replayingTo !== client) return
  }
  session.replayingTo = undefined
}

/** A promise of the past: its continuation runs within the call of `then`. */
function now<Value>(value: Value): PromiseLike<Value> {
  const then = (next: (value: Value) => unknown) => now(next(value))
  return { then } as PromiseLike<Value>
}
