import { once } from 'node:events'
import inspector from 'node:inspector'
import { WebSocket } from 'ws'

interface Message {
  method?: string
  params?: { sessionId: string; message: string }
}

/** A debugger as people use them: outside, over the WebSocket of the inspector, attached to every worker thread. */
export class Debugger {
  readonly #socket: WebSocket
  readonly #paused: string[] = []
  #wake: (() => void) | undefined
  #messages = 0
  /** A thread that starts before the answer to this would not wait for us. */
  readonly #enabled: Promise<void>

  /** Opens the inspector of this process, and connects. */
  static async attach(): Promise<Debugger> {
    inspector.open(0, '127.0.0.1')
    const socket = new WebSocket(inspector.url()!)
    await once(socket, 'open')
    const debugging = new Debugger(socket)
    await debugging.#enabled
    return debugging
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket
    socket.on('message', (data: Buffer) => this.#onMessage(JSON.parse(data.toString()) as Message))
    // Threads wait for it before they run, so that it misses no breakpoint.
    const id = this.#send('NodeWorker.enable', { waitForDebuggerOnStart: true })
    this.#enabled = new Promise((resolve) => {
      socket.on('message', (data: Buffer) => {
        if ((JSON.parse(data.toString()) as { id?: number }).id === id) resolve()
      })
    })
  }

  #onMessage({ method, params }: Message): void {
    if (method === 'NodeWorker.attachedToWorker') {
      this.#tell(params!.sessionId, 'Debugger.enable')
      this.#tell(params!.sessionId, 'Runtime.runIfWaitingForDebugger')
    } else if (method === 'NodeWorker.receivedMessageFromWorker') {
      const said = JSON.parse(params!.message) as { method?: string; params?: { reason: string } }
      if (said.method !== 'Debugger.paused') return
      // A thread that has waited for us may stop once more, before its first line.
      if (said.params!.reason === 'Break on start') return this.#tell(params!.sessionId, 'Debugger.resume')
      this.#paused.push(params!.sessionId)
      this.#wake?.()
    }
  }

  /** Resolves when a thread has come to a breakpoint; calling the result lets the thread go on. */
  async paused(): Promise<() => void> {
    while (this.#paused.length === 0) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    const session = this.#paused.shift()!
    return () => this.#tell(session, 'Debugger.resume')
  }

  /** Goes away, and closes the inspector. */
  async detach(): Promise<void> {
    const closed = once(this.#socket, 'close')
    this.#socket.close()
    await closed
    inspector.close()
  }

  #tell(sessionId: string, method: string): void {
    const message = JSON.stringify({ id: ++this.#messages, method })
    this.#send('NodeWorker.sendMessageToWorker', { sessionId, message })
  }

  #send(method: string, params: object): number {
    const id = ++this.#messages
    this.#socket.send(JSON.stringify({ id, method, params }))
    return id
  }
}
