import type { Extension } from './websocket_extensions.js'

export const extensionName = 'permessage-deflate'
export const mostWindowBits = 15
const leastWindowBits = 8
/** Without leading zeros (RFC 7692, section 7.1.2.1). */
const windowBitsForm = /^(?:[89]|1[0-5])$/

/** The server's conditions for every agreement. */
export interface DeflateLimits {
  /** The largest window that messages of the server are compressed with. */
  serverMaxWindowBits: number
  /** The largest window that messages of the client may need. */
  clientMaxWindowBits: number
}

/** The agreement with one client. Neither side keeps a context from one message to the next. */
export interface DeflateAgreement {
  /** The client inflates with a window of so many bits. */
  serverWindowBits: number
  /** The value of `Sec-WebSocket-Extensions` in the response. */
  response: string
}

/** Accepts the first acceptable offer (RFC 7692, section 7.1). Undefined: none, messages are not compressed. */
export function agreeOnDeflate(offers: readonly Extension[], limits: DeflateLimits): DeflateAgreement | undefined {
  for (const { name, parameters } of offers) {
    if (name !== extensionName) continue
    const agreement = agree(parameters, limits)
    if (agreement) return agreement
  }
  return undefined
}

function agree(parameters: Extension['parameters'], limits: DeflateLimits): DeflateAgreement | undefined {
  const offer = new Map(parameters)
  // One that comes twice, like one that is not known or has a wrong value, declines the offer.
  if (offer.size !== parameters.length) return undefined
  for (const [name, value] of offer) if (!isInOrder(name, value)) return undefined
  const clientOffers = offer.has('client_max_window_bits')
  // A client that does not offer it cannot be told to use a smaller one.
  if (limits.clientMaxWindowBits < mostWindowBits && !clientOffers) return undefined
  const asked = Number(offer.get('server_max_window_bits') ?? mostWindowBits)
  const serverWindowBits = Math.min(asked, limits.serverMaxWindowBits)
  let response = `${extensionName}; server_no_context_takeover; client_no_context_takeover`
  if (serverWindowBits < mostWindowBits || offer.has('server_max_window_bits')) {
    response += `; server_max_window_bits=${serverWindowBits}`
  }
  if (limits.clientMaxWindowBits < mostWindowBits) {
    const most = Number(offer.get('client_max_window_bits') ?? mostWindowBits)
    response += `; client_max_window_bits=${Math.min(most, limits.clientMaxWindowBits)}`
  }
  return { serverWindowBits, response }
}

function isInOrder(name: string, value: string | undefined): boolean {
  switch (name) {
    case 'server_no_context_takeover':
    case 'client_no_context_takeover':
      return value === undefined
    case 'server_max_window_bits':
      return value !== undefined && windowBitsForm.test(value)
    case 'client_max_window_bits':
      return value === undefined || windowBitsForm.test(value)
    default:
      return false
  }
}

/** Whether a message fits the window: nothing in one that is no longer refers further back. */
export function fitsWindow(bytes: number, windowBits: number): boolean {
  return bytes <= 2 ** Math.max(windowBits, leastWindowBits)
}
