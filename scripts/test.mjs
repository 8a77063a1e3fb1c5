// npm test: installs and builds all that is out of date, then runs the C++ tests and the suite. Arguments behind `--` go to mocha.
import { tests } from './checks/table.mjs'
import { whenMain } from './lib.mjs'
import { runSteps } from './steps.mjs'

await whenMain(import.meta.url, () => {
  const given = process.argv.slice(2)
  return runSteps(tests.map((step) => (step.takesArguments ? { ...step, command: [...step.command, ...given] } : step)))
})
