// Runs the steps of a check one after the other, all of them even when one fails, and sums up.
import { StepFailed } from './lib.mjs'

/** Of what a failed step has printed, as much as shows why. */
const linesShownAgain = 80

export function runSteps(steps) {
  const failed = []
  for (const [name, step] of steps) {
    console.log(`\n── ${name}`)
    const startedAt = performance.now()
    try {
      step()
      console.log(`   ok, ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
    } catch (err) {
      if (!(err instanceof StepFailed)) throw err
      console.error(err.message)
      failed.push([name, err.output])
    }
  }
  // Once more at the end: pages of other steps may lie between.
  for (const [name, output] of failed) {
    if (output) console.error(`\n── ${name}, which failed, ended with\n${output.split('\n').slice(-linesShownAgain).join('\n')}`)
  }
  if (failed.length > 0) throw new StepFailed(`\nFailed: ${failed.map(([name]) => name).join(', ')}`)
  console.log(`\n${steps.length} checks passed.`)
}
