import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const examples = fileURLToPath(new URL('../../../examples/', import.meta.url))

/** A TypeScript module of an example, on every Node, and without a loader's thread that would stay for the tests that follow. */
export async function importExample(path: string): Promise<unknown> {
  // Read when it is loaded: it would start a thread of its own, and keep it.
  process.env['ESBUILD_WORKER_THREADS'] = '0'
  const { buildSync } = await import('esbuild')
  const { outputFiles } = buildSync({
    entryPoints: [join(examples, path)],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    write: false,
  })
  const folder = mkdtempSync(join(tmpdir(), 'multireactor-example-'))
  try {
    const file = join(folder, 'module.mjs')
    writeFileSync(file, outputFiles[0]!.contents)
    return await import(pathToFileURL(file).href)
  } finally {
    rmSync(folder, { recursive: true })
  }
}
