let outlived = false

/**
 * The reader of standard output may go away (EPIPE, EIO), and its disk may be full (ENOSPC): Node emits an `error` on the stream then,
 * which ends the process when nothing listens. A report must not end the process: its line is lost, and the next one is tried again.
 */
export function outliveOutput(): void {
  if (outlived) return
  outlived = true
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
}
