// The JavaScript of each package that users install, in few files: its exports, the entries of its threads, and the modules that
// several of those share. A thread loads a file for each module otherwise, which took a seventh of the start of a server.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { build } from 'esbuild'
import { projects, root, whenMain } from './lib.mjs'

/** Which sources each built file holds, by their paths in the repository: to find out which sources a program loads. */
const inventory = '.build/bundles.json'

/** The modules that have a file of their own name. */
function entriesOf(folder, threads) {
  const { exports } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'))
  const exported = Object.values(exports).flatMap((target) => target.default?.match(/^\.\/dist\/(.*)\.js$/)?.[1] ?? [])
  return [...exported, ...threads].map((name) => join(root, folder, 'src', `${name}.ts`))
}

// Left as it is where it is the same: a server that runs may load it in this moment.
function write(path, contents) {
  try {
    if (readFileSync(path).equals(contents)) return
  } catch (err) {
    if (err.code !== 'ENOENT') throw err
  }
  writeFileSync(path, contents)
}

async function bundle() {
  const holds = {}
  for (const { folder, threads } of projects) {
    if (!threads) continue
    const dist = join(root, folder, 'dist')
    const { outputFiles, metafile } = await build({
      absWorkingDir: root,
      entryPoints: entriesOf(folder, threads),
      outdir: dist,
      chunkNames: 'shared-[hash]',
      bundle: true,
      splitting: true, // a module is in one file only, so that a class is one class
      format: 'esm',
      platform: 'node',
      target: 'node20',
      packages: 'external',
      sourcemap: true,
      metafile: true,
      write: false,
      logLevel: 'warning',
    })
    mkdirSync(dist, { recursive: true })
    for (const { path, contents } of outputFiles) write(path, contents)
    const written = new Set(outputFiles.map(({ path }) => relative(dist, path)))
    for (const name of readdirSync(dist)) if (/\.js(\.map)?$/.test(name) && !written.has(name)) rmSync(join(dist, name))
    for (const [path, { inputs }] of Object.entries(metafile.outputs)) {
      if (path.endsWith('.js')) holds[path] = Object.keys(inputs)
    }
  }
  writeFileSync(join(root, inventory), `${JSON.stringify(holds, undefined, 2)}\n`)
}

await whenMain(import.meta.url, bundle)
