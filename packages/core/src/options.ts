import type { ResourceLimits } from 'node:worker_threads'
import type { BalancePolicy } from '@multireactor/addon'
import type { Machine } from '@multireactor/pool/group'
import type { ListenAddress, ListenTls } from '@multireactor/reactor'
import type { AdminSettings, CheckedAdmin } from './admin_options.js'
import type { ControlSettings } from './control.js'
import type { Logger } from './logger.js'
import type { PinChoice, Pins, PinSettings } from './pin.js'

/** An address, and for a list of them a name and an app of its own. */
export interface ServeAddress extends ListenAddress {
  /** This listener's app instead of the server's. */
  app?: URL | string
  /** Which reactor gets its connections, instead of the server's `balance`. */
  balance?: BalancePolicy
}

/** The worker pool of a server. */
export interface PoolSettings {
  /** Threads. */
  size?: number
  /**
   * Unsettled asynchronous frames of one worker: 1 to 4,096. Default 32. A `parse` that gathers frames into a batch gets no batch above `concurrency`
   * in one worker, and one that waits for a fuller batch waits for its timer: see docs/calls.md.
   */
  concurrency?: number
  /**
   * Priority of the workers below that of the reactors and of other processes, where cores are scarce: 0 to 19, as in `nice(1)`, added to that
   * of the process. Default 0. See docs/placement.md.
   */
  nice?: number
  /** Tasks that wait; reactors stop reading there. Default 16,384. */
  maxQueued?: number
  /**
   * For a frame that finds the queue full. `'pause'` (default): reactors stop reading, and TCP makes the clients wait.
   * `'reject'`: the app's `overloaded` hook answers, ahead of the queue; without it the connection closes. `'close'`: it closes.
   */
  onQueueFull?: 'pause' | 'reject' | 'close'
  /** A frame that has waited longer is refused, by `overloaded` or by closing. Default 0: frames wait as long as it takes. */
  maxWaitMs?: number
  /** Bytes of the tasks that wait. Default 256 MiB. */
  maxQueuedBytes?: number
  /** A frame that runs longer errs; a worker that does not come back is replaced. Default 30,000. */
  taskTimeoutMs?: number
  /** For a frame whose worker died: its connection closes (default), or it runs once more. */
  onTaskLost?: 'close' | 'retry'
}

/** Exact over all reactors. Connections beyond them are closed at once, with the reason in the counters. */
export interface ProcessLimits {
  /** Open connections. Default: the process's limit of file descriptors (`ulimit -n`) less those of the threads. */
  connections?: number
  /** Open connections of one remote address (IPv4), or /64 (IPv6). Default: as many as `connections`. */
  connectionsPerAddress?: number
  /** Connections accepted in a second; the rest waits in the kernel's queue. Default 100,000. */
  acceptsPerSecond?: number
  /** Bytes that the server holds for its connections, those given to JavaScript included: `stats().memory`. Default: half of the machine's memory, or of the least limit of its cgroups. */
  memory?: number
}

/** Options of `serve()`. */
export interface ServeOptions {
  /** The app module: a URL or a path. */
  app: URL | string
  /** A port, an address, or a list of them. */
  listen: number | ServeAddress | readonly (number | ServeAddress)[]
  /** Threads with an epoll set each. Default: one for each CPU that the process may use, by its affinity and its cgroup's quota. */
  reactors?: number
  /** Pool workers, or more about them. Default: as many as `reactors` has by default, if the app has `parse` or `task`. 0: none. */
  pool?: number | PoolSettings
  /**
   * Which reactor gets a fresh connection. `'kernel'` (default): the one whose listening socket the kernel chose.
   * `'least-connections'`: the one that has fewest. `'address'`: the same for the same remote address. Without it an app's
   * `balance` hook decides, if there is one. See docs/balance.md.
   */
  balance?: BalancePolicy
  /**
   * Keeps each reactor's thread on one CPU, and gives it the connections that this CPU receives: `true` for all CPUs of the
   * process in turn, or their numbers. `{ reactors, pool }` pins the workers, too. Default: the kernel moves threads as it likes.
   */
  pin?: PinChoice | PinSettings
  /** Limits of the process. */
  limits?: ProcessLimits
  /** A thread that has not loaded the app and come to the end of its `start` hook by then fails to start. Default 60,000. */
  startTimeoutMs?: number
  /**
   * Time limit of a hook in ms, 100 or more (30,000): a reactor's thread that does not turn for this long is ended and replaced. A thread
   * that a debugger has paused is not.
   */
  hookTimeoutMs?: number
  /** Heap limits of each thread, as `worker_threads` takes them. A thread that reaches them is replaced. */
  resourceLimits?: ResourceLimits
  /** Receives the events that have no listener, and the start line. Default: errors and warnings go to stderr. */
  logger?: Logger
  /** Aborting it destroys the server. */
  signal?: AbortSignal
  /**
   * A Unix socket for hot restarts. A new process that is started with the same path gets the listening sockets of the old one,
   * which stops accepting when the new one accepts, finishes its connections, and closes. See docs/hot-restart.md.
   */
  control?: string | ControlSettings
  /**
   * HTTP listener for operations: `/metrics` (Prometheus), `/healthz` and `/readyz`. A port, `'[HOST:]PORT'`, or an object. On the main
   * thread, so it answers while reactors are stuck. On a host that is not a loopback address it needs `tokenFile`, which `/metrics` then asks
   * for. Default: none. See docs/metrics.md.
   */
  admin?: number | string | AdminSettings
  /**
   * The URL of a module with `adapt(exported)`, which makes an app of a module whose default export has `fetch`. `serve` of
   * `multireactor` names its own.
   */
  fetchAdapter?: URL | string
}

export interface AddressSettings {
  address: ListenAddress
  app: string
  /** Undefined: the app's hook decides, or the kernel. */
  balance: BalancePolicy | undefined
  tls?: ListenTls
}

export interface ServeSettings {
  addresses: AddressSettings[]
  reactors: number
  pin: Pins
  pool: Required<PoolSettings>
  /** Whether the caller named them. */
  given: { reactors: boolean; pool: boolean; memory: boolean }
  machine: Machine
  startTimeoutMs: number
  hookTimeoutMs: number
  limits: Required<ProcessLimits>
  resourceLimits: ResourceLimits | undefined
  /** Bytes of garbage that a thread's heap may hold before it is collected, where `limits.memory` is small. */
  mostGarbage: number | undefined
  logger: Logger
  signal: AbortSignal | undefined
  control: Required<ControlSettings> | undefined
  admin: CheckedAdmin | undefined
  fetchAdapter: string | undefined
}

export const mostReactors = 1024
export const mostWorkers = 256
/** Descriptors for everything but connections: epoll sets, wakers, listening sockets and pipes of the threads, the files of the app. */
export function spareDescriptors(reactors: number, workers: number): number {
  return 128 + 16 * reactors + 8 * workers
}
