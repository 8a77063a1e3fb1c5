import type { CheckedAdmin } from './admin_options.js'
import type { AdminServer, AdminSource } from './admin_server.js'

/** The admin listener of a server, if it is to have one: from its start, over a hot restart, to its end. */
export class ServerAdmin {
  readonly #settings: CheckedAdmin | undefined
  readonly #source: AdminSource
  #server: AdminServer | undefined

  constructor(settings: CheckedAdmin | undefined, source: AdminSource) {
    this.#settings = settings
    this.#source = source
  }

  get address(): { readonly address: string; readonly port: number } | undefined {
    return this.#server?.address
  }

  /** Before any thread: a probe sees that the process lives while the app is loaded. */
  async open(hasPredecessor: boolean): Promise<void> {
    if (!this.#settings) return
    // Not before it is wanted: few servers start with it, and it loads node:http.
    const { AdminServer } = await import('./admin_server.js')
    this.#server = new AdminServer(this.#settings, this.#source)
    try {
      await this.#server.listen()
    } catch (error) {
      // It may be the predecessor's.
      if (!hasPredecessor || (error as { code?: string }).code !== 'EADDRINUSE') throw error
    }
  }

  /** `gone` settles when the predecessor, whose port it may be, has gone. */
  async takeOver(gone: Promise<void>): Promise<void> {
    if (this.#server && !this.#server.address) await this.#server.listenAfter(gone)
  }

  close(): void {
    this.#server?.close()
  }
}
