import { custom, defineApp, lines } from 'multireactor'
import { Counts } from './counts.ts'
import { cutOctets } from './octets.ts'
import { Sink } from './sink.ts'
import { parseSyslog } from './syslog.ts'

const mostBytes = 64 << 10

// In each worker's thread.
const counts = new Counts()
const sink = new Sink(process.env['OUT'] ?? 'collected.jsonl', {
  onLost: (records) => counts.lose(records),
  say: (line) => console.error(`collector: ${line}`),
})

export default defineApp({
  framing: {
    lines: lines({ maxBytes: mostBytes }),
    octets: custom(cutOctets, { maxBytes: mostBytes }),
    local: lines({ maxBytes: mostBytes }),
  },
  // Senders say nothing for hours.
  idleTimeoutMs: 0,
  firstByteTimeoutMs: 0,
  // The messages of one connection are parsed side by side, and nothing is answered whose order would matter.
  order: 'none',

  parse(frame, ctx) {
    if (frame.length === 0) return
    const record = parseSyslog(frame.toString(), new Date())
    counts.add(record.severity)
    sink.write({ received: ctx.listener, from: ctx.remoteAddress ?? 'local', ...record })
  },

  stop() {
    sink.close()
    counts.close()
  },
})
