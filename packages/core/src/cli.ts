import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type BalancePolicy, didYouMean, MultireactorError, outliveOutput } from '@multireactor/addon'
import type { ListenTls } from '@multireactor/reactor'
import { adminAddress } from './admin_options.js'
import { CertificateFiles } from './certificate_files.js'
import type { ServeAddress, ServeOptions } from './options.js'
import { type Server, startServer } from './server.js'
import { handleSignals } from './signals.js'

const help = `Usage: multireactor serve APP [options]

Serves an app module (.js or .ts) with several reactors and a pool.

  --port N, -p N      TCP port; may be given several times. Default: $PORT, else 7000
  --host ADDRESS      Address to listen on. Default: $HOST, else all addresses
  --path FILE         Unix socket; may be given several times
  --tls-cert FILE     TLS on every port: the certificate chain, in PEM
  --tls-key FILE      Its private key, in PEM. Both are used anew when they change, and on SIGHUP
  --systemd           Sockets from systemd (socket activation)
  --control FILE      Unix socket for hot restarts: a new process with the same FILE takes over
  --admin [HOST:]PORT HTTP listener with /metrics, /healthz and /readyz. Default host: 127.0.0.1
  --admin-token FILE  Token that /metrics asks for (Bearer). Needed where HOST is not a loopback address
  --reactors N        Reactor threads. Default: one for each CPU that the process, or its container, may use
  --balance POLICY    Which reactor gets a connection: kernel (default), least-connections, address
  --pin               Keep each reactor on one CPU, in turn
  --pool N            Pool workers. Default: the same if the app has parse or task
  --start-timeout MS  Time for a thread to load the app and run its start hook. Default: 60000
  --task-timeout MS   Time limit of one parse. Default: 30000
  --hook-timeout MS   Time limit of a hook; its thread is then replaced. Default: 30000
  --reload-timeout MS Time for the old threads to finish their connections on SIGHUP. Default: 5000
  --drain-delay MS    Time between /readyz saying 503 and the end of accepting, on SIGINT or SIGTERM. Default: 0
  --close-timeout MS  Time to answer what is in flight on SIGINT or SIGTERM. Default: 5000
  --help, -h          This text
  --version, -v       The version

Limits of memory, connections, queue and heaps: the options of serve() in a program (docs/limits.md).

Example: multireactor serve app.ts --port 7000 --reactors 2 --pool 2`

const options = {
  port: { type: 'string', short: 'p', multiple: true },
  host: { type: 'string' },
  path: { type: 'string', multiple: true },
  'tls-cert': { type: 'string' },
  'tls-key': { type: 'string' },
  systemd: { type: 'boolean' },
  control: { type: 'string' },
  admin: { type: 'string' },
  'admin-token': { type: 'string' },
  reactors: { type: 'string' },
  balance: { type: 'string' },
  pin: { type: 'boolean' },
  pool: { type: 'string' },
  'start-timeout': { type: 'string' },
  'task-timeout': { type: 'string' },
  'hook-timeout': { type: 'string' },
  'reload-timeout': { type: 'string' },
  'drain-delay': { type: 'string' },
  'close-timeout': { type: 'string' },
  help: { type: 'boolean', short: 'h' },
  version: { type: 'boolean', short: 'v' },
} as const

class UsageError extends Error {}

/** What the package with the command brings along. */
export interface CliDefaults {
  fetchAdapter?: URL | string
}

/** Runs the command line and resolves to the exit code: 0, 1 when the server failed, 2 on wrong usage. */
export async function main(argv: readonly string[], defaults: CliDefaults = {}): Promise<number> {
  outliveOutput()
  try {
    return await run(argv, defaults)
  } catch (error) {
    if (error instanceof UsageError) {
      console.error(`multireactor: ${error.message}\nRun \`multireactor --help\` for the options.`)
      return 2
    }
    if (!(error instanceof MultireactorError)) {
      // The app's own: its start hook threw.
      console.error(error instanceof Error ? error.stack : error)
      return 1
    }
    console.error(`multireactor: ${error.message} [${error.code}]`)
    if (error.code === 'ERR_MR_APP_LOAD' && error.cause instanceof Error) console.error(error.cause.stack)
    return error.code.startsWith('ERR_MR_OPTION') ||
      error.code === 'ERR_MR_TLS' ||
      error.code === 'ERR_MR_ADMIN_TOKEN' ||
      error.code === 'ERR_MR_APP_NOT_FOUND'
      ? 2
      : 1
  }
}

async function run(argv: readonly string[], { fetchAdapter }: CliDefaults): Promise<number> {
  const { values, positionals } = parse(argv)
  if (values.help) {
    console.log(help)
    return 0
  }
  if (values.version) {
    console.log(version())
    return 0
  }
  const [command, app, ...rest] = positionals
  if (command === undefined) throw new UsageError('no command given: try `multireactor serve app.ts`')
  if (command !== 'serve') throw new UsageError(`unknown command '${command}'${didYouMean(command, ['serve'])}`)
  if (app === undefined) throw new UsageError('serve needs an app module: `multireactor serve app.ts`')
  if (rest.length > 0) throw new UsageError(`serve takes one app module, and got '${rest[0]}' too`)
  const host = values.host ?? (process.env['HOST'] || undefined)
  const addresses: ServeAddress[] = (values.path ?? []).map((path) => ({ path }))
  if (values.systemd) addresses.push({ systemd: true })
  const fromEnvironment = values.port === undefined && addresses.length === 0
  const ports = values.port ?? (fromEnvironment ? [process.env['PORT'] || '7000'] : [])
  const tls = tlsFiles(values['tls-cert'], values['tls-key'])
  for (const port of ports) {
    addresses.push({
      port: number(fromEnvironment ? '$PORT' : '--port', port),
      ...(host ? { host } : {}),
      ...(tls ? { tls: firstPair(tls) } : {}),
    })
  }
  const closeTimeoutMs = milliseconds('--close-timeout', values['close-timeout'] ?? '5000')
  const drainDelayMs = milliseconds('--drain-delay', values['drain-delay'] ?? '0')
  const reloadTimeoutMs = milliseconds('--reload-timeout', values['reload-timeout'] ?? '5000')
  const starting = startServer({
    app,
    ...(fetchAdapter === undefined ? {} : { fetchAdapter }),
    listen: addresses,
    ...(values.control === undefined ? {} : { control: { path: values.control, timeoutMs: closeTimeoutMs } }),
    ...adminOptions(values.admin, values['admin-token']),
    ...(values.reactors === undefined ? {} : { reactors: number('--reactors', values.reactors) }),
    ...(values.balance === undefined ? {} : { balance: values.balance as BalancePolicy }),
    ...(values.pin ? { pin: true } : {}),
    ...(values['start-timeout'] === undefined ? {} : { startTimeoutMs: number('--start-timeout', values['start-timeout']) }),
    ...(values['hook-timeout'] === undefined ? {} : { hookTimeoutMs: number('--hook-timeout', values['hook-timeout']) }),
    pool: {
      ...(values.pool === undefined ? {} : { size: number('--pool', values.pool) }),
      ...(values['task-timeout'] === undefined ? {} : { taskTimeoutMs: number('--task-timeout', values['task-timeout']) }),
    },
  })
  const ended = handleSignals(starting, {
    closeTimeoutMs,
    drainDelayMs,
    reloadTimeoutMs,
    ...(tls ? { beforeReload: (server) => renew(server, tls.read()) } : {}),
  })
  const server = await starting
  tls?.watch(
    async (pair) => {
      await renew(server, pair)
      console.log('renewed the certificate')
    },
    (error) => console.error(`multireactor: the new certificate cannot be used, the old one goes on: ${error.message}`),
  )
  for (const { address, port, reactors } of server.listeners) {
    const place = port === 0 ? address : `${address.includes(':') ? `[${address}]` : address}:${port}`
    console.log(`listening on ${place} with ${reactors} reactor${reactors === 1 ? '' : 's'}`)
  }
  console.log(`${server.startLine}, pid ${process.pid}`)
  return ended.finally(() => tls?.close())
}

async function renew(server: Server, tls: ListenTls): Promise<void> {
  for (const { name, port } of server.listeners) if (port !== 0) await server.setTls(name, tls)
}

function adminOptions(address: string | undefined, tokenFile: string | undefined): Pick<ServeOptions, 'admin'> {
  if (address === undefined && tokenFile !== undefined) throw new UsageError('--admin-token goes with --admin')
  if (address === undefined) return {}
  return { admin: { ...adminAddress('--admin', address), ...(tokenFile === undefined ? {} : { tokenFile }) } }
}

function tlsFiles(cert: string | undefined, key: string | undefined): CertificateFiles | undefined {
  if (cert === undefined && key === undefined) return undefined
  if (cert === undefined || key === undefined) throw new UsageError('--tls-cert and --tls-key go together')
  return new CertificateFiles({ flag: '--tls-cert', file: cert }, { flag: '--tls-key', file: key })
}

function firstPair(files: CertificateFiles): ListenTls {
  try {
    return files.read()
  } catch (error) {
    throw new UsageError((error as Error).message)
  }
}

function parse(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options, allowPositionals: true })
  } catch (error) {
    const unknown = /Unknown option '(--?[^'\s]+)'/.exec(error instanceof Error ? error.message : '')?.[1]
    if (unknown === undefined) throw new UsageError(error instanceof Error ? error.message : String(error))
    const hint = didYouMean(unknown.replace(/^-+/, ''), Object.keys(options)).replace("mean '", "mean '--")
    throw new UsageError(`unknown option '${unknown}'${hint}`)
  }
}

function number(flag: string, text: string): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value))
    throw new UsageError(`${flag} must be a whole number, and is '${text}'`)
  return value
}

/** Checked at the start: a signal is no moment to find out. */
function milliseconds(flag: string, text: string): number {
  const value = number(flag, text)
  if (value > 0x7fff_ffff) throw new UsageError(`${flag} is in milliseconds, at most ${0x7fff_ffff}, and is '${text}'`)
  return value
}

function version(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
