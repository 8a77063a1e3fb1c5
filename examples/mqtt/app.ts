import { mqtt, type MqttConnect, readMqttConnect } from '@multireactor/codecs'
import { type Connection, defineApp } from 'multireactor'
import { BrokerThread } from './broker_thread.ts'
import { limits } from './limits.ts'
import { PacketStream } from './packet_stream.ts'

interface Data {
  /** The CONNECT of a connection that moves to the reactor of its client. */
  connect?: Uint8Array
  stream?: PacketStream
}

/** Return codes of CONNACK. */
const refused = { version: 1, identifier: 2, unavailable: 3 }

/** The framings before a CONNECT, and behind it. */
const door = mqtt({ maxBytes: limits.connectBytes })
const packets = mqtt({ maxBytes: limits.packetBytes })

let thread: BrokerThread

export default defineApp<Data>({
  framing: door,
  outBuffer: limits.outBuffer,
  firstByteTimeoutMs: 10_000,
  // A CONNECT says how long its client may be silent, and the broker looks at that. TCP asks for those that said nothing.
  idleTimeoutMs: 0,
  keepAliveMs: 60_000,

  async start(context) {
    if (context.role === 'reactor') thread = await BrokerThread.start(context)
  },
  stop: () => thread?.stop(),

  open: () => ({}),

  message(conn, packet) {
    const { stream } = conn.data
    if (stream) {
      if (isTooLarge(packet)) return conn.destroy('frame-too-large')
      return stream.receive(packet)
    }
    const connect = readMqttConnect(packet)
    if (!connect) return conn.destroy('malformed-frame')
    const refusal = refusalOf(connect)
    if (refusal !== 0) return conn.end(Uint8Array.of(0x20, 2, 0, refusal))
    conn.setFraming(packets)
    const home = thread.homeOf(connect.clientId)
    if (home === thread.reactor) {
      conn.data = { stream: seat(conn, packet) }
    } else if (conn.encrypted) {
      // The keys of TLS stay with their thread: behind TLS, one reactor.
      conn.end(Uint8Array.of(0x20, 2, 0, refused.unavailable))
    } else {
      conn.data = { connect: packet }
      conn.moveTo(home)
    }
  },

  drain: (conn) => conn.data.stream?.drained(),
  end: (conn) => conn.data.stream?.finish(),
  close(conn, reason) {
    thread.closed(reason)
    conn.data?.stream?.connectionClosed()
  },

  suspend(conn) {
    const { stream, connect } = conn.data
    // A reload: the client connects again by itself, and finds its session with the next thread.
    stream?.destroy()
    return { connect }
  },
  restore(conn, state) {
    const { connect } = (state ?? {}) as Data
    if (connect) return { stream: seat(conn, Buffer.from(connect.buffer, connect.byteOffset, connect.byteLength)) }
    conn.destroy('thread-lost')
    return {}
  },

  onCall: (bytes) => thread.onCall(bytes),
})

function seat(conn: Connection<Data>, connect: Buffer): PacketStream {
  const stream = new PacketStream(conn)
  stream.receive(connect)
  thread.admit(stream)
  return stream
}

function refusalOf({ protocol, level, clean, clientId }: MqttConnect): number {
  const isKnown = (protocol === 'MQTT' && level === 4) || (protocol === 'MQIsdp' && level === 3)
  if (!isKnown) return refused.version
  if (Buffer.byteLength(clientId) > limits.clientIdBytes || (clientId === '' && !clean)) return refused.identifier
  return 0
}

/** A client may ask for as many topics as fit into one packet, each of which costs much more than its bytes. */
function isTooLarge(packet: Buffer): boolean {
  const type = packet[0]! >> 4
  return (type === 8 || type === 10) && packet.length > limits.subscribeBytes
}
