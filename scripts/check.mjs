// The quick checks: format, lint, types, arrows and packages. Seconds, nothing is run.
import { quick } from './checks/table.mjs'
import { whenMain } from './lib.mjs'
import { runSteps } from './steps.mjs'

await whenMain(import.meta.url, () => runSteps(quick))
