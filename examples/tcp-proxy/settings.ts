import type { Choice } from './upstreams.ts'

// From the environment, which every thread has: an app module cannot be given functions or objects.
const { UPSTREAMS = '127.0.0.1:8001,127.0.0.1:8002', CHOICE = 'round-robin', SEND_PROXY, CHECK_MS = '1000' } = process.env
const { CONNECT_MS = '2000', ATTEMPTS = '3', IDLE_MS = '600000', PER_UPSTREAM = '1000' } = process.env

if (CHOICE !== 'round-robin' && CHOICE !== 'least-connections') {
  throw new Error(`CHOICE must be round-robin or least-connections, and is ${CHOICE}`)
}

export const settings = {
  upstreams: UPSTREAMS.split(','),
  choice: CHOICE as Choice,
  /** The version of the PROXY header for the upstreams; undefined: none. */
  sendProxy: SEND_PROXY === undefined ? undefined : SEND_PROXY === '1' ? (1 as const) : (2 as const),
  checkMs: Number(CHECK_MS),
  connectMs: Number(CONNECT_MS),
  attempts: Number(ATTEMPTS),
  idleMs: Number(IDLE_MS),
  mostPerUpstream: Number(PER_UPSTREAM),
}
