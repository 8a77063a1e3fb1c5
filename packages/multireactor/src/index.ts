import { type ServeOptions, type Server, serve as serveApp } from '@multireactor/core'

export * from '@multireactor/core'
export * from '@multireactor/http'

/** `serve` of `@multireactor/core`, which takes modules that export `fetch` too. */
export function serve(options: ServeOptions): Promise<Server> {
  return serveApp({ fetchAdapter: import.meta.resolve('@multireactor/http/adapter'), ...options })
}
