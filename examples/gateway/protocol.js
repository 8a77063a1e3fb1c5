// Shared by gateway and device. A message is a length (two bytes, big-endian), a type (one byte) and a body of that type.
import { createHmac, timingSafeEqual } from 'node:crypto'

export const types = /** @type {const} */ ({
  // From the device.
  login: 1, // the length of the id (one byte), the id, a token of 32 bytes
  reading: 2, // a double
  result: 3, // the number of a command (four bytes), bytes
  ping: 4,
  // To the device.
  welcome: 129,
  command: 130, // its number (four bytes), bytes
  pong: 131,
  refused: 132, // a text; the connection ends
})

/** Of a message without its length. */
export const mostBytes = 2_048
/** Of a command, and of its result. */
export const mostCommandBytes = 1_024
export const idForm = /^[\w.-]{1,64}$/

/** @param {number} type @param {Uint8Array | string} [body] */
export function message(type, body = '') {
  const bytes = Buffer.from(body)
  const head = Buffer.alloc(3)
  head.writeUInt16BE(1 + bytes.length)
  head[2] = type
  return Buffer.concat([head, bytes])
}

/** A command or a result. @param {number} type @param {number} number @param {Uint8Array | string} bytes */
export function numbered(type, number, bytes) {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(number)
  return message(type, Buffer.concat([head, Buffer.from(bytes)]))
}

/** @param {string} device @param {string} secret */
export function login(device, secret) {
  return message(types.login, Buffer.concat([Buffer.from([device.length]), Buffer.from(device), token(device, secret)]))
}

/** The id of the device whose login this is; undefined: it is none, or its token is wrong. @param {Buffer} body @param {string} secret */
export function deviceOf(body, secret) {
  const length = body[0] ?? 0
  const device = body.toString('latin1', 1, 1 + length)
  const given = body.subarray(1 + length)
  if (!idForm.test(device) || given.length !== 32) return undefined
  return timingSafeEqual(given, token(device, secret)) ? device : undefined
}

/**
 * The token that a device is given in the factory. The owner of the secret can compute it again, so the gateway keeps no list. @param {string}
 * device @param {string} secret
 */
function token(device, secret) {
  return createHmac('sha256', secret).update(device).digest()
}
