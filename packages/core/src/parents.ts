import { readFileSync } from 'node:fs'

/** How often the parents are looked at. */
const lookEveryMs = 250

interface Link {
  child: number
  parent: number
}

/**
 * The processes between this one and the npm, npx, pnpm or yarn that runs it. At SIGTERM npm ends its shell and itself, and at SIGKILL only
 * itself: neither reaches a server in the shell, which then would hold its port for ever.
 */
export class Parents {
  readonly #links: readonly Link[]

  private constructor(links: readonly Link[]) {
    this.#links = links
  }

  /** As they are now; undefined where no npm runs this process, or where it has a session of its own, as a daemon has. */
  static ofNpm(): Parents | undefined {
    if (process.env['npm_lifecycle_event'] === undefined || statOf('self')?.session === process.pid) return undefined
    const links: Link[] = []
    for (let child = process.pid; ; ) {
      const { parent, session } = statOf(child) ?? { parent: 0, session: 0 }
      // A session leader is meant to outlive its parent, as the daemon of a process manager does.
      if (parent === 0 || session === child) break
      links.push({ child, parent })
      // npm gives the variable to its shell, and has none itself.
      if (!isUnderNpm(parent)) break
      child = parent
    }
    return new Parents(links)
  }

  /** A process whose parent has ended gets another one. */
  get areThere(): boolean {
    return this.#links.every(({ child, parent }) => statOf(child)?.parent === parent)
  }

  /** Calls `gone` once, when one of them has ended. Returns a function that ends the watch. */
  watch(gone: () => void): () => void {
    const timer = setInterval(() => {
      if (this.areThere) return
      clearInterval(timer)
      gone()
    }, lookEveryMs).unref()
    return () => clearInterval(timer)
  }
}

function statOf(pid: number | 'self'): { parent: number; session: number } | undefined {
  try {
    // The name stands in brackets, and may hold brackets and spaces itself.
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const [, parent, , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { parent: Number(parent), session: Number(session) }
  } catch {
    return undefined
  }
}

/** False for the process of another user, whose variables cannot be read: the search ends there. */
function isUnderNpm(pid: number): boolean {
  try {
    return /(^|\0)npm_lifecycle_event=/.test(readFileSync(`/proc/${pid}/environ`, 'latin1'))
  } catch {
    return false
  }
}
