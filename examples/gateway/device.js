// npm run device ID [port]: logs in, sends a reading a second, and answers each command with its bytes in upper case.
import { connect } from 'node:net'
import { login, message, numbered, types } from './protocol.js'

const [, , id = 'device-1', port = '7000'] = process.argv
const secret = process.env.DEVICE_SECRET ?? ''

const socket = connect(Number(port), '127.0.0.1', () => socket.write(login(id, secret)))
let unread = Buffer.alloc(0)
socket.on('data', (chunk) => {
  unread = Buffer.concat([unread, chunk])
  while (unread.length >= 2 && unread.length >= 2 + unread.readUInt16BE(0)) {
    const end = 2 + unread.readUInt16BE(0)
    onMessage(unread[2] ?? 0, unread.subarray(3, end))
    unread = unread.subarray(end)
  }
})
socket.on('error', (error) => console.error(error.message))
socket.on('close', () => process.exit(1))

/** @param {number} type @param {Buffer} body */
function onMessage(type, body) {
  if (type === types.welcome) {
    console.log(`${id} is logged in`)
    setInterval(() => {
      const reading = Buffer.alloc(8)
      reading.writeDoubleBE(20 + Math.random())
      socket.write(message(types.reading, reading))
    }, 1_000)
  } else if (type === types.command && body.length >= 4) {
    const text = body.toString('utf8', 4)
    console.log(`command: ${text}`)
    socket.write(numbered(types.result, body.readUInt32BE(0), text.toUpperCase()))
  } else if (type === types.refused) {
    console.error(`refused: ${body}`)
  }
}
