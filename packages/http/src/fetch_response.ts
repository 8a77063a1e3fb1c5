import type { BodyBytes, BodyContent, BodyStream, FieldsInit } from './web_types.js'

const NativeResponse = globalThis.Response

type SimpleBody = string | Uint8Array

/**
 * A `Response` that costs little while its body is a string or bytes and nobody looks into it. `instanceof Response` holds.
 * Node's own works as well; this one is quicker.
 */
export class LightResponse {
  readonly #status: number
  readonly #statusText: string
  readonly #init: FieldsInit | undefined
  #headers: Headers | undefined
  #simple: SimpleBody | undefined
  #real: Response | undefined
  #type: string | undefined

  constructor(body?: BodyContent | null, init?: ResponseInit) {
    this.#status = init?.status ?? 200
    this.#statusText = init?.statusText ?? ''
    this.#init = init?.headers
    if (body === undefined || body === null) this.#simple = ''
    else if (typeof body === 'string') {
      this.#simple = body
      this.#type = 'text/plain;charset=UTF-8'
    } else if (body instanceof Uint8Array) this.#simple = body
    else if (body instanceof ArrayBuffer) this.#simple = new Uint8Array(body)
    else this.#real = new NativeResponse(body, init)
    if (this.#status !== 101 && (!Number.isInteger(this.#status) || this.#status < 200 || this.#status > 599)) {
      throw new RangeError(`init["status"] must be in the range of 200 to 599, inclusive.`)
    }
  }

  static json(data: unknown, init?: ResponseInit): LightResponse {
    const response = new LightResponse(JSON.stringify(data), init)
    response.#type = 'application/json'
    return response
  }
  static redirect(url: string | URL, status = 302): LightResponse {
    return new LightResponse(null, { status, headers: { location: String(url) } })
  }
  static error(): Response {
    return NativeResponse.error()
  }

  get status(): number {
    return this.#status
  }
  get statusText(): string {
    return this.#statusText
  }
  get ok(): boolean {
    return this.#status >= 200 && this.#status < 300
  }
  get headers(): Headers {
    if (this.#real) return this.#real.headers
    if (!this.#headers) {
      this.#headers = new Headers(this.#init)
      if (this.#type !== undefined && !this.#headers.has('content-type')) this.#headers.set('content-type', this.#type)
    }
    return this.#headers
  }
  get type(): 'default' {
    return 'default'
  }
  get url(): string {
    return ''
  }
  get redirected(): boolean {
    return false
  }
  get body(): BodyStream {
    return this.#asReal().body
  }
  get bodyUsed(): boolean {
    return this.#real?.bodyUsed ?? false
  }
  text(): Promise<string> {
    return this.#asReal().text()
  }
  json(): Promise<unknown> {
    return this.#asReal().json()
  }
  arrayBuffer(): Promise<ArrayBuffer> {
    return this.#asReal().arrayBuffer()
  }
  bytes(): BodyBytes {
    return this.arrayBuffer().then((buffer) => new Uint8Array(buffer)) as BodyBytes
  }
  blob(): Promise<Blob> {
    return this.#asReal().blob()
  }
  formData(): Promise<FormData> {
    return this.#asReal().formData()
  }
  clone(): Response {
    return this.#asReal().clone()
  }

  #asReal(): Response {
    if (!this.#real) {
      const { headers } = this
      const body = this.#simple === '' && this.#type === undefined ? null : this.#simple
      this.#real = new NativeResponse(body as BodyContent | null, { status: this.#status, statusText: this.#statusText, headers })
      this.#simple = undefined
    }
    return this.#real
  }

  /** For the server: body and fields, as long as nobody has asked for more of them. */
  static partsOf(
    response: LightResponse,
  ): { body: SimpleBody; fields: FieldsInit | undefined; type: string | undefined } | undefined {
    if (response.#simple === undefined) return undefined
    if (response.#headers) return { body: response.#simple, fields: response.#headers, type: undefined }
    return { body: response.#simple, fields: response.#init, type: response.#type }
  }
}

Object.setPrototypeOf(LightResponse.prototype, NativeResponse.prototype)
