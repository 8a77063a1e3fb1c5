import { isMainThread } from 'node:worker_threads'

// Loaded into every thread of a server by `--import`, when memory is measured: the memory that other threads' heaps return by themselves, at
// some later time, is more than thousands of idle connections take. Needs --expose-gc.

const channel = new BroadcastChannel('collect garbage')
channel.onmessage = () => globalThis.gc!()
;(channel as unknown as NodeJS.RefCounted).unref()

if (isMainThread) {
  process.on('SIGUSR2', () => {
    channel.postMessage(null)
    globalThis.gc!()
  })
}
