// Limits on the memory that one peer, and all peers together, can make a reactor hold. Each number is for one reactor unless it says otherwise.

const KiB = 1 << 10
const MiB = 1 << 20

export const limits = {
  // ---- one packet
  /** CONNECT: client id, will, user name and password, 64 KiB each at most in the protocol. */
  connectBytes: 192 * KiB,
  /** Every other packet. */
  packetBytes: MiB,
  /** SUBSCRIBE and UNSUBSCRIBE. */
  subscribeBytes: 64 * KiB,
  clientIdBytes: 256,
  willBytes: 16 * KiB,

  // ---- one client
  subscriptions: 100,
  /** Of the names of those. */
  subscriptionBytes: 16 * KiB,
  /** QoS 2 messages for which PUBREL has not come. */
  incoming: 1_000,
  /** Publications that have not been told to every reactor: beyond either the client is not read. */
  publishing: 64,
  publishingBytes: 256 * KiB,
  /** Bytes that wait for a client that does not read: above `high` QoS 0 is dropped, at `max` the connection closes. */
  outBuffer: { high: 64 * KiB, low: 16 * KiB, max: MiB },

  // ---- all of them
  /** Sessions that outlive their connection, and the time that they do without one. */
  sessions: 10_000,
  sessionSeconds: 24 * 60 * 60,
  /** Messages that wait in a session, and in all sessions. */
  sessionMessages: 10_000,
  sessionBytes: 4 * MiB,
  sessionsBytes: 64 * MiB,
  /** Retained messages. Every reactor keeps all of them; and as much, for a minute, of the names of topics that were cleared. */
  retained: 10_000,
  retainedBytes: 8 * MiB,
  wills: 10_000,
  willsBytes: 8 * MiB,
  /** On their way from this reactor to one other: beyond it publishers wait. */
  fanOutBytes: 8 * MiB,
}
