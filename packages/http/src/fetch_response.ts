import type { BodyBytes, BodyContent, BodyStream, FieldsInit } from './web_types.js'
import { copyFields, passesFor } from './web_classes.js'
import { isToken } from './fields.js'

const NativeResponse = globalThis.Response

type SimpleBody = string | Uint8Array
type Fields = [name: string, value: string][]

// biome-ignore lint/suspicious/noControlCharactersInRegex: the characters that the standard forbids
const notInValue = /[\0\r\n]|[^\x00-\xff]/
const blanksAround = /^[\t\r\n ]+|[\t\r\n ]+$/g
/** `reason-phrase` of RFC 9112. */
const statusText = /^[\t\x20-\x7e\x80-\xff]*$/

/** Those of a plain object, checked as `Headers` would, for less. */
function fieldsIn(init: Record<string, unknown>): Fields {
  const fields: Fields = []
  for (const name of Object.keys(init)) {
    const value = String(init[name]).replace(blanksAround, '')
    if (!isToken(name)) throw new TypeError(`Response constructor: ${JSON.stringify(name)} is not a name of a field`)
    if (notInValue.test(value)) throw new TypeError(`Response constructor: the value of ${name} is not one of a field`)
    fields.push([name, value])
  }
  return fields
}

function isPlain(init: FieldsInit): init is Record<string, string> {
  if (typeof init !== 'object' || Symbol.iterator in init) return false
  const prototype: unknown = Object.getPrototypeOf(init)
  return prototype === Object.prototype || prototype === null
}

/** `unsigned short` of Web IDL. */
function statusIn(init: unknown): number {
  if (init === undefined) return 200
  const status = typeof init === 'number' && Number.isInteger(init) ? init : Math.trunc(Number(init))
  if (status >= 200 && status <= 599) return status
  throw new RangeError('Response constructor: init["status"] must be in the range of 200 to 599, inclusive.')
}

/**
 * A `Response` that costs little while its body is a string or bytes and is not read. `instanceof Response` holds.
 * Node's own works as well; this one is quicker.
 */
export class LightResponse {
  readonly #status: number
  readonly #statusText: string
  readonly #init: Fields | undefined
  #headers: Headers | undefined
  #simple: SimpleBody | undefined
  #real: Response | undefined
  #type: string | undefined

  /** As of `Response` (Fetch, section 5.5): a body of any kind, and its status and headers. */
  constructor(body: BodyContent | null | undefined = null, init?: ResponseInit) {
    this.#status = statusIn(init?.status)
    this.#statusText = init?.statusText === undefined ? '' : String(init.statusText)
    if (!statusText.test(this.#statusText)) throw new TypeError('Response constructor: invalid statusText')
    const has = body !== null
    if (has && (this.#status === 204 || this.#status === 205 || this.#status === 304)) {
      throw new TypeError(`Response constructor: a response with status ${this.#status} has no body`)
    }
    const isSimple = typeof body === 'string' || body instanceof Uint8Array || body instanceof ArrayBuffer
    if (has && !isSimple) {
      this.#real = new NativeResponse(body, init)
      return
    }
    if (init?.headers) {
      if (isPlain(init.headers)) this.#init = fieldsIn(init.headers)
      else this.#headers = new Headers(init.headers)
    }
    if (!has) this.#simple = ''
    else if (typeof body === 'string') {
      this.#simple = body
      this.#type = 'text/plain;charset=UTF-8'
      this.#nameType()
      // A copy: later changes of the program's array must not change the response.
    } else this.#simple = body instanceof Uint8Array ? Uint8Array.from(body) : new Uint8Array(body.slice(0))
  }

  /** Where the fields are there already. */
  #nameType(): void {
    if (this.#headers && this.#type !== undefined && !this.#headers.has('content-type'))
      this.#headers.set('content-type', this.#type)
  }

  /** As of `Response` (Fetch, section 5.5): a response with `data` as JSON. */
  static json(data: unknown, init?: ResponseInit): LightResponse {
    const text = JSON.stringify(data) as string | undefined
    if (text === undefined) throw new TypeError('Response.json(): the value is not JSON serializable')
    const headers = new Headers(init?.headers)
    if (!init?.headers) {
      const response = new LightResponse(text, init)
      response.#type = 'application/json'
      return response
    }
    if (!headers.has('content-type')) headers.set('content-type', 'application/json')
    return new LightResponse(text, { ...init, headers })
  }
  /** A relative URL stays one: a server has no base to resolve it with. */
  static redirect(url: string | URL, status = 302): LightResponse {
    const target = String(url)
    if (URL.canParse(target)) return NativeResponse.redirect(target, status as 302) as unknown as LightResponse
    if (!URL.canParse(target, 'http://localhost'))
      throw new TypeError(`Response.redirect(): ${JSON.stringify(target)} is not a URL`)
    if (![301, 302, 303, 307, 308].includes(status))
      throw new RangeError(`Response.redirect(): ${status} is not a status of a redirection`)
    return new LightResponse(null, { status, headers: { location: target } })
  }
  /** As of `Response` (Fetch, section 5.5): a network error. */
  static error(): Response {
    return NativeResponse.error()
  }
  /** Those of Node are as good, when this class has taken their name. */
  static [Symbol.hasInstance](value: unknown): boolean {
    // biome-ignore lint/complexity/noThisInStatic: those that extend it have it, too
    if (this === LightResponse) return value instanceof NativeResponse
    // biome-ignore lint/complexity/noThisInStatic: see above
    return Function.prototype[Symbol.hasInstance].call(this, value)
  }
  /** @internal Whether it is one of these, made by us. */
  static isLight(value: unknown): value is LightResponse {
    return typeof value === 'object' && value !== null && #simple in value
  }

  /** As of `Response` (Fetch, section 5.5): 200 to 599. */
  get status(): number {
    return this.#status
  }
  /** As of `Response` (Fetch, section 5.5): the reason phrase. */
  get statusText(): string {
    return this.#statusText
  }
  /** As of `Response` (Fetch, section 5.5): whether `status` is 200 to 299. */
  get ok(): boolean {
    return this.#status >= 200 && this.#status < 300
  }
  /** As of `Response` (Fetch, section 5.5): the fields of the head; made when first asked for. */
  get headers(): Headers {
    if (!this.#headers) {
      this.#headers = this.#real?.headers ?? new Headers(this.#init)
      this.#nameType()
    }
    return this.#headers
  }
  /** As of `Response` (Fetch, section 5.5): always 'default'. */
  get type(): 'default' {
    return 'default'
  }
  /** As of `Response` (Fetch, section 5.5): always ''. */
  get url(): string {
    return ''
  }
  /** As of `Response` (Fetch, section 5.5): always false. */
  get redirected(): boolean {
    return false
  }
  /** As of `Response` (Fetch, section 5.5): a stream of the body; null without one. */
  get body(): BodyStream {
    return this.#asReal().body
  }
  /** As of `Response` (Fetch, section 5.5): whether the body was read or is being read. */
  get bodyUsed(): boolean {
    return this.#real?.bodyUsed ?? false
  }
  /** As of `Response` (Fetch, section 5.5): resolves to the body decoded as UTF-8. */
  text(): Promise<string> {
    return this.#asReal().text()
  }
  /** As of `Response` (Fetch, section 5.5): resolves to the body parsed as JSON. */
  json(): Promise<unknown> {
    return this.#asReal().json()
  }
  /** As of `Response` (Fetch, section 5.5): resolves to the bytes of the body. */
  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#asReal().arrayBuffer()
  }
  /** As of `Response` (Fetch, section 5.5): resolves to the bytes of the body. */
  bytes(): BodyBytes {
    return this.arrayBuffer().then((buffer) => new Uint8Array(buffer)) as BodyBytes
  }
  /** As of `Response` (Fetch, section 5.5): resolves to the body as a Blob. */
  blob(): Promise<Blob> {
    return this.#asReal().blob()
  }
  /** As of `Response` (Fetch, section 5.5): resolves to the body as a form. */
  formData(): Promise<FormData> {
    return this.#asReal().formData()
  }
  /** As of `Response` (Fetch, section 5.5): a `Response` of this runtime with the same content. */
  clone(): Response {
    return this.#asReal().clone()
  }

  #asReal(): Response {
    if (!this.#real) {
      const { headers } = this
      const body = this.#simple === '' && this.#type === undefined ? null : this.#simple
      this.#real = new NativeResponse(body as BodyContent | null, { status: this.#status, statusText: this.#statusText, headers })
      this.#simple = undefined
      // The program may have changed those that it has got.
    } else if (this.#headers && this.#headers !== this.#real.headers) copyFields(this.#real.headers, this.#headers)
    return this.#real
  }

  /** @internal The `Response` of this runtime with the same content. */
  static realOf(response: LightResponse): Response {
    return response.#asReal()
  }

  /** @internal The parts that can be sent without a full `Response`. */
  static partsOf(
    response: LightResponse,
  ): { body: SimpleBody; fields: FieldsInit | undefined; type: string | undefined } | undefined {
    if (response.#simple === undefined) return undefined
    if (response.#headers) return { body: response.#simple, fields: response.#headers, type: undefined }
    return { body: response.#simple, fields: response.#init, type: response.#type }
  }
}

passesFor(LightResponse.prototype, new NativeResponse(), LightResponse.realOf, (response) => response.headers)
Object.defineProperty(LightResponse, 'name', { value: 'Response' })
