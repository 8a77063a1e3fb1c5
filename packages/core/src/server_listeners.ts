import { MultireactorError, native } from '@multireactor/addon'
import { type InheritedSockets, type OpenListener, openListener } from '@multireactor/reactor/listen'
import type { ServeSettings } from './options.js'
import { cpuOf } from './pin.js'
import type { ReactorGroup } from './reactor_group.js'
import type { ListenerPlan } from './reactor_thread.js'
import type { ServerListener } from './server_types.js'

/** The listening sockets of a server: which there are, and which reactor accepts on which. */
export class ServerListeners {
  readonly plans: ListenerPlan[] = []
  readonly opened: OpenListener[] = []
  /** As users see them. */
  described: ServerListener[] = []
  readonly #runtime: number
  readonly #settings: ServeSettings
  readonly #reactors: () => ReactorGroup

  constructor(runtime: number, settings: ServeSettings, reactors: () => ReactorGroup) {
    this.#runtime = runtime
    this.#settings = settings
    this.#reactors = reactors
  }

  /** Opened before any thread is made: a port in use fails the start, and names are known. Early clients wait in the kernel's queue. */
  async open(inherited: InheritedSockets | undefined): Promise<void> {
    const { addresses, reactors, fetchAdapter } = this.#settings
    for (const { address, app, balance, tls } of addresses) {
      const open = await openListener(this.#runtime, 'serve() listen', address, reactors, inherited).catch((error) => {
        throw givenTwice(error, this.opened, !addresses.some((one) => one.address.ipv6Only))
      })
      this.opened.push(open)
      const { name, address: literal, port } = open
      this.plans.push({ name, app, balance, address: literal, port, ...(fetchAdapter && { fetchAdapter }), ...(tls && { tls }) })
    }
  }

  /** Every reactor accepts. */
  async listen(): Promise<void> {
    const reactors = this.#reactors().size
    for (const [listener, open] of this.opened.entries()) {
      // A predecessor may have had fewer reactors. Not earlier: clients queued there would be reset if this process failed to start.
      if (!open.fixed && open.members < reactors) open.members += this.#grow(open, reactors - open.members)
      const { group, members, fixed } = open
      // A Unix path has one listening socket: the first reactor accepts there and hands the connections round.
      const spread = fixed && (members === 1 || members !== reactors)
      const each = Array.from({ length: members }, (_, member) => member)
      await Promise.all(each.map((member) => this.#reactors().listen(member % reactors, { listener, group, member, spread })))
    }
    this.#steer(reactors)
    this.describe()
  }

  /** Socket i belongs to reactor i: it gets the connections that the CPU of that reactor receives. */
  #steer(reactors: number): void {
    const { pin, logger } = this.#settings
    if (!pin.reactors) return
    const cpus = Array.from({ length: reactors }, (_, index) => cpuOf(pin.reactors, index)!)
    for (const { group, address, fixed } of this.opened) {
      const error = fixed ? undefined : native.steerByCpu(this.#runtime, group, cpus)
      if (error) logger.warn(`connections to ${address} do not go to the reactor of the CPU that receives them: ${error}`)
    }
  }

  #grow({ group, address }: OpenListener, more: number): number {
    const first = native.growListener(this.#runtime, group, more)
    if (typeof first === 'number') return more
    throw new MultireactorError(first, `serve(): no further listening socket on ${address}: ${first}`)
  }

  describe(): void {
    this.described = this.opened.map(({ name, address, port, members, fixed }) => ({
      name,
      address,
      port,
      reactors: fixed ? Math.min(members, this.#reactors().size) : this.#reactors().size,
    }))
  }

  /** Reactors from `before` on have come. */
  async add(before: number, count: number): Promise<void> {
    for (const [listener, { group, fixed, address }] of this.opened.entries()) {
      if (fixed) continue
      const first = native.growListener(this.#runtime, group, count - before)
      if (typeof first === 'string') {
        throw new MultireactorError(first, `server.resize(): no further listening socket on ${address}: ${first}`)
      }
      for (let i = 0; i < count - before; i++) {
        await this.#reactors().listen(before + i, { listener, group, member: first + i, spread: false })
      }
    }
    this.#steer(count)
    this.describe()
  }
}

/** The error itself, unless the address is in use by an earlier listener of the same server. `dual`: `'::'` takes IPv4, too. */
function givenTwice(error: unknown, opened: readonly OpenListener[], dual: boolean): unknown {
  if (!(error instanceof MultireactorError) || error.code !== 'EADDRINUSE') return error
  const { address, port } = error as MultireactorError & { address: string; port?: number }
  const covers = (all: string, one: string): boolean =>
    all === one || (all === '::' && (dual || one.includes(':'))) || (all === '0.0.0.0' && !one.includes(':'))
  const first = opened.find(
    (one) => one.port === (port ?? 0) && (covers(one.address, address) || (port !== undefined && covers(address, one.address))),
  )
  if (!first) return error
  const shownPlace = (at: string): string => (port === undefined ? at : `${at.includes(':') ? `[${at}]` : at}:${port}`)
  const also = first.address === address ? '' : ` (the other time as ${shownPlace(first.address)})`
  const message = `listen EADDRINUSE ${shownPlace(address)}: 'listen' of serve() names it twice${also}: drop one of them`
  return Object.assign(new MultireactorError('EADDRINUSE', message), {
    syscall: 'listen',
    address,
    ...(port === undefined ? {} : { port }),
  })
}
