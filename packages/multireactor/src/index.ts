import { type ServeOptions, type Server, serve as serveApp } from '@multireactor/core'

export * from '@multireactor/core'
export * from '@multireactor/http'

/** `serve` of `@multireactor/core`, which takes modules that export `fetch` too. */
export function serve(options: ServeOptions): Promise<Server> {
  // serve() refuses a value that is not an object, in its own words.
  if (typeof options !== 'object' || options === null || Array.isArray(options)) return serveApp(options)
  return serveApp({ fetchAdapter: import.meta.resolve('@multireactor/http/adapter'), ...options })
}
