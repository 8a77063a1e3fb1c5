import { existsSync, realpathSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { MultireactorError, OptionReader, runModes, shown, toEnvelope } from '@multireactor/addon'
import type { ConnectionOptions } from '@multireactor/reactor'
import { connectionOptionNames, type Framing, handoverHookNames, hookNames, isFraming, raw } from '@multireactor/reactor/app'
import type { App } from './app.js'
import type { ListenerPlan } from './reactor_thread.js'

/** Beside the hooks of connections. */
const appHookNames = ['balance', 'parse', 'task', 'error', 'overloaded', 'onCall', 'start', 'stop'] as const
const appKeys = [...hookNames, ...handoverHookNames, ...connectionOptionNames, 'run', ...appHookNames] as const

/** On the main thread, which never imports the app: where its module is. Throws `ERR_MR_APP_NOT_FOUND`, `ERR_MR_APP_IS_MAIN`. */
export function appUrl(where: string, app: unknown): string {
  if ((typeof app !== 'string' || app === '') && !(app instanceof URL)) {
    throw new MultireactorError(
      'ERR_MR_OPTION_TYPE',
      `${where}: 'app' must be the URL or path of a module, and is ${shown(app)}: functions cannot cross threads`,
    )
  }
  const url = app instanceof URL ? app : app.startsWith('file:') ? new URL(app) : pathToFileURL(app)
  if (url.protocol !== 'file:') {
    throw new MultireactorError('ERR_MR_APP_NOT_FOUND', `${where}: the app must be a file, and is ${url.href}`)
  }
  const path = fileURLToPath(url)
  if (!existsSync(path))
    throw new MultireactorError('ERR_MR_APP_NOT_FOUND', `${where}: there is no app module at ${path}${sibling(path)}`)
  const main = process.argv[1]
  if (main && existsSync(main) && realpathSync(main) === realpathSync(path)) {
    throw new MultireactorError(
      'ERR_MR_APP_IS_MAIN',
      `${where}: the app ${path} is the running main module, so every thread would start the server again: put serve() into a file of its own, or run \`multireactor serve ${path}\``,
    )
  }
  return url.href
}

/** A compiled program still names `./app.ts`, and the compiler has made `app.js` of it; or the other way round, from source. */
function sibling(path: string): string {
  const [, stem, m, kind] = /^(.*)\.([mc]?)([jt])s$/.exec(path) ?? []
  const other = `${stem}.${m}${kind === 't' ? 'j' : 't'}s`
  return stem !== undefined && existsSync(other) ? `, but there is ${other}` : ''
}

/** Imports and checks an app, in a reactor's or worker's thread. */
// biome-ignore lint/suspicious/noExplicitAny: the data of connections differs from app to app
async function loadApp(url: string, fetchAdapter: string | undefined): Promise<App<any>> {
  if (['.ts', '.mts', '.cts'].includes(extname(fileURLToPath(url)))) await allowTypeScript()
  let module: { default?: unknown }
  try {
    module = (await import(url)) as { default?: unknown }
  } catch (cause) {
    const { message, stack } = toEnvelope(cause)
    // The head of a stack has the place where that is another file's.
    const place = /^(?:file:\/\/)?(\/[^\n]*:\d+)\n/.exec(stack ?? '')?.[1]
    throw new MultireactorError('ERR_MR_APP_LOAD', `the app ${url} failed to load: ${place ? `${place}: ` : ''}${message}`, {
      cause,
    })
  }
  return checkedApp(url, await adapted(url, exportedBy(module.default), fetchAdapter))
}

/** CommonJS that was compiled from an ES module has its default export one level deeper: Node gives all its exports as the default one. */
function exportedBy(exported: unknown): unknown {
  const isCompiled =
    typeof exported === 'object' && exported !== null && (exported as { __esModule?: unknown }).__esModule === true
  return isCompiled ? (exported as { default?: unknown }).default : exported
}

/** The apps of some listeners, each imported once. */
// biome-ignore lint/suspicious/noExplicitAny: as above
export async function loadApps(plans: readonly { app: string; fetchAdapter?: string }[]): Promise<Map<string, App<any>>> {
  const apps = new Map<string, App>()
  for (const { app, fetchAdapter } of plans) if (!apps.has(app)) apps.set(app, await loadApp(app, fetchAdapter))
  return apps
}

/** `export default { fetch }`, as other runtimes know it, is no app yet. */
async function adapted(url: string, exported: unknown, fetchAdapter: string | undefined): Promise<unknown> {
  if (typeof exported !== 'object' || exported === null) return exported
  const { fetch } = exported as { fetch?: unknown }
  if (fetch === undefined) return exported
  if (typeof fetch !== 'function') {
    throw new MultireactorError('ERR_MR_OPTION_TYPE', `the app ${url}: 'fetch' must be a function, and is ${shown(fetch)}`)
  }
  if (fetchAdapter === undefined) {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `the app ${url} exports fetch: wrap it in httpApp() of @multireactor/http, or serve it with multireactor, which does`,
    )
  }
  const { adapt } = (await import(fetchAdapter)) as { adapt(exported: object): unknown }
  return adapt(exported)
}

/** Where an app's connections come from. */
export function placesOf(plans: readonly ListenerPlan[], app: string): { name: string; address: string; port: number }[] {
  return plans.filter((plan) => plan.app === app).map(({ name, address, port }) => ({ name, address, port }))
}

async function allowTypeScript(): Promise<void> {
  // From 22.18 on Node strips types by itself; the types of Node 20 do not know the property.
  if ((process.features as { typescript?: unknown }).typescript) return
  try {
    const tsx = (await import('tsx/esm/api')) as { register(): unknown }
    tsx.register()
  } catch (cause) {
    throw new MultireactorError(
      'ERR_MR_TS_LOADER',
      `Node ${process.versions.node} cannot load TypeScript by itself: run \`npm install tsx\`, or give the app as JavaScript`,
      { cause },
    )
  }
}

// biome-ignore lint/suspicious/noExplicitAny: as above
function checkedApp(url: string, app: unknown): App<any> {
  const where = `the app ${url}`
  if (typeof app !== 'object' || app === null) {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `${where} needs \`export default defineApp({ … })\`, and its default export is ${shown(app)}`,
    )
  }
  if (isExistingServer(app)) {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `${where} has ${shown(app)} as its default export: write \`export default attach(() => server)\`, and create the server within the function, which runs once in each reactor's thread`,
    )
  }
  const read = new OptionReader(where, app, appKeys)
  for (const hook of [...hookNames, ...handoverHookNames, ...appHookNames]) read.func(hook)
  if (!read.raw('parse') && !read.raw('message')) {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `${where} has neither a parse nor a message hook: nothing would answer its frames`,
    )
  }
  if (read.oneOf('run', 'pool', runModes) !== 'pool' && (read.raw('message') || !read.raw('parse'))) {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `${where} has run: ${shown(read.raw('run'))}, which says where parse runs, ${
        read.raw('message') ? 'beside a message hook, which decides that itself: drop one of them' : 'and no parse hook'
      }`,
    )
  }
  const framing = read.raw('framing')
  if (framing !== undefined && !isFraming(framing)) {
    const all = typeof framing === 'object' && framing !== null ? Object.values(framing) : []
    if (all.length === 0 || !all.every(isFraming)) {
      throw new MultireactorError(
        'ERR_MR_OPTION_TYPE',
        `${where}: 'framing' must be a framing such as lines(), or a map from listener names to framings, and is ${shown(framing)}`,
      )
    }
  }
  return app as App
}

/** One of node:net, node:http and the like. */
function isExistingServer(value: object): boolean {
  return ['emit', 'listen', 'address'].every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
}

/** The app's options for the connections of one listener. */
// biome-ignore lint/suspicious/noExplicitAny: as above
export function connectionOptions(app: App<any>, listener: string): ConnectionOptions {
  const options = Object.fromEntries(
    connectionOptionNames.flatMap((name) => (app[name] === undefined ? [] : [[name, app[name]]])),
  ) as ConnectionOptions
  return { ...options, framing: framingOf(app, listener) }
}

// biome-ignore lint/suspicious/noExplicitAny: as above
function framingOf(app: App<any>, listener: string): Framing {
  const { framing } = app
  if (framing === undefined) return raw()
  if (isFraming(framing)) return framing
  const named = framing[listener]
  if (!named) {
    throw new MultireactorError(
      'ERR_MR_APP_SHAPE',
      `the app's framing map has no entry for the listener '${listener}' (it has ${Object.keys(framing).join(', ')})`,
    )
  }
  return named
}
