import { MultireactorError, OptionReader, shown } from '@multireactor/addon'
import { net } from './builtins.js'

/** One end of the connection that a PROXY header speaks of. Without an address, as of a Unix peer, it is unknown. */
export interface ProxyEndpoint {
  /** A literal address; undefined when it is not known. */
  address: string | undefined
  /** A port, 1 to 65,535; undefined when it is not known. */
  port: number | undefined
}

/** Options of `proxyHeader()`. */
export interface ProxyHeaderOptions {
  /** 1: a line of text. 2: binary. */
  version: 1 | 2
  /** The client of the proxy: `conn.remoteAddress` and `conn.remotePort`. */
  source?: ProxyEndpoint
  /** Where: `conn.localAddress` and `conn.localPort`. */
  destination?: ProxyEndpoint
}

const where = 'proxyHeader()'
const signature = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1')

/**
 * The header that a proxy writes before anything else, so that its upstream knows the client behind it (the PROXY protocol of
 * HAProxy). When an end is unknown it says so (`PROXY UNKNOWN`, LOCAL), and the upstream takes the proxy itself for the peer. An
 * IPv4 end beside an IPv6 one is written as IPv6. Any thread.
 */
export function proxyHeader(options: ProxyHeaderOptions): Buffer {
  const read = new OptionReader(where, options, ['version', 'source', 'destination'])
  const version = read.integer('version', 0, 1, 2)
  if (version === 0) throw new MultireactorError('ERR_MR_OPTION_TYPE', `${where}: 'version' must be 1 or 2, and is undefined`)
  const source = readEnd('source', read.raw('source'))
  const destination = readEnd('destination', read.raw('destination'))
  if (!source || !destination) return version === 1 ? Buffer.from('PROXY UNKNOWN\r\n') : v2(0x20, 0, Buffer.alloc(0))
  const isV4 = source.v4 !== undefined && destination.v4 !== undefined
  const ends = isV4 ? [source.v4!, destination.v4!] : [source.v6, destination.v6]
  if (version === 1) {
    const text = isV4 ? (end: Uint8Array) => end.join('.') : textOfV6
    const [from, to] = ends.map(text)
    return Buffer.from(`PROXY TCP${isV4 ? 4 : 6} ${from} ${to} ${source.port} ${destination.port}\r\n`)
  }
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(source.port, 0)
  ports.writeUInt16BE(destination.port, 2)
  return v2(0x21, isV4 ? 0x11 : 0x21, Buffer.concat([...ends, ports]))
}

function v2(command: number, family: number, addresses: Buffer): Buffer {
  const head = Buffer.alloc(4)
  head[0] = command
  head[1] = family
  head.writeUInt16BE(addresses.length, 2)
  return Buffer.concat([signature, head, addresses])
}

interface End {
  v4: Uint8Array | undefined
  v6: Uint8Array
  port: number
}

function readEnd(name: string, value: unknown): End | undefined {
  if (value === undefined) return undefined
  const read = new OptionReader(`${where} ${name}`, value, ['address', 'port'])
  const address = read.string('address')
  const port = read.integer('port', 0, 0, 65_535)
  if (address === undefined) return undefined
  const literal = address.split('%')[0]!
  const kind = net().isIP(literal)
  if (kind === 0) {
    throw new MultireactorError(
      'ERR_MR_OPTION_RANGE',
      `${where} ${name}: 'address' must be an IPv4 or IPv6 address, and is ${shown(address)}`,
    )
  }
  if (kind === 4) {
    const v4 = bytesOfV4(literal)
    return { v4, v6: Buffer.concat([mapped, v4]), port }
  }
  const v6 = bytesOfV6(literal)
  return { v4: mapped.equals(v6.subarray(0, 12)) ? v6.subarray(12) : undefined, v6, port }
}

/** ::ffff:0:0/96: how a dual-stack listener names its IPv4 peers. */
const mapped = Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])

function bytesOfV4(address: string): Uint8Array {
  return Uint8Array.from(address.split('.'), Number)
}

function bytesOfV6(address: string): Uint8Array {
  const groups = (text: string | undefined): number[] =>
    (text ?? '').split(':').flatMap((group) => {
      if (group === '') return []
      if (!group.includes('.')) return [Number.parseInt(group, 16)]
      const [a, b, c, d] = bytesOfV4(group) as unknown as [number, number, number, number]
      return [(a << 8) | b, (c << 8) | d]
    })
  const [left, right] = address.split('::').map(groups) as [number[], number[] | undefined]
  const tail = right ?? []
  const all = [...left, ...Array<number>(8 - left.length - tail.length).fill(0), ...tail]
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]))
}

function textOfV6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16))
  return groups.join(':')
}
