import { execFile } from 'node:child_process'
import { MultireactorError } from '@multireactor/addon'

/**
 * Node tells the place of a syntax error in an ES module only where it prints the error itself: the stack of one that was caught names
 * neither file nor line. This parses the app's imports, without running them, and prints the first error.
 */
const parser = `
import { existsSync, readFileSync } from 'node:fs'
import * as module from 'node:module'
import { SourceTextModule } from 'node:vm'
const seen = new Set()
const urls = [process.argv[1]]
for (let url; (url = urls.shift()) !== undefined && seen.size < 1_000; ) {
  if (seen.has(url) || !/[.]m?[jt]s$/.test(url) || !existsSync(new URL(url))) continue
  seen.add(url)
  const text = readFileSync(new URL(url), 'utf8')
  const isTyped = url.endsWith('ts')
  // Without a Node that strips types tsx loads TypeScript. Its own errors have their place; its imports may be JavaScript.
  const names = isTyped && !module.stripTypeScriptTypes
    ? [...text.matchAll(/^(?:import|export)[^'"]*['"]([^'"]+)['"]/gm)].map((match) => match[1])
    : new SourceTextModule(isTyped ? module.stripTypeScriptTypes(text) : text, { identifier: url }).dependencySpecifiers
  for (const name of names) if (/^([.]{0,2}[/]|file:)/.test(name)) urls.push(new URL(name, url).href)
}`

const mostMs = 10_000

/** Where an error came from, as the first lines of a stack have it where Node knows: `/srv/app.js:5`. */
export function placeOf(stack: string | undefined): string | undefined {
  const [, path, line] = /^(?:file:\/\/)?(\/[^\n]*):(\d+)\n/.exec(stack ?? '') ?? []
  return path === undefined ? undefined : `${path}:${line}`
}

/** The same error; for an app that could not be parsed, with the place. */
export async function withPlace(error: unknown): Promise<unknown> {
  if (!(error instanceof MultireactorError) || error.code !== 'ERR_MR_APP_LOAD' || !(error.cause instanceof Error)) return error
  const { cause, message } = error
  const [, app] = /^the app (file:\S+) failed to load: /.exec(message) ?? []
  if (app === undefined || !isSyntaxError(cause) || placeOf(cause.stack) !== undefined) return error
  const printed = await new Promise<string>((resolve) => {
    const args = ['--no-warnings', '--experimental-vm-modules', '--input-type=module', '-e', parser, app]
    const env = { ...process.env, NODE_OPTIONS: '' }
    execFile(process.execPath, args, { env, timeout: mostMs }, (_failed, _out, err) => resolve(err))
  })
  const place = placeOf(printed)
  if (place === undefined) return error
  // Up to the stack, which is the parser's.
  const shown = printed.split('\n    at ', 1)[0]!
  const placed = new SyntaxError(cause.message)
  placed.stack = shown
  return new MultireactorError(error.code, `the app ${app} failed to load: ${place}: ${cause.message}`, { cause: placed })
}

function isSyntaxError(cause: Error): boolean {
  return cause.name === 'SyntaxError' || /^SyntaxError\b/.test(cause.stack ?? '')
}
