import type { Random } from './random.js'

const methods = ['GET', 'HEAD', 'POST', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']
const oddMethods = ['get', 'FOO', 'M-SEARCH', 'PRI', 'CONNECT', 'G(T', 'GE T', '', 'TRACE', 'QUERY']
const targets = ['/', '/a', '/a?b=c', '/a/b%20c', '/?']
const oddTargets = [
  '*',
  'http://a/b',
  'https://a:1',
  'http://',
  'a',
  '/a b',
  '/\xe4',
  '/%zz',
  '',
  '//',
  '/#f',
  '/\t',
  'ftp://a/',
  'a:80',
  '/"<>`',
]
const oddVersions = [
  'HTTP/1.2',
  'HTTP/2.0',
  'HTTP/1.1 ',
  'http/1.1',
  'HTTP/0.9',
  'HTTP/01.1',
  'HTTP/1.',
  '',
  'HTTP/1.10',
  'HTTP 1.1',
  'ICE/1.0',
]
const endings = ['\n', '\r', '\r\r\n', '\n\r', ' \r\n', '\t\r\n', '']
const hosts = ['Host: a', 'host:a', 'HOST: a:80', 'Host:\ta\t']
const oddHosts = ['', 'Host: a\r\nHost: a', 'Host: a b', 'Host:', 'Host: a/b', 'Host: \xe4', 'Host: a,b', 'Host : a']
const fields = ['A: b', 'A:b', 'A:', 'A: b, c', 'A: \xe4', "!#$%&'*+-.^_`|~: x", 'Accept: */*', 'Content-Type: text/plain']
const oddFields = [
  'A : b',
  ' A: b',
  'A: b\r\n c',
  'A: b\r\n\tc',
  'A:\r\n b',
  ':b',
  'A\0: b',
  'A: \x01',
  'A: \0',
  '\xe4: b',
  'A b: c',
  'A',
  'A: b\rc',
  'A: b\nc: d',
  'A: \x7f',
  'A\t: b',
  'A;: b',
  'Content-Length',
  'Content-Encoding: gzip',
]
const connections = [
  'Connection: close',
  'Connection: keep-alive',
  'Connection: Keep-Alive, x',
  'Connection: x',
  'Connection: close, keep-alive',
  'Connection:',
]
const upgrades = ['Connection: Upgrade\r\nUpgrade: x', 'Upgrade: x', 'Connection: Upgrade']
const oddLengths = [
  '+3',
  '3,3',
  '3, 3',
  '0x3',
  '3 3',
  '',
  '-1',
  '3.0',
  '1e1',
  '99999999999999999999',
  '18446744073709551619',
  '3\t4',
  '\x0b3',
  '3;a',
]
const codings = ['chunked', 'Chunked', '\tchunked ', 'CHUNKED']
const oddCodings = [
  'gzip, chunked',
  'chunked, chunked',
  'identity',
  'chunked;x',
  'x',
  '\x0bchunked',
  ', chunked',
  'chunked,',
  'chunked, gzip',
  '',
  'chunkedx',
  '"chunked"',
  'chunked\r\n ',
]
const extensions = [';a', ';a=b', ';a="b"', ' ; a = b', ';a;b=c', ';a="\\"\\x"']
const oddExtensions = [
  ';',
  '; ',
  ';;',
  ';a=',
  ';a="x',
  ' ',
  '\t',
  ';a b',
  ';=b',
  ';a=b=c',
  ';a="b"c',
  ';\xe4',
  ';a=\x01',
  ';a\r',
  'x',
  ';a="b\rc"',
  ';a ',
]
const trailers = ['A: b\r\n', 'A: b\r\nC: d\r\n']
const oddTrailers = [
  'Content-Length: 3\r\n',
  'Transfer-Encoding: chunked\r\n',
  'A: b\r\n c\r\n',
  'A : b\r\n',
  'Host: b\r\n',
  'A\r\n',
  ':\r\n',
  'A: b\n',
]
const between = ['\r\n', '\r\n\r\n', '\n', ' ', '\r', '\0', 'x']
const mutations = ['\r', '\n', ' ', '\t', ':', ';', ',', '0', '5', 'a', '\0', '"', '\x7f', '\xe4', '/', '.', '=']

/** Streams of requests, one byte a character: good ones, and such in which two readers could see two things. */
export class HttpCases {
  readonly #random: Random
  #odd = 0

  constructor(random: Random) {
    this.#random = random
  }

  next(): string {
    const random = this.#random
    // How often something odd comes: never, seldom, often.
    this.#odd = random.pick([0, 3, 3, 12])
    let stream = ''
    for (let left = 1 + random.below(3); left > 0; left--) {
      stream += this.#request()
      if (this.#isOdd()) stream += random.pick(between)
    }
    // A good one at the end shows where the others have ended.
    stream += `GET /last HTTP/1.1\r\nHost: a\r\n\r\n`
    if (random.below(4) > 0) return stream
    let bytes = stream
    for (let left = 1 + random.below(3); left > 0; left--) {
      const at = random.below(bytes.length)
      const kind = random.below(3)
      bytes = bytes.slice(0, at) + (kind === 0 ? '' : random.pick(mutations)) + bytes.slice(kind === 2 ? at : at + 1)
    }
    return bytes
  }

  #isOdd(): boolean {
    return this.#random.below(100) < this.#odd
  }

  #either(usual: readonly string[], odd: readonly string[]): string {
    return this.#random.pick(this.#isOdd() ? odd : usual)
  }

  #end(): string {
    return this.#random.below(3) === 0 ? this.#either(['\r\n'], endings) : '\r\n'
  }

  #request(): string {
    const random = this.#random
    const method = this.#either(methods, oddMethods)
    const target = this.#either(targets, oddTargets)
    const version = this.#either(random.below(8) === 0 ? ['HTTP/1.0'] : ['HTTP/1.1'], oddVersions)
    const lines = [this.#either(hosts, oddHosts)]
    for (let left = random.below(3); left > 0; left--) lines.push(this.#either(fields, oddFields))
    if (random.below(6) === 0) lines.push(random.pick(connections))
    if (random.below(30) === 0) lines.push(random.pick(upgrades))
    if (random.below(30) === 0) lines.push(this.#either(['Expect: 100-continue'], ['Expect: x', 'Expect:']))
    const body = this.#body(lines, method !== 'GET' && method !== 'HEAD')
    for (let i = lines.length - 1; i > 0; i--) {
      const j = random.below(i + 1)
      ;[lines[i], lines[j]] = [lines[j]!, lines[i]!]
    }
    let head = `${method} ${target} ${version}${this.#end()}`
    for (const line of lines) if (line !== '') head += line + this.#end()
    return head + this.#end() + body
  }

  /** Adds the fields for the length of the body. */
  #body(lines: string[], likely: boolean): string {
    const random = this.#random
    if (random.below(10) >= (likely ? 8 : 1)) return ''
    const bytes = random.pick([
      '',
      'abc',
      'x=1&y=2',
      '\r\n',
      'GET /in HTTP/1.1\r\nHost: a\r\n\r\n',
      '0\r\n\r\n',
      '3\r\nabc\r\n0\r\n\r\n',
    ])
    const chunked = random.below(2) === 0
    if (chunked || this.#isOdd()) lines.push(`Transfer-Encoding: ${this.#either(codings, oddCodings)}`)
    if (!chunked || this.#isOdd()) lines.push(this.#length(bytes.length))
    if (!chunked || this.#isOdd()) return bytes
    return this.#chunks(bytes)
  }

  #length(length: number): string {
    const random = this.#random
    if (this.#isOdd()) return `Content-Length: ${random.pick(oddLengths)}`
    const said = this.#isOdd() ? Math.max(0, length + random.below(5) - 2) : length
    const value = this.#isOdd() ? `0${said}` : random.pick([`${said}`, `${said} `, `\t${said}`])
    const line = `Content-Length: ${value}`
    return this.#isOdd() ? `${line}\r\n${this.#isOdd() ? 'content-length: 4' : line}` : line
  }

  #chunks(bytes: string): string {
    const random = this.#random
    let text = ''
    for (let at = 0; at < bytes.length; ) {
      const part = bytes.slice(at, at + 1 + random.below(bytes.length))
      at += part.length
      text += this.#chunkLine(part.length) + part + this.#end()
    }
    if (!this.#isOdd()) text += this.#chunkLine(0)
    if (random.below(4) === 0) text += this.#either(trailers, oddTrailers)
    return text + this.#end()
  }

  #chunkLine(length: number): string {
    const random = this.#random
    const said = this.#isOdd() ? Math.max(0, length + random.below(3) - 1) : length
    const hex = random.pick([said.toString(16), said.toString(16).toUpperCase(), `0${said.toString(16)}`])
    const size = this.#isOdd()
      ? random.pick([`+${hex}`, ` ${hex}`, `0x${hex}`, '', `${'0'.repeat(15)}${hex}`, 'ffffffffffffffff', `-${hex}`])
      : hex
    const extension = random.below(4) === 0 ? this.#either(extensions, oddExtensions) : ''
    return size + extension + this.#end()
  }
}
