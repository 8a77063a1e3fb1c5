import { framingKind, OptionReader } from '@multireactor/addon'
import type { Framing } from '@multireactor/reactor'

/** Options of `mqtt()`. */
export interface MqttFramingOptions {
  /** Of a whole packet, its header included. Default 1 MiB; the protocol allows 268,435,460. */
  maxBytes?: number
  /** The sender of the packets: packets of the other side are `malformed-frame`. Default `'client'`, as for a broker. */
  from?: 'client' | 'server'
}

// CONNECT 1, CONNACK 2, PUBLISH 3, PUBACK 4, PUBREC 5, PUBREL 6, PUBCOMP 7, SUBSCRIBE 8, SUBACK 9, UNSUBSCRIBE 10, UNSUBACK 11,
// PINGREQ 12, PINGRESP 13, DISCONNECT 14, AUTH 15
const types = (...numbers: number[]) => numbers.reduce((bits, number) => bits | (1 << number), 0)
const sentBy = { client: types(1, 3, 4, 5, 6, 7, 8, 10, 12, 14, 15), server: types(2, 3, 4, 5, 6, 7, 9, 11, 13, 14, 15) }

/**
 * MQTT control packets of 3.1, 3.1.1 and 5. A frame is one whole packet as it came; its type, the flags of its first byte and
 * its remaining length have been checked, and nothing behind them.
 */
export function mqtt(options: MqttFramingOptions = {}): Framing {
  const read = new OptionReader('mqtt()', options, ['maxBytes', 'from'])
  return {
    native: {
      kind: framingKind.mqtt,
      maxBytes: read.integer('maxBytes', 1 << 20, 16, 268_435_460),
      mqttTypes: sentBy[read.oneOf('from', 'client', ['client', 'server'])],
    },
  }
}
