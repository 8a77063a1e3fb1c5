// Installs the newest Node of every supported line into .cache/nodes, from its npm package.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { nodeLines } from './checks/table.mjs'
import { output, root, run, whenMain } from './lib.mjs'

/** The program of a line, 22 for example. */
export function installNode(line) {
  const folder = join(root, '.cache/nodes', String(line))
  const name = `node-linux-${process.arch}`
  const program = join(folder, 'node_modules', name, 'bin/node')
  if (!existsSync(program)) {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
    run('npm', ['install', '--no-audit', '--no-fund', '--no-save', '--prefix', folder, `${name}@${line}`])
  }
  return program
}

/** The programs, this Node first. */
export const installNodes = () => [process.execPath, ...nodeLines.map(installNode)]

await whenMain(import.meta.url, () => {
  for (const program of installNodes()) console.log(`${output(program, ['--version'])}  ${program}`)
})
