import type { Reading } from './http_readers.js'

/** The first request of a stream, cut as far as it can be. */
interface First {
  line: string
  fields: [name: string, value: string][]
  /** The bytes behind the head. */
  rest: string
  all: string
}

interface Known {
  /** As docs/http.md has it. */
  what: string
  /** The reader that refuses a request which the other one accepts, or reads nothing behind a request. */
  stricter: Difference['kind']
  holds(first: First): boolean
}

const values = ({ fields }: First, name: string): string[] => fields.filter(([each]) => each === name).map(([, value]) => value)
const isHost = /^[-0-9A-Za-z._~%!$&'()*+,;=:[\]]+$/
const llhttpMethods = /^(?:DELETE|GET|HEAD|POST|PUT|OPTIONS|TRACE|PATCH|M-SEARCH|CONNECT|QUERY) /
const goodTarget = /^\S+ (?:\/[\x21-\x7e]*|(?<=^OPTIONS )\*|https?:\/\/[\x21-\x7e]+) HTTP/
const chunkLine = (size: RegExp): RegExp => new RegExp(`(?:^|\\n)${size.source}`)
const longSize = chunkLine(/[0-9a-fA-F]{16}/)
const blankInExtensions = chunkLine(/[0-9a-fA-F]{1,15}(?:[ \t]*;[^\r\n]*?)?[ \t]*[;=]?[ \t]/)

const extensions = /^(?:[ \t]*;[ \t]*[-!#$%&'*+.^_`|~\w]+(?:[ \t]*=[ \t]*(?:[-!#$%&'*+.^_`|~\w]+|"(?:[^"\\]|\\.)*"))?)*$/
const isBrokenChunkLine = (line: string): boolean => {
  const size = /^[0-9a-fA-F]+/.exec(line)
  return size !== null && line.includes(';') && !extensions.test(line.slice(size[0].length))
}

/** Every difference that is meant, in the words of docs/http.md. */
export const knownDifferences: readonly Known[] = [
  {
    what: 'no `Host`, two, or one that is none',
    stricter: 'own',
    holds: (first) => {
      const hosts = values(first, 'host')
      return hosts.length > 1 || (hosts.length === 0 ? !first.line.endsWith('HTTP/1.0') : !isHost.test(hosts[0]!))
    },
  },
  {
    what: '`Transfer-Encoding` in HTTP/1.0, or other than one `chunked`',
    stricter: 'own',
    holds: (first) => {
      const codings = values(first, 'transfer-encoding')
      return codings.length > 0 && (first.line.endsWith('1.0') || codings.length > 1 || codings[0]!.toLowerCase() !== 'chunked')
    },
  },
  { what: 'HTTP/0.9 and HTTP/2.0', stricter: 'own', holds: ({ line }) => / HTTP\/(?:0\.9|2\.0)$/.test(line) },
  { what: 'a target that is neither a path nor `http(s)://`', stricter: 'own', holds: ({ line }) => !goodTarget.test(line) },
  {
    what: '`Host`, `Content-Length` or `Transfer-Encoding` in a trailer',
    stricter: 'own',
    holds: ({ rest }) => /(?:^|\n)0+[^\n]*\r\n(?:[^\r\n]+\r\n)*(?:host|content-length|transfer-encoding):/i.test(rest),
  },
  {
    what: '`Expect` with anything but `100-continue`',
    stricter: 'own',
    holds: (first) => values(first, 'expect').some((value) => value.toLowerCase() !== '100-continue'),
  },
  {
    what: 'a `Content-Length` above `maxBodyBytes`',
    stricter: 'own',
    holds: (first) => values(first, 'content-length').some((value) => Number(value) > 1 << 20),
  },
  { what: 'a chunk size of more than 15 digits', stricter: 'own', holds: ({ rest }) => longSize.test(rest) },
  { what: 'a method that is not registered, and `PRI`', stricter: 'node', holds: ({ line }) => !llhttpMethods.test(line) },
  {
    what: 'an `http(s)://` target whose host is none',
    stricter: 'node',
    holds: ({ line }) => /^\S+ https?:\/\/(?![-\w.~!$&'()*+,;=:@%[\]]*[/?# ])/.test(line),
  },
  { what: 'HTTP/1.2 to HTTP/1.9', stricter: 'node', holds: ({ line }) => / HTTP\/1\.[2-9]$/.test(line) },
  {
    what: 'blanks around `;` and `=` in the extensions of a chunk',
    stricter: 'node',
    holds: ({ rest }) => blankInExtensions.test(rest),
  },
  {
    what: 'a tab behind the value of `Content-Length` or `Transfer-Encoding`',
    stricter: 'node',
    holds: ({ all }) => /^(?:content-length|transfer-encoding):[^\r]*\t *\r/im.test(all),
  },
  {
    what: 'extensions of a chunk that are not of the grammar',
    stricter: 'own',
    holds: ({ rest }) => rest.split('\r\n').some(isBrokenChunkLine),
  },
  { what: 'what stands behind the head of a request with `Upgrade`', stricter: 'node ends', holds: () => true },
  { what: '`close` beside `keep-alive` in HTTP/1.0', stricter: 'own ends', holds: () => true },
]

export function firstOf(stream: string): First {
  const all = stream.replace(/^(?:\r\n)+/, '')
  const end = all.indexOf('\r\n\r\n')
  const [line, ...lines] = (end < 0 ? all : all.slice(0, end)).split('\r\n') as [string, ...string[]]
  const fields = lines.map((each): [string, string] => {
    const colon = each.indexOf(':')
    return [each.slice(0, colon).toLowerCase(), each.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')]
  })
  return { line, fields, rest: end < 0 ? '' : all.slice(end + 4), all }
}

export interface Difference {
  kind: 'boundary' | 'own' | 'node' | 'own ends' | 'node ends'
  /** Requests that both have read before. */
  common: number
}

/** Whether two readers have come to different ends, and how; `kind`: the reader that refused a request which the other one accepted. */
export function differenceOf(own: Reading, node: Reading): Difference | undefined {
  const length = Math.min(own.requests.length, node.requests.length)
  let common = 0
  while (common < length && own.requests[common] === node.requests[common]) common++
  const ownStops = common === own.requests.length
  const nodeStops = common === node.requests.length
  const refuses = (reading: Reading): boolean => reading.refused !== undefined
  const ends = (reading: Reading): boolean =>
    common === reading.requests.length &&
    reading.last !== undefined &&
    !refuses(reading) &&
    (reading.open === undefined || reading.last === 'upgrade')
  // It is said to be whole even if its body is broken, and to have none if llhttp does not know its coding for the tab behind it.
  const bare = node.requests[common]?.replace(/ ""$/, ' ')
  const upgrades =
    node.last === 'upgrade' &&
    common === node.requests.length - 1 &&
    (ownStops || (bare !== node.requests[common] && own.requests[common]!.startsWith(bare!)))
  if (upgrades) return { kind: 'node ends', common }
  if (!ownStops && !nodeStops) return { kind: 'boundary', common }
  if (ends(own) || ends(node)) return ends(own) && ends(node) ? undefined : { kind: ends(own) ? 'own ends' : 'node ends', common }
  if (ownStops && nodeStops) {
    if (refuses(own) === refuses(node)) {
      // Here a request with a short body is seen when it is whole; until then both wait for the rest.
      return refuses(own) || own.open === undefined || own.open === node.open ? undefined : { kind: 'boundary', common }
    }
    return { kind: refuses(own) ? 'own' : 'node', common }
  }
  if (ownStops) return { kind: refuses(own) ? 'own' : 'boundary', common }
  return { kind: refuses(node) ? 'node' : 'boundary', common }
}

/** The documented reason of a difference, where there is one. `stream`: the bytes behind the common requests. */
export function reasonOf({ kind }: Difference, stream: string): Known | undefined {
  const first = firstOf(stream)
  return knownDifferences.find(({ stricter, holds }) => stricter === kind && holds(first))
}
