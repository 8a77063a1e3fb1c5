import { BroadcastChannel } from 'node:worker_threads'

/**
 * Ends a thread of a server whose app has `start` of fixtures/mortal.ts, and resolves when `death` does. Asks again and again: a
 * thread that is still starting does not hear it.
 */
export async function kill<T>(thread: string, death: Promise<T>): Promise<T> {
  const channel = new BroadcastChannel('kill')
  const timer = setInterval(() => channel.postMessage(thread), 10)
  channel.postMessage(thread)
  try {
    return await death
  } finally {
    clearInterval(timer)
    channel.close()
  }
}
