import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

const architecture: Record<string, string> = { x64: 'x64', arm64: 'aarch64' }
const versionLimitMs = 10_000

let found: { program: string; version: string } | { reason: string } | undefined

/** The program of the optional package, or why there is none. */
export function bun(): { program: string; version: string } | { reason: string } {
  found ??= look()
  return found
}

function look(): { program: string; version: string } | { reason: string } {
  const name = `@oven/bun-linux-${architecture[process.arch]}`
  let program: string
  try {
    // The binary itself: the package `bun` only chooses among these, by a script that npm would have to run.
    program = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), 'bin/bun')
  } catch {
    return { reason: `the optional package ${name} is not installed` }
  }
  try {
    const version = execFileSync(program, ['--version'], { encoding: 'utf8', timeout: versionLimitMs }).trim()
    return { program, version }
  } catch (error) {
    return { reason: `${name} does not run here: ${(error as Error).message.split('\n')[0]}` }
  }
}
