// The quick checks: format, lint, types, arrows and packages. Seconds, nothing is run.
import { arrowViolations } from './check-arrows.mjs'
import { format } from './format.mjs'
import { projects, root, run, StepFailed, whenMain } from './lib.mjs'
import { prepare } from './prepare.mjs'
import { runSteps } from './steps.mjs'

await whenMain(import.meta.url, () => {
  prepare()
  runSteps([
    ['format', () => format()],
    ['lint', () => run('npm', ['run', '--silent', 'lint'])],
    ['types', () => run('tsc', ['-b'])],
    [
      'arrows',
      () => {
        const violations = arrowViolations(root)
        if (violations.length > 0) throw new StepFailed(violations.join('\n'))
      },
    ],
    ...projects
      .filter(({ folder }) => !['bench', 'test'].includes(folder))
      .map(({ folder }) => [`package ${folder}`, () => run('publint', ['run', folder, '--strict', '--pack', 'npm'])]),
  ])
})
