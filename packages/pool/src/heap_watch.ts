import { native } from '@multireactor/addon'

const everyMs = 200

/**
 * Collects the garbage of this thread's heap when it exceeds `most` bytes and half of the live bytes. V8 would collect later: it weighs the cost
 * of a collection, not the process's limit. Memory of `ArrayBuffer`s that Node has allocated is a
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
