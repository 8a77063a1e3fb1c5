import { readdirSync, readlinkSync } from 'node:fs'
import { stat } from 'node:fs/promises'
import { expect } from 'chai'

// libuv starts the four threads of its pool with the first asynchronous file access, and keeps them.
await stat('/')

/** The process as the kernel sees it: descriptors by kind, and threads. */
export function census(): { sockets: number; epolls: number; eventfds: number; threads: number } {
  const kinds = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      return '' // the descriptor of this very listing
    }
  })
  const count = (match: RegExp) => kinds.filter((kind) => match.test(kind)).length
  return {
    sockets: count(/^socket:/),
    epolls: count(/eventpoll/),
    eventfds: count(/eventfd/),
    threads: readdirSync('/proc/self/task').length,
  }
}

export function expectNothingLeft(before: ReturnType<typeof census>): void {
  const { threads, ...descriptors } = census()
  const { threads: threadsBefore, ...descriptorsBefore } = before
  expect(descriptors).to.deep.equal(descriptorsBefore)
  // The kernel takes a thread off the list a moment after it was joined; one of V8's helpers may come or go.
  expect(threads).to.be.at.most(threadsBefore + 1)
}
