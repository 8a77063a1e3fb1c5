// One shard of the long checks: sanitizers and fuzzing of the C++ code, the suite on every supported Node, the packages as published,
// storms. Which one follows from the number of commits; --shard N names it, --all runs them one after the other.
import { parseArgs } from 'node:util'
import { countCommits, shardOf } from './checks/shard.mjs'
import { shardCount, shards } from './checks/table.mjs'
import { root, StepFailed, whenMain } from './lib.mjs'
import { runSteps } from './steps.mjs'

function chosen() {
  const { values } = parseArgs({ options: { shard: { type: 'string' }, all: { type: 'boolean' } } })
  if (values.all) return [...new Set(shards.flat())]
  const commits = countCommits(root)
  const shard = values.shard === undefined ? shardOf({ commits, nowMs: Date.now() }) : Number(values.shard)
  if (!(shard in shards)) throw new StepFailed(`--shard ${values.shard}: it is a number from 0 to ${shardCount - 1}`)
  const why = values.shard === undefined ? (commits === undefined ? 'by the day' : `by ${commits} commits`) : 'as asked'
  console.log(`Shard ${shard} of 0 to ${shardCount - 1}, ${why}.`)
  return shards[shard]
}

await whenMain(import.meta.url, () => runSteps(chosen()))
