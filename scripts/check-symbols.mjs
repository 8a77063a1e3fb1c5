// Checks that a native build runs on old distributions: which versions of the C and C++ libraries it asks for.
//   node scripts/check-symbols.mjs FILE.node
import { output, StepFailed, whenMain } from './lib.mjs'

// The versions of RHEL 8, the oldest distribution that Node's own binaries support.
const highest = { GLIBC: '2.28', GLIBCXX: '3.4.25' }

function isAbove(version, limit) {
  const [a, b] = [version, limit].map((text) => text.split('.').map(Number))
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    if ((a[i] ?? 0) !== (b[i] ?? 0)) return (a[i] ?? 0) > (b[i] ?? 0)
  }
  return false
}

export function checkSymbols(file) {
  const symbols = output('objdump', ['-T', file])
  if (symbols === undefined) throw new StepFailed(`objdump cannot read ${file}: is binutils installed, and the file there?`)
  const tooNew = symbols.split('\n').filter((line) => {
    const [, library, version] = line.match(/\b(GLIBC|GLIBCXX)_([0-9.]+)/) ?? []
    return library !== undefined && isAbove(version, highest[library])
  })
  if (tooNew.length > 0) {
    throw new StepFailed(
      `${file} needs newer libraries than GLIBC ${highest.GLIBC} and GLIBCXX ${highest.GLIBCXX}:\n${tooNew.join('\n')}`,
    )
  }
}

await whenMain(import.meta.url, () => {
  for (const file of process.argv.slice(2)) checkSymbols(file)
})
