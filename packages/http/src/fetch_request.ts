import { Buffer } from 'node:buffer'
import type { HttpRequest } from './request.js'
import { copyFields, passesFor } from './web_classes.js'

const NativeRequest = globalThis.Request

/** Of nearly every `Host`: nothing in it can keep a URL from being one. */
const plainHost = /^[a-z0-9.-]+(?::\d{1,4})?$/i
/** Hosts that only a parser can judge: a last label that is a number is an IPv4 address or wrong, and Punycode has rules of its own. */
const oddHost = /(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?(?::\d*)?$|xn--/i

function urlOf(req: HttpRequest): string {
  const target = req.url
  if (!target.startsWith('/') && target !== '*') return target
  return `${req.encrypted ? 'https' : 'http'}://${req.header('host') ?? 'localhost'}${target === '*' ? '' : target}`
}

/** False when target and `Host` of a request make no URL: an app could do nothing with it. */
export function hasUrl(req: HttpRequest): boolean {
  const host = req.header('host')
  if (req.url.startsWith('/') || req.url === '*') {
    if (host === undefined || (plainHost.test(host) && !oddHost.test(host))) return true
    // The framer lets nothing else in that would end the host of a URL. Behind an empty one, the path would be the host.
    if (host === '') return false
  }
  return URL.canParse(urlOf(req))
}

/** Such a target is in a URL as it is: nothing in it is escaped, and no segment means another one. */
const plainTarget = /^\/(?!\.)(?:[\w\-.~!$&'()*+,;=:@]|%(?!2e)|\/(?!\.))*(?:\?[\w\-.~!$&()*+,;=:@%/?]*)?$/i
/** And such a host: in lower case, with no port that its scheme implies, and no number. */
const normalHost = /^[a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*(?::(?!0|80$|443$)\d{1,4})?$/

/** As a `Request` has it. */
function normalUrlOf(req: HttpRequest): string {
  const url = urlOf(req)
  const host = req.header('host')
  if (host !== undefined && plainTarget.test(req.url) && normalHost.test(host) && !host.includes('xn--')) return url
  return new URL(url).href
}

const byteOrderMark = Buffer.from('\ufeff')

function textIn(bytes: Buffer): string {
  return bytes.toString('utf8', bytes.subarray(0, 3).equals(byteOrderMark) ? 3 : 0)
}

/** The argument of an app's `fetch`: a `Request` that becomes a full one only when more than its method, URL, fields or body is read. */
export class LightRequest {
  readonly #req: HttpRequest
  #url: string | undefined
  #headers: Headers | undefined
  #real: Request | undefined
  #bodyTaken = false

  /** @internal Made for a `fetch` handler. */
  constructor(req: HttpRequest) {
    this.#req = req
  }

  /** The request as `request(req, res)` would have seen it. */
  get source(): HttpRequest {
    return this.#req
  }

  /** As of `Request` (Fetch, section 5.4): the method of the request line. */
  get method(): string {
    return this.#req.method
  }

  /** As of `Request` (Fetch, section 5.4): the absolute URL. */
  get url(): string {
    this.#url ??= normalUrlOf(this.#req)
    return this.#url
  }

  /** As of `Request` (Fetch, section 5.4): the fields of the head. */
  get headers(): Headers {
    this.#headers ??= this.#real?.headers ?? new Headers(this.#req.headers)
    return this.#headers
  }

  /** As of `Request` (Fetch, section 5.4): aborts when the connection closes. */
  get signal(): AbortSignal {
    return this.#req.signal
  }

  /** As of `Request` (Fetch, section 5.4): whether the body was read or is being read. */
  get bodyUsed(): boolean {
    return this.#real ? this.#real.bodyUsed : this.#bodyTaken
  }

  /** As of `Request` (Fetch, section 5.4): a stream of the body; null without one. */
  get body(): ReadableStream<Uint8Array> | null {
    return this.#asReal().body
  }

  /** As of `Request` (Fetch, section 5.4): resolves to the body decoded as UTF-8. */
  async text(): Promise<string> {
    return this.#real ? this.#real.text() : textIn(await this.#takeBody())
  }
  /** As of `Request` (Fetch, section 5.4): resolves to the body parsed as JSON. */
  async json(): Promise<unknown> {
    return JSON.parse(await this.text()) as unknown
  }
  /** As of `Request` (Fetch, section 5.4): resolves to the bytes of the body. */
  async arrayBuffer(): Promise<ArrayBuffer> {
    if (this.#real) return this.#real.arrayBuffer()
    // A copy: the memory of the frame belongs to others too.
    return Uint8Array.from(await this.#takeBody()).buffer
  }
  /** As of `Request` (Fetch, section 5.4): resolves to the bytes of the body. */
  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(await this.arrayBuffer())
  }
  /** As of `Request` (Fetch, section 5.4): resolves to the body as a Blob. */
  async blob(): Promise<Blob> {
    return this.#asReal().blob()
  }
  /** As of `Request` (Fetch, section 5.4): resolves to the body as a form. */
  async formData(): Promise<FormData> {
    return this.#asReal().formData()
  }
  /** As of `Request` (Fetch, section 5.4): a `Request` of this runtime with the same content. */
  clone(): Request {
    return this.#asReal().clone()
  }

  /** As of `Request` (Fetch, section 5.4): always 'default'. */
  get cache(): 'default' {
    return 'default'
  }
  /** As of `Request` (Fetch, section 5.4): always 'same-origin'. */
  get credentials(): 'same-origin' {
    return 'same-origin'
  }
  /** As of `Request` (Fetch, section 5.4): always ''. */
  get destination(): '' {
    return ''
  }
  /** As of `Request` (Fetch, section 5.4): always 'half'. */
  get duplex(): 'half' {
    return 'half'
  }
  /** As of `Request` (Fetch, section 5.4): always ''. */
  get integrity(): string {
    return ''
  }
  /** As of `Request` (Fetch, section 5.4): always false. */
  get isHistoryNavigation(): boolean {
    return false
  }
  /** As of `Request` (Fetch, section 5.4): always false. */
  get isReloadNavigation(): boolean {
    return false
  }
  /** As of `Request` (Fetch, section 5.4): always false. */
  get keepalive(): boolean {
    return false
  }
  /** As of `Request` (Fetch, section 5.4): always 'cors'. */
  get mode(): 'cors' {
    return 'cors'
  }
  /** As of `Request` (Fetch, section 5.4): always 'follow'. */
  get redirect(): 'follow' {
    return 'follow'
  }
  /** As of `Request` (Fetch, section 5.4): always 'about:client'. */
  get referrer(): string {
    return 'about:client'
  }
  /** As of `Request` (Fetch, section 5.4): always ''. */
  get referrerPolicy(): '' {
    return ''
  }

  /** As the standard has it: `GET` and `HEAD` have no body, and neither has a request that came without one. */
  get #hasBody(): boolean {
    return !/^(?:get|head)$/i.test(this.method) && this.#req.body?.length !== 0
  }

  async #takeBody(): Promise<Buffer> {
    if (!this.#hasBody) return Buffer.alloc(0)
    if (this.#bodyTaken) throw new TypeError('Body is unusable: it has been read already')
    this.#bodyTaken = true
    return this.#req.bytes()
  }

  #asReal(): Request {
    if (!this.#real) this.#real = this.#makeReal()
    // The program may have changed those that it has got.
    else if (this.#headers && this.#headers !== this.#real.headers) copyFields(this.#real.headers, this.#headers)
    return this.#real
  }

  #makeReal(): Request {
    const { method, headers, signal } = this
    const init = { method, headers, signal, duplex: 'half' }
    if (!this.#hasBody) return new NativeRequest(this.url, init as RequestInit)
    if (!this.#bodyTaken) {
      const whole = this.#req.body
      return new NativeRequest(this.url, { ...init, body: whole ? Uint8Array.from(whole) : this.#req.stream() } as RequestInit)
    }
    // Its body has been read: so has that of this one.
    const real = new NativeRequest(this.url, { ...init, body: new ReadableStream({ pull: (it) => it.close() }) } as RequestInit)
    void real.arrayBuffer()
    return real
  }

  /** @internal The `Request` of this runtime with the same content. */
  static realOf(request: LightRequest): Request {
    return request.#asReal()
  }
  /** @internal Whether it is one of these, made by us. */
  static isLight(value: unknown): value is LightRequest {
    return typeof value === 'object' && value !== null && #req in value
  }
}

const sample = new NativeRequest('http://localhost')
passesFor(LightRequest.prototype, sample, LightRequest.realOf, (request) => request.headers)
// A clone or a `new` of its constructor gives Node's own class.
Object.defineProperty(LightRequest.prototype, 'constructor', { value: NativeRequest, configurable: true, writable: true })

let isKnown = Object.getOwnPropertySymbols(sample).length > 0

/**
 * Where the state of Node's `Request` is private (Node 24), no other object passes for one: the constructor and `fetch` get that of Node's
 * in its stead. Prototype and identity of the class stay: code that has imported `Request` before accepts its objects, and vice versa.
 */
export function knowLightRequests(): void {
  if (isKnown) return
  isKnown = true
  const nativeFetch = globalThis.fetch
  const realIn = (input: unknown): unknown => (LightRequest.isLight(input) ? LightRequest.realOf(input) : input)
  globalThis.Request = new Proxy(NativeRequest, {
    construct: (target, [input, ...rest], newTarget) => Reflect.construct(target, [realIn(input), ...rest], newTarget) as object,
  })
  Object.defineProperty(LightRequest.prototype, 'constructor', { value: globalThis.Request })
  const fetch = async (input: unknown, ...rest: unknown[]): Promise<Response> =>
    Reflect.apply(nativeFetch, undefined, [realIn(input), ...rest]) as Promise<Response>
  globalThis.fetch = Object.defineProperty(fetch, 'name', { value: 'fetch' }) as typeof globalThis.fetch
}
