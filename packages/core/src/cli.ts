import { readFileSync } from 'node:fs'
import { type BalancePolicy, didYouMean, type ErrorCode, MultireactorError, outliveOutput } from '@multireactor/addon'
import type { ListenTls } from '@multireactor/reactor'
import { adminAddress } from './admin_options.js'
import { CertificateFiles } from './certificate_files.js'
import type { ServeAddress, ServeOptions } from './options.js'
import { type Server, startServer } from './server.js'
import { handleSignals } from './signals.js'
import { milliseconds, number, parseCommand, UsageError } from './usage.js'

const help = `Usage: multireactor serve APP [options]
       multireactor send ADDRESS [MESSAGE …] [options]   (see multireactor send --help)

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

Exit codes: 0 closed in order, 1 it could not start or an error closed it, 2 wrong usage, options or app.

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
  version: { type: 'boolean', short: 'v' },
} as const

/** Wrong arguments or options, which a restart cannot mend: exit code 2. */
const usageCodes: readonly string[] = [
  'ERR_MR_ADMIN_TOKEN',
  'ERR_MR_APP_IS_MAIN',
  'ERR_MR_APP_NOT_FOUND',
  'ERR_MR_APP_SHAPE',
  'ERR_MR_NO_POOL',
  'ERR_MR_OPTION_RANGE',
  'ERR_MR_OPTION_TYPE',
  'ERR_MR_TLS',
  'ERR_MR_TS_LOADER',
  'ERR_MR_UNKNOWN_OPTION',
] satisfies ErrorCode[]

/** Supplied by the package with the command. */
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
      console.error(
        `multireactor: ${error.message}\nRun \`multireactor ${argv[0] === 'send' ? 'send ' : ''}--help\` for the options.`,
      )
      return 2
    }
    if (!(error instanceof MultireactorError)) {
      // The app's own: its start hook threw.
      console.error(error instanceof Error ? error.stack : error)
      return 1
    }
    console.error(`multireactor: ${error.message} [${error.code}]`)
    if (error.code === 'ERR_MR_APP_LOAD' && error.cause instanceof Error) console.error(error.cause.stack)
    return usageCodes.includes(error.code) ? 2 : 1
  }
}

async function run(argv: readonly string[], { fetchAdapter }: CliDefaults): Promise<number> {
  // `--help` wins over wrong arguments: its user is still looking for the right ones.
  const known = argv.slice(0, argv.includes('--') ? argv.indexOf('--') : argv.length)
  if (known.includes('--help') || known.includes('-h')) {
    console.log(known.find((word) => !word.startsWith('-')) === 'send' ? (await import('./send_command.js')).sendHelp : help)
    return 0
  }
  if (argv[0] === 'send') return (await import('./send_command.js')).sendCommand(argv.slice(1))
  const { values, positionals } = parseCommand(argv, options)
  if (values.version) {
    console.log(version())
    return 0
  }
  const [command, app, ...rest] = positionals
  if (command === undefined) throw new UsageError('no command given: try `multireactor serve app.ts`')
  if (command !== 'serve') throw new UsageError(`unknown command '${command}'${didYouMean(command, ['serve', 'send'])}`)
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

function version(): string {
  const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}
