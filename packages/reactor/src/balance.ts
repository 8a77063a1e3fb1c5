import { MultireactorError, type NativeReactorDriver, shown } from '@multireactor/addon'

/** The peer of a fresh connection: behind a proxy, the one in its PROXY header. All undefined on a Unix path. */
export interface FreshPeer {
  /** The peer's literal address; undefined for a Unix peer. */
  readonly address: string | undefined
  /** The peer's port; undefined for a Unix peer. */
  readonly port: number | undefined
  /** The family of `address`; undefined for a Unix peer. */
  readonly family: 'IPv4' | 'IPv6' | undefined
}

/** The facts for a `balance` hook. */
export interface BalanceContext {
  /** The name of the listener it came in by. */
  readonly listener: string
  /** The reactor that accepted it: no hand-over is needed when it stays. */
  readonly local: number
  /** The reactors that take connections, and how many each has now, those on their way to it included. */
  readonly reactors: readonly { readonly index: number; readonly connections: number }[]
}

/** The hook that chooses a reactor for a fresh connection. */
export interface BalanceHandlers {
  /**
   * The number of the reactor that shall have a fresh connection. Runs on the reactor that accepted it, before anything of it is
   * read; be quick. A throw, or a number not in `context.reactors`, is reported, and the connection stays where it is.
   */
  balance?(peer: FreshPeer, context: BalanceContext): number
}

const families = { 0: undefined, 4: 'IPv4', 6: 'IPv6' } as const

/** Asks the hook about one fresh connection, and sends it there. Throws the error of the hook, or the fault of its answer. */
export function balanceFresh(
  driver: NativeReactorDriver,
  slot: number,
  generation: number,
  local: number,
  listener: { name: string; handlers: BalanceHandlers },
): void {
  const details = driver.details(slot, generation)
  if (!details) return // it has closed since
  let placed = false
  try {
    const [address, port, family] = details
    const peer = family === 0 ? nobody : { address, port, family: families[family] }
    const answer: unknown = listener.handlers.balance!(peer, { listener: listener.name, local, reactors: readLoads(driver) })
    placed = Number.isInteger(answer) && (answer as number) >= 0 && driver.assign(slot, generation, answer as number)
    if (placed) return
    if (answer instanceof Promise) answer.catch(() => {})
    throw new MultireactorError(
      'ERR_MR_BALANCE',
      `balance(): must return the number of a reactor of context.reactors, and returned ${shown(answer)}; the connection stays with reactor ${local}`,
    )
  } finally {
    if (!placed) driver.assign(slot, generation, local)
  }
}

const nobody: FreshPeer = { address: undefined, port: undefined, family: undefined }

function readLoads(driver: NativeReactorDriver): { index: number; connections: number }[] {
  const pairs = driver.loads()
  return Array.from({ length: pairs.length / 2 }, (_, i) => ({ index: pairs[2 * i]!, connections: pairs[2 * i + 1]! }))
}
