// Runs the steps of a check one after the other, all of them even when one fails, and sums up.
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { root, StepFailed } from './lib.mjs'

/** Lines of a failed step's output that are shown again. */
const linesShownAgain = 80
/** Last lines of a hanging step's output that are shown. */
const linesOfTheEnd = 12

/**
 * In the environment of every process that a step starts: the step, and those that it is itself part of. A process group would lose
 * processes that make a group of their own.
 */
const mark = 'MULTIREACTOR_STEPS'

/** The processes of a step, by their ids. Those of other users cannot be read, and are none. */
function processesOf(id) {
  return readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return []
    try {
      const environ = readFileSync(`/proc/${entry}/environ`, 'latin1').split('\0')
      const steps = environ.find((line) => line.startsWith(`${mark}=`))?.slice(mark.length + 1)
      return steps?.split(',').includes(id) ? [Number(entry)] : []
    } catch {
      return []
    }
  })
}

function nameOf(pid) {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim().slice(0, 120)
  } catch {
    return '(gone)'
  }
}

/** Ends every process of a step, also those that are started meanwhile, and says how many there were. */
function endAll(id) {
  const ended = new Set()
  for (let found = processesOf(id); found.length > 0; found = processesOf(id)) {
    for (const pid of found) {
      ended.add(pid)
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // Has gone by itself.
      }
    }
  }
  return ended.size
}

let counted = 0

/**
 * Runs one step within its budget. Throws StepFailed, with the step's output, when it fails.
 * `goneWithinMs`: processes that the step has started may end this much later. `to`: where its output goes. `over`: ends the step before
 * its budget does.
 */
export async function runStep(
  { name, seconds, command: [program, ...args] },
  { goneWithinMs = 10_000, to = process, over: ended = new EventTarget() } = {},
) {
  const id = `${process.pid}-${++counted}`
  const above = process.env[mark]
  const child = spawn(program, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`,
      [mark]: above ? `${above},${id}` : id,
    },
  })
  let printed = ''
  const show = (stream) => (chunk) => {
    printed += chunk
    if (printed.length > 400_000) printed = printed.slice(-200_000)
    stream.write(chunk)
  }
  child.stdout.setEncoding('utf8').on('data', show(to.stdout))
  child.stderr.setEncoding('utf8').on('data', show(to.stderr))
  const closed = new Promise((resolve) => child.once('close', resolve))
  let over = 0
  const end = () => {
    over = Math.max(1, endAll(id))
  }
  const budget = setTimeout(end, seconds * 1_000)
  ended.addEventListener('abort', end)
  const interrupt = (signal) => {
    endAll(id)
    process.kill(process.pid, signal)
  }
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, interrupt)
  try {
    const result = await new Promise((resolve) => {
      child.once('error', (error) => resolve({ error }))
      child.once('exit', (code, signal) => resolve({ code, signal }))
    })
    const stayed = over || result.error ? [] : await leftBehind(id, goneWithinMs)
    endAll(id)
    if (!result.error) await closed
    const failure =
      (over &&
        `${name}: exceeded its budget of ${seconds} s; its ${over} processes were ended. It printed last:\n${lastLines(printed)}`) ||
      (result.error && `${program}: ${result.error.message}`) ||
      (result.code !== 0 && `${program} ${args.join(' ')}: ${result.signal ?? `exit code ${result.code}`}`) ||
      (stayed.length > 0 && `${name}: left ${stayed.length} processes behind, which were ended:\n${stayed.join('\n')}`)
    if (!failure) return
    const err = new StepFailed(failure)
    err.output = printed
    throw err
  } finally {
    clearTimeout(budget)
    for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, interrupt)
  }
}

/** The command lines of processes that still run some time after their step has ended. */
async function leftBehind(id, goneWithinMs) {
  for (const until = performance.now() + goneWithinMs; performance.now() < until; await delay(50)) {
    if (processesOf(id).length === 0) return []
  }
  return processesOf(id).map((pid) => `  ${pid} ${nameOf(pid)}`)
}

const lastLines = (text) => text.trimEnd().split('\n').slice(-linesOfTheEnd).join('\n')

export async function runSteps(steps) {
  const failed = []
  for (const step of steps) {
    console.log(`\n── ${step.name}`)
    const startedAt = performance.now()
    try {
      await runStep(step)
      console.log(`   ok, ${((performance.now() - startedAt) / 1000).toFixed(1)} of ${step.seconds} s`)
    } catch (err) {
      if (!(err instanceof StepFailed)) throw err
      console.error(err.message)
      failed.push([step.name, err.output])
      if (step.needed) break
    }
  }
  // Once more at the end: pages of other steps may lie between.
  for (const [name, output] of steps.length > 1 ? failed : []) {
    if (output) console.error(`\n── ${name}, which failed, ended with\n${output.split('\n').slice(-linesShownAgain).join('\n')}`)
  }
  if (failed.length > 0) throw new StepFailed(`\nFailed: ${failed.map(([name]) => name).join(', ')}`)
  console.log(`\n${steps.length} checks passed.`)
}
