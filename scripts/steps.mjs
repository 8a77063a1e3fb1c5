// Runs the steps of a check one after the other, all of them even when one fails, and sums up.
import { StepFailed } from './lib.mjs'

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
      failed.push(name)
    }
  }
  if (failed.length > 0) throw new StepFailed(`\nFailed: ${failed.join(', ')}`)
  console.log(`\n${steps.length} checks passed.`)
}
