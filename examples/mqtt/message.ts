// A publication on its way to another reactor: a byte of QoS and retain, the time it was made, the length of its topic, topic, payload.

export interface Message {
  topic: string
  payload: Buffer
  qos: 0 | 1 | 2
  retain: boolean
  /** Nanoseconds of the clock that all threads of the process share: of two retained messages of a topic the later one stays. */
  madeAt: bigint
}

const headBytes = 11
const lengthBytes = 4

/** Several in one piece, behind `head`. */
export function encodeAll(messages: readonly Message[], head = Buffer.alloc(0)): Buffer {
  let size = head.length
  for (const { topic, payload } of messages) size += lengthBytes + headBytes + Buffer.byteLength(topic) + payload.length
  const bytes = Buffer.allocUnsafe(size)
  let at = head.copy(bytes)
  for (const { topic, payload, qos, retain, madeAt } of messages) {
    const topicBytes = Buffer.byteLength(topic)
    at = bytes.writeUInt32LE(headBytes + topicBytes + payload.length, at)
    at = bytes.writeUInt8(qos | (retain ? 4 : 0), at)
    at = bytes.writeBigUInt64LE(madeAt, at)
    at = bytes.writeUInt16LE(topicBytes, at)
    at += bytes.write(topic, at)
    at += payload.copy(bytes, at)
  }
  return bytes
}

function decode(bytes: Buffer): Message {
  const end = headBytes + bytes.readUInt16LE(9)
  return {
    topic: bytes.toString('utf8', headBytes, end),
    payload: bytes.subarray(end),
    qos: (bytes[0]! & 3) as 0 | 1 | 2,
    retain: (bytes[0]! & 4) !== 0,
    madeAt: bytes.readBigUInt64LE(1),
  }
}

export function* decodeAll(bytes: Buffer): Generator<Message> {
  for (let at = 0; at < bytes.length; ) {
    const end = at + lengthBytes + bytes.readUInt32LE(at)
    yield decode(bytes.subarray(at + lengthBytes, end))
    at = end
  }
}
