/** The first part of a CONNECT packet: the client and its settings. */
export interface MqttConnect {
  /** `'MQTT'`, or `'MQIsdp'` of 3.1. */
  protocol: string
  /** 3: MQTT 3.1, 4: 3.1.1, 5: 5. */
  level: number
  /** "Clean session" of 3.1.1, "clean start" of 5. */
  clean: boolean
  /** 0: none. */
  keepAliveSeconds: number
  /** Empty: the server is to choose one. */
  clientId: string
}

const connect = 0x10
const mostLengthBytes = 4
const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/**
 * Reads the variable header and the client id of a CONNECT packet, as `mqtt()` delivers it. The rest (will, user name, password) is not read.
 * Undefined: it is another packet, it ends too early, or a string is not UTF-8 or contains U+0000.
 */
export function readMqttConnect(packet: Uint8Array): MqttConnect | undefined {
  if (packet[0] !== connect) return undefined
  const length = variableInteger(packet, 1)
  if (length === undefined) return undefined
  const protocol = string(packet, length.end)
  if (protocol === undefined || protocol.end + 4 > packet.length) return undefined
  const level = packet[protocol.end]!
  const flags = packet[protocol.end + 1]!
  let at = protocol.end + 4
  if (level === 5) {
    const properties = variableInteger(packet, at)
    if (properties === undefined) return undefined
    at = properties.end + properties.value
  }
  const clientId = string(packet, at)
  if (clientId === undefined) return undefined
  return {
    protocol: protocol.value,
    level,
    clean: (flags & 2) !== 0,
    keepAliveSeconds: (packet[protocol.end + 2]! << 8) | packet[protocol.end + 3]!,
    clientId: clientId.value,
  }
}

function string(bytes: Uint8Array, at: number): { value: string; end: number } | undefined {
  if (at + 2 > bytes.length) return undefined
  const begin = at + 2
  const end = begin + ((bytes[at]! << 8) | bytes[at + 1]!)
  if (end > bytes.length) return undefined
  try {
    const value = text.decode(bytes.subarray(begin, end))
    return value.includes('\0') ? undefined : { value, end }
  } catch {
    return undefined
  }
}

function variableInteger(bytes: Uint8Array, at: number): { value: number; end: number } | undefined {
  let value = 0
  for (let i = 0; i < mostLengthBytes && at + i < bytes.length; i++) {
    const byte = bytes[at + i]!
    value += (byte & 127) * 2 ** (7 * i)
    if (byte < 128) return { value, end: at + i + 1 }
  }
  return undefined
}
