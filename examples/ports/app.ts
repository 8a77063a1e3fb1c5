import { defineApp, fixed, lengthPrefixed, lines } from 'multireactor'

// One app behind three listeners. The keys are the listeners' names in main.js.
export default defineApp({
  framing: {
    text: lines({ maxBytes: 4096 }),
    binary: lengthPrefixed({ type: 'u16be' }),
    readings: fixed(8),
  },
  open() {
    return { sum: 0 }
  },
  message(conn, frame) {
    switch (conn.listener) {
      case 'text': // a line comes in without its newline
        conn.write(`${frame.toString().toUpperCase()}\n`)
        break
      case 'binary': {
        // a message comes in without its two bytes of length; the reply gets its own
        const header = Buffer.alloc(2)
        header.writeUInt16BE(frame.length)
        conn.write(Buffer.concat([header, Buffer.from(frame).reverse()]))
        break
      }
      case 'readings': {
        // a reading is one double; the reply is the sum so far
        conn.data.sum += frame.readDoubleBE()
        const reply = Buffer.alloc(8)
        reply.writeDoubleBE(conn.data.sum)
        conn.write(reply)
        break
      }
    }
  },
})
