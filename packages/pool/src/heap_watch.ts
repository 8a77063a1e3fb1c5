import { native } from '@multireactor/addon'

const everyMs = 200

/**
 * Collects the garbage of this thread's heap when there are more than `most` bytes of it, and more than half of what lives there. V8
 * does so later: it asks what its collector would cost, and not what the process may use. Memory of `ArrayBuffer`s that Node has allocated is a
 * part of it; slabs are counted elsewhere. Undefined: V8 alone decides.
 */
export function watchHeap(most: number | undefined): void {
  if (most === undefined) return
  const used = (): number => {
    const { heapUsed, arrayBuffers } = process.memoryUsage()
    return heapUsed + arrayBuffers
  }
  let live = used()
  setInterval(() => {
    const now = used()
    live = Math.min(live, now)
    if (now - live <= Math.max(most, live / 2)) return
    native.collectGarbage()
    live = used()
  }, everyMs).unref()
}
