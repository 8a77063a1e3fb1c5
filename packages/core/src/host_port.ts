export interface HostPort {
  /** Undefined: the text is a port alone. */
  host: string | undefined
  /** The host stands in brackets, as an IPv6 address does. */
  isBracketed: boolean
  port: number
}

/** The parts of `9090`, `localhost:9090` and `[::1]:9090`; undefined for other forms. The host and the range of the port are not checked. */
export function hostPortOf(text: string): HostPort | undefined {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]:|([^:[\]\s]+):)?(\d{1,5})$/.exec(text) ?? []
  if (digits === undefined) return undefined
  return { host: bracketed ?? plain, isBracketed: bracketed !== undefined, port: Number(digits) }
}
