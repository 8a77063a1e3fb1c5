import type { HttpRequest } from './request.js'

const NativeRequest = globalThis.Request

/** Of nearly every `Host`: nothing in it can keep a URL from being one. */
const plainHost = /^[a-z0-9.-]+(?::\d{1,4})?$/i
/** What only a parser can judge: a last name that is a number is an IPv4 address or wrong, and Punycode has rules of its own. */
const oddHost = /(?:^|\.)(?:\d+|0x[0-9a-f]*)\.?(?::\d*)?$|xn--/i
/** What would end the host of a URL, so that its path began in a field of the peer. */
const neverInHost = /[/\\?#@]|^$/

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
    if (neverInHost.test(host)) return false
  }
  return URL.canParse(urlOf(req))
}

/** What `fetch` of an app gets: a `Request` that is made in full only when somebody asks for more than its method, URL, fields or body. */
export class LightRequest {
  readonly #req: HttpRequest
  #url: string | undefined
  #headers: Headers | undefined
  #real: Request | undefined
  #bodyTaken = false

  /** Made by the app. */
  constructor(req: HttpRequest) {
    this.#req = req
  }

  /** The request as `request(req, res)` would have seen it. */
  get source(): HttpRequest {
    return this.#req
  }

  get method(): string {
    return this.#req.method
  }

  get url(): string {
    this.#url ??= urlOf(this.#req)
    return this.#url
  }

  get headers(): Headers {
    this.#headers ??= new Headers(this.#req.headers)
    return this.#headers
  }

  get signal(): AbortSignal {
    return this.#req.signal
  }

  get bodyUsed(): boolean {
    return this.#real ? this.#real.bodyUsed : this.#bodyTaken
  }

  get body(): ReadableStream<Uint8Array> | null {
    return this.#asReal().body
  }

  async text(): Promise<string> {
    return this.#real ? this.#real.text() : (await this.#takeBody()).toString()
  }
  async json(): Promise<unknown> {
    return JSON.parse(await this.text()) as unknown
  }
  async arrayBuffer(): Promise<ArrayBuffer> {
    if (this.#real) return this.#real.arrayBuffer()
    // A copy: the memory of the frame belongs to others too.
    return Uint8Array.from(await this.#takeBody()).buffer
  }
  async bytes(): Promise<Uint8Array> {
    return new Uint8Array(await this.arrayBuffer())
  }
  blob(): Promise<Blob> {
    return this.#asReal().blob()
  }
  formData(): Promise<FormData> {
    return this.#asReal().formData()
  }
  clone(): Request {
    return this.#asReal().clone()
  }

  get cache(): 'default' {
    return 'default'
  }
  get credentials(): 'same-origin' {
    return 'same-origin'
  }
  get destination(): '' {
    return ''
  }
  get duplex(): 'half' {
    return 'half'
  }
  get integrity(): string {
    return ''
  }
  get keepalive(): boolean {
    return false
  }
  get mode(): 'cors' {
    return 'cors'
  }
  get redirect(): 'follow' {
    return 'follow'
  }
  get referrer(): string {
    return 'about:client'
  }
  get referrerPolicy(): '' {
    return ''
  }

  async #takeBody(): Promise<Buffer> {
    if (this.#bodyTaken) throw new TypeError('Body is unusable: it has been read already')
    if (this.#req.method !== 'GET' && this.#req.method !== 'HEAD') this.#bodyTaken = true
    return this.#req.bytes()
  }

  #asReal(): Request {
    if (this.#real) return this.#real
    const { method } = this
    const has = method !== 'GET' && method !== 'HEAD' && this.#req.body?.length !== 0
    if (has && this.#bodyTaken) throw new TypeError('Body is unusable: it has been read already')
    const whole = this.#req.body
    this.#real = new NativeRequest(this.url, {
      method,
      headers: this.headers,
      signal: this.signal,
      ...(has ? { body: whole ? Uint8Array.from(whole) : this.#req.stream(), duplex: 'half' } : {}),
    } as RequestInit)
    return this.#real
  }
}

// `instanceof Request` holds, and so does what a framework finds on the prototype.
Object.setPrototypeOf(LightRequest.prototype, NativeRequest.prototype)
