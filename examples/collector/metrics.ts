import { httpApp, prometheusContentType, prometheusText, type ServerHandle } from 'multireactor'
import { CountsOfAll, severities } from './counts.ts'

let server: ServerHandle
const counts = new CountsOfAll()

// The app of the listener `metrics` alone. The counters are native: reading them asks no other thread, however busy it is.
export default httpApp({
  start(context) {
    server = context.server
  },
  request(req, res) {
    if (req.path !== '/metrics') return res.status(404).end('there is only /metrics\n')
    res.setHeader('Content-Type', prometheusContentType).end(`${messages()}${prometheusText(server.stats())}`)
  },
  stop() {
    counts.close()
  },
})

function messages(): string {
  const samples = severities.map((severity, i) => `collector_messages_total{severity="${severity}"} ${counts.sum(i)}\n`)
  return (
    '# HELP collector_messages_total Messages collected, by severity.\n# TYPE collector_messages_total counter\n' +
    samples.join('') +
    '# HELP collector_records_lost_total Records that could not be written.\n# TYPE collector_records_lost_total counter\n' +
    `collector_records_lost_total ${counts.lost}\n`
  )
}
