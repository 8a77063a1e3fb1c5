// Which of the shards is run here: the next commit runs the next one. Where the commits cannot be counted, the next day does.
import { output } from '../lib.mjs'
import { shardCount } from './table.mjs'

const dayMs = 24 * 60 * 60 * 1_000

/** `commits`: how many HEAD has, or undefined when they cannot be counted; `nowMs`: since 1970. */
export function shardOf({ commits, nowMs }) {
  return (commits ?? Math.floor(nowMs / dayMs)) % shardCount
}

/** How many commits HEAD has; undefined without git and in a shallow clone, which has not all of them. */
export function countCommits(folder) {
  const git = (...args) => output('git', ['-C', folder, ...args])
  if (git('rev-parse', '--is-shallow-repository') !== 'false') return undefined
  const count = git('rev-list', '--count', 'HEAD')
  return count === undefined ? undefined : Number(count)
}
