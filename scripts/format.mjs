// Checks the format of every source, or with --write corrects it.
import { filesBelow, output, run, StepFailed, whenMain } from './lib.mjs'

function clangFormat() {
  const command = ['clang-format-14', 'clang-format'].find((name) => output(name, ['--version'])?.includes('version 14.'))
  if (command === undefined) throw new StepFailed('clang-format 14 is needed: run scripts/setup-tools.sh.')
  return command
}

const isCpp = (path) => /\.(cc|h)$/.test(path)

export function format({ write = false } = {}) {
  const cpp = ['addon/native/src', 'addon/native/test', 'bench'].flatMap((folder) => filesBelow(folder, isCpp))
  if (cpp.length > 0) run(clangFormat(), [...(write ? ['-i'] : ['--dry-run', '--Werror']), ...cpp])
  run('biome', ['format', ...(write ? ['--write'] : [])])
}

await whenMain(import.meta.url, () => format({ write: process.argv.includes('--write') }))
