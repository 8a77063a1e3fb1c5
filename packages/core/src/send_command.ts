import { readFileSync } from 'node:fs'
import { hostPortOf } from './host_port.js'
import { send } from './send.js'
import { delimitedWire, fixedWire, framedWire, type LengthType, lengthTypes, rawWire, type Wire } from './send_wire.js'
import { milliseconds, number, parseCommand, UsageError } from './usage.js'

export const sendHelp: string = `Usage: multireactor send ADDRESS [MESSAGE …] [options]

Sends messages to a server, prints the replies, and ends. Without MESSAGE each line of stdin is one.

  ADDRESS             HOST:PORT, [IPv6]:PORT, PORT (of localhost), or the path of a Unix socket

How messages and replies are framed:
  --lines             Lines (default)
  --frames            Behind a length, as lengthPrefixed() reads them
  --length TYPE       Its type: ${lengthTypes.join(', ')}. Default: u32be
  --delimiter TEXT    Each followed by TEXT, in which \\0, \\r, \\n, \\t and \\xHH are bytes
  --fixed N           Each has N bytes
  --raw               None: sends all, ends, and prints what comes until the server ends, too
  --hex               Messages and replies are in hex. Alone as --raw

  --count N           Replies to wait for. Default: one for each message. 0: none
  --follow            Prints replies until the server ends the connection
  --timeout MS        Fails when nothing has come for so long. 0: never. Default: 5000, with --follow or a terminal 0
  --tls               TLS
  --ca FILE           Trusts the certificates in FILE (PEM) instead of the system's
  --insecure          Any certificate
  --help, -h          This text

Exit codes: 0 every reply has come, 1 it has not, or no connection, 2 wrong usage.

Example: multireactor send localhost:7000 '{"id":1,"price":5,"count":3}'`

const options = {
  lines: { type: 'boolean' },
  frames: { type: 'boolean' },
  length: { type: 'string' },
  delimiter: { type: 'string' },
  fixed: { type: 'string' },
  raw: { type: 'boolean' },
  hex: { type: 'boolean' },
  count: { type: 'string' },
  follow: { type: 'boolean' },
  timeout: { type: 'string' },
  tls: { type: 'boolean' },
  ca: { type: 'string' },
  insecure: { type: 'boolean' },
} as const

/** Runs `multireactor send`, and resolves to its exit code. */
export async function sendCommand(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseCommand(argv, options)
  const [address, ...messages] = positionals
  if (address === undefined) throw new UsageError('send needs an address: `multireactor send localhost:7000 MESSAGE`')
  const hex = values.hex === true
  const wire = wireOf(values)
  const target = targetOf(address)
  const tls = values.tls || values.ca !== undefined || values.insecure === true
  const given = messages.map((text) => (hex ? bytesOf(text) : Buffer.from(text)))
  const fromStdin = given.length === 0
  const follow = values.follow === true
  const count = values.count === undefined ? undefined : number('--count', values.count)
  if (follow && count !== undefined) throw new UsageError('--follow waits for no number of replies: leave out --count')
  const ca = values.ca === undefined ? undefined : contentOf(values.ca)
  const patient = follow || (fromStdin && process.stdin.isTTY === true)
  try {
    await send({
      target,
      tls: tls ? { ca, insecure: values.insecure === true } : undefined,
      wire,
      messages: fromStdin ? fromInput(wire, hex) : given,
      count,
      follow,
      timeoutMs: values.timeout === undefined ? (patient ? 0 : 5_000) : milliseconds('--timeout', values.timeout),
      print: (reply) => {
        const isText = hex || !wire.isStream
        process.stdout.write(hex ? `${reply.toString('hex')}\n` : isText ? Buffer.concat([reply, newline]) : reply)
      },
    })
    return 0
  } catch (error) {
    if (error instanceof UsageError) throw error
    console.error(`multireactor send: ${(error as Error).message}`)
    return 1
  } finally {
    // A terminal, or a pipe that stays open, would keep the process.
    if (fromStdin) process.stdin.destroy()
  }
}

const newline = Buffer.from('\n')

function wireOf(values: {
  lines?: boolean | undefined
  frames?: boolean | undefined
  length?: string | undefined
  delimiter?: string | undefined
  fixed?: string | undefined
  raw?: boolean | undefined
  hex?: boolean | undefined
}): Wire {
  const frames = values.frames === true || values.length !== undefined
  const chosen = [values.lines, frames, values.delimiter !== undefined, values.fixed !== undefined, values.raw].filter(Boolean)
  if (chosen.length > 1) throw new UsageError('one of --lines, --frames, --delimiter, --fixed and --raw')
  if (frames) {
    const type = values.length ?? 'u32be'
    if (!lengthTypes.includes(type as LengthType)) {
      throw new UsageError(`--length must be ${lengthTypes.join(', ')}, and is '${type}'`)
    }
    return framedWire(type as LengthType)
  }
  if (values.delimiter !== undefined) {
    const delimiter = unescaped(values.delimiter)
    if (delimiter.length === 0) throw new UsageError('--delimiter must not be empty')
    return delimitedWire(delimiter)
  }
  if (values.fixed !== undefined) {
    const size = number('--fixed', values.fixed)
    if (size === 0) throw new UsageError('--fixed must be 1 or more')
    return fixedWire(size)
  }
  if (values.raw === true || (values.hex === true && values.lines !== true)) return rawWire()
  return delimitedWire(newline, false)
}

function targetOf(address: string): { host: string; port: number } | { path: string } {
  if (address.includes('/')) return { path: address }
  const at = hostPortOf(address)
  if (at === undefined || at.port < 1 || at.port > 65_535) {
    throw new UsageError(`the address must be HOST:PORT, [IPv6]:PORT, PORT, or the path of a Unix socket, and is '${address}'`)
  }
  return { host: at.host ?? 'localhost', port: at.port }
}

function bytesOf(hex: string): Buffer {
  const digits = hex.replace(/\s/g, '')
  if (!/^([0-9a-f]{2})*$/i.test(digits))
    throw new UsageError(`--hex needs pairs of hex digits, and '${hex.slice(0, 60)}' is not that`)
  return Buffer.from(digits, 'hex')
}

function unescaped(text: string): Buffer {
  const named: Record<string, string> = { '0': '\0', r: '\r', n: '\n', t: '\t', '\\': '\\' }
  const bytes = text.replace(/\\(?:x([0-9a-f]{2})|([0rnt\\]))/gi, (_, code: string | undefined, name: string) =>
    code === undefined ? named[name]! : `\\x${code}`,
  )
  // Bytes above 127 are no text of their own.
  return Buffer.concat(
    bytes.split(/(\\x[0-9a-f]{2})/i).map((part) => (/^\\x/.test(part) ? Buffer.from(part.slice(2), 'hex') : Buffer.from(part))),
  )
}

function contentOf(file: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    throw new UsageError(`--ca: ${(error as Error).message}`)
  }
}

/** Each line is a message; without framing, and not in hex, all bytes as they are. */
async function* fromInput(wire: Wire, hex: boolean): AsyncGenerator<Buffer> {
  const lines = delimitedWire(newline)
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    if (wire.isStream && !hex) yield chunk
    else for (const line of lines.take(chunk)) yield hex ? bytesOf(line.toString()) : line
  }
  const rest = lines.rest()
  if (rest !== undefined) yield hex ? bytesOf(rest.toString()) : rest
}
