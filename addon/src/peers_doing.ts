const caused = new WeakSet<object>()

/** So far an error is followed to its cause. */
const mostCauses = 8

/** Marks an error that a peer causes at will, by leaving or by breaking the protocol: it is counted as a close, and not reported. */
export function causedByPeer<T extends Error>(error: T): T {
  caused.add(error)
  return error
}

/** Whether a failure of a hook, or its cause, is such an error. */
export function isPeersDoing(error: unknown): boolean {
  try {
    for (let at = error, i = 0; i < mostCauses && typeof at === 'object' && at !== null; i++) {
      if (caused.has(at)) return true
      at = (at as { cause?: unknown }).cause
    }
  } catch {
    // A Proxy may throw for its cause: it is an object of the app, not an error of a peer.
  }
  return false
}
