/** The compressed form of a WebSocket message. */
export interface Deflated {
  /** Its whole frame. */
  bytes: Uint8Array
  /** Of the window that inflating it needs. */
  windowBits: number
}

const forms = new WeakMap<Uint8Array, Deflated>()

/** From now on each publication of these bytes carries the other form as well: each subscriber gets the one that it can read. */
export function addDeflatedForm(bytes: Uint8Array, deflated: Deflated): void {
  forms.set(bytes, deflated)
}

export function deflatedFormOf(data: string | Uint8Array): Deflated | undefined {
  return typeof data === 'string' ? undefined : forms.get(data)
}
