import { type Connection, defineApp, proxyHeader, raw } from 'multireactor'
import { readSettings } from './settings.js'
import { type Upstream, Upstreams } from './upstreams.ts'

const settings = readSettings(process.env)

const limits = { timeoutMs: settings.connectMs }

// One set of upstreams in each reactor's thread, with its own view of their health.
const upstreams = new Upstreams(settings.upstreams, settings.choice, settings.mostPerUpstream)

export default defineApp({
  framing: raw(),
  idleTimeoutMs: settings.idleMs,
  // The upstream may speak first.
  firstByteTimeoutMs: 0,

  start({ reactor }) {
    if (reactor) upstreams.watch(reactor, settings.checkMs, settings.connectMs)
  },
  stop() {
    upstreams.stop()
  },

  async open(conn) {
    conn.pause() // nothing is read before there is an upstream to send it to
    const upstream = await connectToOne(conn)
    if (upstream === undefined) return conn.destroy()
    if (settings.sendProxy !== undefined) {
      const source = { address: conn.remoteAddress, port: conn.remotePort }
      const destination = { address: conn.localAddress, port: conn.localPort }
      upstream.write(proxyHeader({ version: settings.sendProxy, source, destination }))
    }
    // The peer may have left meanwhile.
    if (!conn.pipe(upstream)) upstream.destroy()
  },
  // Required, and never called: piped bytes pass no hook.
  message() {},
})

/** Upstreams are tried until one answers, each at most once. */
async function connectToOne(conn: Connection<undefined>): Promise<Connection<undefined> | undefined> {
  const tried: Upstream[] = []
  for (let attempt = 0; attempt < settings.attempts && !conn.destroyed; attempt++) {
    const upstream = upstreams.choose(tried)
    if (!upstream) break
    tried.push(upstream)
    upstream.open++
    try {
      return await conn.reactor.connect(upstream.target, upstream.handlers, limits)
    } catch (error) {
      upstream.open--
      upstream.down(error)
    }
  }
  if (!conn.destroyed) upstreams.tellRefused()
  return undefined
}
