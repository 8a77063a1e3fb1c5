export interface HostPort {
  /** Undefined: the text is a port alone. */
  host: string | undefined
  /** The host stands in brackets, as an IPv6 address does. */
  isBracketed: boolean
  port: number
}

/** The parts of `9090`, `localhost:9090` and `[::1]:9090`; undefined for what has none of these forms. Neither the host nor the range of the port is looked at. */
export function hostPortOf(text: string): HostPort | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]:|([^:[\]\s]+):)?(\d{1,5})$/.exec(text) ?? []
  if (digits === undefined) return undefined
  return { host: bracketed ?? plain, isBracketed: bracketed !== undefined, port: Number(digits) }
}
