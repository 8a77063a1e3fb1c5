import { parseArgs } from 'node:util'
import { available, chosenByName } from './candidates.js'
import { few, type IdleMemory, idleMemory, many } from './idle.js'
import { buildNative } from './native.js'
import { median } from './statistics.js'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '3' }, only: { type: 'string', default: '' } } })
const parts = values.only.split(',').filter((part) => part !== '')
const asked = parts.length > 0 ? parts : ['C epoll', 'net', 'Bun', 'multireactor 1+0', 'multireactor 1+1']
// `cluster` is left out: its connections are in its children.
const chosen = chosenByName(asked)!.filter(({ name, works }) => works.includes('idle') && !name.startsWith('cluster'))

buildNative()
const { present: measured, absent } = available(chosen)
for (const [name, reason] of absent) process.stderr.write(`left out: ${name}: ${reason}\n`)
process.stdout.write(`Resident memory (anonymous pages) from ${few} to ${many} idle connections\n\n`)
process.stdout.write('| server | bytes per connection, median | all rounds | growth, KiB | open as the server counts |\n')
process.stdout.write('| --- | ---: | --- | --- | --- |\n')
for (const candidate of measured) {
  try {
    const rounds: IdleMemory[] = []
    for (let round = 0; round < Number(values.rounds); round++) rounds.push(await idleMemory(candidate))
    const bytes = rounds.map((one) => Math.round(one.bytes))
    const growth = rounds.map(({ growthKib }) => growthKib).join(', ')
    const open = [...new Set(rounds.map((one) => one.open.join(' and ')))].join(', ')
    process.stdout.write(`| ${candidate.name} | ${Math.round(median(bytes))} | ${bytes.join(', ')} | ${growth} | ${open} |\n`)
  } catch (error) {
    process.exitCode = 1
    process.stdout.write(`| ${candidate.name} | failed: ${(error as Error).message.replaceAll(/\s+/g, ' ')} | | | |\n`)
  }
}
