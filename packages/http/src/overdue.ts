import type { ReactorExchange } from './reactor_exchange.js'

const stepMs = 500

/** Requests of this thread whose bodies are still arriving, looked at twice a second while there are any. */
class Overdue {
  readonly #waiting = new Map<ReactorExchange, number>()
  #timer: NodeJS.Timeout | undefined

  /** `deadline` of the exchange is how long it may take, in ms; 0: for ever. */
  add(exchange: ReactorExchange): void {
    if (exchange.deadline === 0) return
    this.#waiting.set(exchange, performance.now() + exchange.deadline)
    this.#timer ??= setInterval(() => this.#look(), stepMs).unref()
  }

  delete(exchange: ReactorExchange): void {
    if (!this.#waiting.delete(exchange) || this.#waiting.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #look(): void {
    const now = performance.now()
    for (const [exchange, deadline] of this.#waiting) if (deadline <= now) exchange.expire()
  }
}

export const overdue: Overdue = new Overdue()
